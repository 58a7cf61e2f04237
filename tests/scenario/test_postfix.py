"""The shipped fragments in a real Postfix: what Postfix says of them, and what it does when waybill is not there."""

import subprocess

import pytest

from tests.stack.client import compose, submit
from tests.stack.customers import set_up
from tests.stack.wait import wait_for


@pytest.fixture(scope="module")
def acme(stack):
    return set_up(stack)[0]


def send(stack, acme, recipients, port=587):
    """Submits one message; returns the reply and the Message-ID."""
    message = compose("billing@acme.test", recipients, "Through the fragments")
    return submit(stack.node, acme.app, "billing@acme.test", recipients, message, port), message["Message-ID"].strip(
        "<>"
    )


def test_postfix_finds_nothing_to_warn_about(stack):
    """No parameter is unknown, unused or set twice."""
    for words in (["-n"], ["-M"], ["-P"]):
        done = subprocess.run(["postconf", "-c", stack.node.postfix.etc, *words], capture_output=True, text=True)
        assert done.returncode == 0 and done.stderr == ""


def test_queue_ids_are_never_used_again(stack, acme):
    """Long ones: a queue id names one message for ever."""
    reply, _ = send(stack, acme, "jane@dest.test")
    assert len(reply.queue_id) > 11


@pytest.mark.parametrize("port", [587, 465, 2525])
@pytest.mark.parametrize("daemon", ["policyd", "milter"])
def test_without_a_daemon_mail_waits(stack, acme, daemon, port):
    """Neither refused for good nor let through unchecked: the application is told to come back, and then it works."""
    stack.node.stop(daemon)
    try:
        reply, message_id = send(stack, acme, "jane@dest.test", port)
        assert 400 <= reply.code < 500, reply
    finally:
        stack.node.start(daemon)
    assert not stack.sink.find(message_id)
    reply, message_id = send(stack, acme, "jane@dest.test", port)
    assert reply.accepted, reply
    wait_for("the message at the sink", lambda: stack.sink.find(message_id))


FLAWED = {
    "jane@nullmx.test": ("message.bounced", "5.1.0"),  # RFC 7505: accepts no mail
    "jane@nowhere.test": ("message.bounced", "5.4.4"),  # does not exist
    "jane@closed.test": ("message.deferred", "4.4.1"),  # nobody listens
    "full@dest.test": ("message.deferred", "4.2.2"),
    "blocked@dest.test": ("message.bounced", "5.7.1"),
    "jane@dest.test": ("message.delivered", "2.0.0"),
}


def test_each_recipient_gets_the_event_of_its_own_fate(stack, acme):
    """One message, six recipients: what DNS, the network and the far end say comes out as events."""
    reply, message_id = send(stack, acme, list(FLAWED))
    assert reply.accepted, reply

    def events():
        rows = stack.postgres.execute(
            "SELECT recipient, type, enhanced_code FROM support.events WHERE message_id = %s AND recipient IS NOT NULL",
            [message_id],
            user="waybill_support",
        )
        return {row["recipient"]: (row["type"], row["enhanced_code"]) for row in rows}

    wait_for("an event for each recipient", lambda: len(events()) == len(FLAWED))
    assert events() == FLAWED
