"""The demo: starts a private stack, plays the story, shows what came of it. demo.sh prepares and calls it."""

import argparse
import json
import os
import pathlib
import shlex
import sys
import textwrap
import time
from urllib.parse import quote

from .errors import StackError
from .paths import remove_home
from .ports import HOST, can_bind, free_port
from .process import Processes
from .stack import ROOT, Stack
from .story import STEPS, Story
from .tables import table

FOLDER = ROOT / "build" / "demo"
# The customary numbers, out of the way of the machine's own servers.
PORTS = {587: 10587, 465: 10465, 2525: 12525}
INDENT = " " * 8


def main():
    options = argparse.ArgumentParser(prog="tests.stack.demo", description=__doc__)
    options.add_argument("--bin-dir", type=pathlib.Path)
    options.add_argument("--keep", action="store_true")
    options.add_argument("--stop", action="store_true")
    chosen = options.parse_args()
    try:
        return stop() if chosen.stop else play(chosen.bin_dir.absolute(), chosen.keep)
    except (StackError, AssertionError) as error:
        print(f"\ndemo.sh: {error}", file=sys.stderr)
        return 1


def ledger():
    """The processes of the demo that was started last, None when there is none."""
    path = FOLDER / "home" / "processes.json"
    return Processes(path) if path.exists() else None


def stop():
    """demo.sh --stop: ends what runs, removes it, and is content when there is nothing."""
    processes = ledger()
    running = [name for name in processes.known if processes.pid(name)] if processes else []
    if processes:
        processes.stop_all()
    remove_home(FOLDER)
    (FOLDER / "env").unlink(missing_ok=True)
    print(f"demo.sh: stopped {len(running)} processes" if running else "demo.sh: nothing was running")
    return 0


def play(bin_dir, keep):
    """Starts the stack and plays; stops it again unless all went well and KEEP."""
    processes = ledger()
    if processes and any(processes.pid(name) for name in processes.known):
        raise StackError("a demo is running already (build/demo/env says where); ./demo.sh --stop ends it")
    began = time.monotonic()
    stack = Stack(bin_dir, home=FOLDER, ports={port: usual_or_free(usual) for port, usual in PORTS.items()})
    print(
        "demo.sh: starting DNS, Redis, PostgreSQL, Dovecot, Postfix, a mail sink, a webhook receiver, waybill",
        flush=True,
    )
    stack.start()
    try:
        print(f"demo.sh: all up after {time.monotonic() - began:.1f} s in {stack.home}", flush=True)
        story = Story(stack)
        for number, step in enumerate(STEPS, 1):
            print(f"\n[{number:2}/{len(STEPS)}] {step.__doc__}", flush=True)
            print(textwrap.fill(f"ok: {step(story)}", 110, initial_indent=INDENT, subsequent_indent=INDENT), flush=True)
        show(story)
        if keep:
            write_env(story)
    except BaseException:
        stack.stop()
        print(f"\ndemo.sh: the logs stay in {stack.home / 'log'}", file=sys.stderr)
        raise
    print(f"\ndemo.sh: all {len(STEPS)} steps did what they should ({time.monotonic() - began:.1f} s)")
    if keep:
        stack.leave()
        print(advice(story))
    else:
        stack.stop()
    return 0


def usual_or_free(port):
    return port if can_bind(HOST, port) else free_port()


def show(story):
    """The tables."""
    postgres = story.stack.postgres
    heads = ("message-id", "login", "from", "to", "port", "reply", "became", "signature, by python3-dkim")
    print(table("Messages", heads, [message_row(sent) for sent in story.sent]))
    heads = ("time", "customer", "type", "message-id", "sender", "recipient", "verdict", "code", "reason")
    print(
        table(
            "Events, as support would query them",
            heads,
            [row.values() for row in postgres.execute(EVENTS, user="waybill_support")],
        )
    )
    heads = ("path", "webhook-id", "type", "recipient", "status", "signature")
    print(table("Webhooks received", heads, [hook_row(hook) for hook in story.stack.receiver.deliveries()]))
    heads = ("customer", "recipient", "reason", "event")
    print(
        table("Suppressions", heads, [row.values() for row in postgres.execute(SUPPRESSIONS, user="waybill_support")])
    )


