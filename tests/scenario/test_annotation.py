"""What an application says about its message, through real Postfix: in the message's events, in `waybill trace`, in webhooks;
and a warning of policyd as an event."""

import json

import pytest

from tests.stack.client import compose, submit
from tests.stack.customers import add_domain, add_endpoint, add_login
from tests.stack.wait import wait_for

SENDER, RECIPIENT = "billing@tags.test", "reader@dest.test"


@pytest.fixture(scope="module")
def login(stack):
    stack.node.waybill("customer", "add", "tags")
    add_domain(stack, "tags", "tags.test")
    add_endpoint(stack, "tags", "/tags")
    login = add_login(stack, "tags", "tags-app")
    wait_for("the login in the snapshot", lambda: submit(stack.node, login, SENDER, RECIPIENT,
                                                         compose(SENDER, RECIPIENT, "first")).accepted)
    return login


def test_tag_and_metadata_stand_in_the_events(stack, login):
    message = compose(SENDER, RECIPIENT, "Invoice", "tagged@tags.test", X_Waybill_Tag="invoice",
                      X_Waybill_Metadata='{"order": "7"}')
    sent = submit(stack.node, login, SENDER, RECIPIENT, message)
    assert sent.accepted, sent

    def told():
        rows = stack.postgres.execute("SELECT type, tag, metadata FROM support.events WHERE message_id = 'tagged@tags.test' "
                                      "ORDER BY seq", user="waybill_support")
        return rows if len(rows) == 2 else None

    rows = [list(row.values()) for row in wait_for("both events", told)]
    assert rows == [[kind, "invoice", {"order": "7"}] for kind in ("message.accepted", "message.delivered")]

    for name in ("<tagged@tags.test>", sent.queue_id):
        traced = stack.node.waybill_json("trace", name)
        assert [row["type"] for row in traced] == ["message.accepted", "message.delivered"]
        assert {row["tag"] for row in traced} == {"invoice"}
    page = stack.node.waybill("trace", RECIPIENT).stdout
    assert "message.delivered" in page and "invoice" in page and "message.accepted" not in page
    assert not stack.node.waybill_json("trace", "none@such.test")

    def posted():
        bodies = [json.loads(delivery["body"]) for delivery in stack.receiver.deliveries("/tags")]
        found = [body for body in bodies if body["data"].get("message_id") == "tagged@tags.test"]
        return found if len(found) == 2 else None

    for body in wait_for("both webhooks", posted):
        assert (body["data"]["tag"], body["data"]["metadata"]) == ("invoice", {"order": "7"})


def test_a_used_up_limit_is_an_event(stack, login):
    stack.node.waybill("limit", "set", "tags-day", "login", "messages", "5/day", "--login", login.name)

    def warned():
        sent = submit(stack.node, login, SENDER, RECIPIENT, compose(SENDER, RECIPIENT, "Invoice"))
        rows = stack.postgres.execute("SELECT customer, sasl_username, detail ->> 'threshold' AS threshold FROM support.events "
                                      "WHERE type = 'limit.warning' ORDER BY seq", user="waybill_support")
        return rows if not sent.accepted and len(rows) >= 2 else None

    rows = wait_for("the warnings", warned)
    assert [list(row.values()) for row in rows] == [["tags", login.name, threshold] for threshold in ("80", "100")]
