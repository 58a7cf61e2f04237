"""Events through the bouncer's door into Postgres: waybill.record_batch."""

import json

# Nothing but events: no batch, so no place in a log.
RECORD = f"SELECT waybill.record_batch('test', {'NULL, ' * 15}%s)"
TOLD = "ARRAY(SELECT e FROM jsonb_populate_recordset(NULL::waybill.told_event, %s) AS e)"
LEAST = {"host": "mx1", "instance": "postfix", "truncated": False, "partial": False, "source_kind": "log"}


def record(run, events):
    """Stores EVENTS, dictionaries of the columns of waybill.told_event, by RUN, which takes a statement and one value."""
    return run(RECORD % TOLD, json.dumps([{**LEAST, **event} for event in events], default=str))