EVENTS = """
SELECT to_char(occurred_at, 'HH24:MI:SS') AS at, customer, type, message_id, sender, recipient,
       class || '/' || category AS verdict, enhanced_code, reason
FROM support.events ORDER BY customer, seq"""
SUPPRESSIONS = "SELECT customer, recipient, reason, event_id FROM support.suppressions ORDER BY customer, recipient"


def message_row(sent):
    signatures = (f"d={d} s={s} {a}: {'verified' if right else 'WRONG'}" for d, s, a, right in sent.signatures)
    sender = sent.sender or "<>"
    code = sent.reply.code
    return sent.message_id, sent.login, sender, sent.recipient, sent.port, code, sent.outcome, ", ".join(signatures)


def hook_row(hook):
    body = json.loads(hook["body"])
    signature = f"verified by {hook['verifier']}" if hook["verified"] else f"WRONG: {hook['error']}"
    return hook["path"], hook["id"], body["type"], body["data"].get("recipient"), hook["status"], signature


def places(story):
    """What another client needs to know, as KEY and value."""
    stack, node = story.stack, story.node
    found = {
        "WAYBILL_BIN": node.bin,
        "WAYBILL_CONF": node.conf,
        "HOST": HOST,
        "CA_FILE": stack.tls.ca,
        "DNS_ADDRESS": stack.dns.address,
        "REDIS_SOCKET": stack.redis.socket,
        "POLICYD_SOCKET": node.sockets / "policyd",
        "MILTER_SOCKET": node.sockets / "milter",
        "PGHOST": stack.postgres.folder,
        "PGDATABASE": "waybill",
        "PGUSER": "waybill_support",
        "POSTGRES": f"postgresql://postgres@{quote(str(stack.postgres.folder), safe='')}/waybill",
        "POSTFIX_CONFIG": node.postfix.etc,
        "MAILLOG": node.postfix.maillog,
        "SINK_FOLDER": stack.sink.folder,
        "SINK_ADDRESS": stack.sink.address,
        "SINK_PORT": stack.sink.port,
        "WEBHOOK_URL": stack.receiver.url(""),
        "WEBHOOK_LOG": stack.receiver.deliveries_file,
        "LOG_FOLDER": node.log,
    }
    found.update({f"PORT_{port}": real for port, real in node.postfix.ports.items()})
    for customer in (story.acme, story.globex):
        name = customer.name.upper()
        found.update(
            {
                f"{name}_LOGIN": customer.app.name,
                f"{name}_PASSWORD": customer.app.password,
                f"{name}_SECRET": customer.secret,
                f"{name}_DOMAIN": customer.domain,
            }
        )
    return found


def write_env(story):
    """build/demo/env, for a shell to read with "." and others line by line; it holds passwords."""
    path = FOLDER / "env"
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
        out.writelines(f"{key}={shlex.quote(str(value))}\n" for key, value in places(story).items())


def advice(story):
    stack, node, app = story.stack, story.node, story.acme.app
    waybill, port = f"{node.bin}/waybill -c {node.conf}", node.postfix.ports[587]
    return f"""
The stack stays. Its places and passwords: build/demo/env. What to try next:

  swaks --server {HOST}:{port} --tls --auth PLAIN --auth-user {app.name} --auth-password {app.password} \\
        --from billing@acme.test --to jane@dest.test
  psql -h {stack.postgres.folder} -U waybill_support waybill -c "SELECT type, recipient, reason FROM support.events"
  {waybill} customer list
  redis-cli -s {stack.redis.socket} --scan --pattern 'wb:*'
  tail -f {node.postfix.maillog}

Recipients at dest.test called unknown, busy, full, blocked or moved are refused in their own way; all others get
their mail. ./demo.sh --stop ends it."""


if __name__ == "__main__":
    sys.exit(main())
