"""The socketmap service in a real Postfix: each customer's own way out, and Postfix's own check of the sender."""

import pathlib
import re
import subprocess

import pytest

from tests.stack.client import compose, submit
from tests.stack.customers import add_login, set_up
from tests.stack.wait import wait_for

FRAGMENTS = pathlib.Path(__file__).resolve().parents[2] / "postfix-conf" / "egress"
EGRESS = "127.0.0.25"  # acme's own address
TABLE = "socketmap:unix:waybill/socketmap:"


@pytest.fixture(scope="module")
def customers(stack):
    """acme and globex, policyd with the service, and the shipped fragments in Postfix."""
    acme, globex = set_up(stack)
    stack.node.write_conf({"policyd": {"socketmap": f"unix:{stack.node.sockets}/socketmap"}})
    stack.node.restart("policyd")
    postfix = stack.node.postfix
    service = re.sub(r"smtp_bind_address=\S+", f"smtp_bind_address={EGRESS}", (FRAGMENTS / "master.cf").read_text())
    with open(postfix.etc / "master.cf", "a") as master:
        master.write(service)
    fragment = (FRAGMENTS / "main.cf").read_text()
    postfix.set(**dict(re.findall(r"(?m)^(\w+) = (.+)$", fragment)))
    return acme, globex


def ask(stack, table, key):
    """What Postfix finds, by its own words; None: nothing."""
    done = subprocess.run(
        ["postmap", "-c", stack.node.postfix.etc, "-q", key, f"{TABLE}{table}"],
        cwd=stack.node.postfix.queue,
        capture_output=True,
        text=True,
    )
    assert done.returncode in (0, 1) and not done.stderr, done.stderr
    return done.stdout.strip() if done.returncode == 0 else None


def peer_of(stack, login, sender, recipient):
    """Sends a message; the address from which it came to the exchanger."""
    message = compose(sender, recipient, "By which way?")
    reply = submit(stack.node, login, sender, recipient, message)
    assert reply.accepted, reply
    message_id = message["Message-ID"].strip("<>")
    return wait_for("the message at the sink", lambda: stack.sink.find(message_id))[0]["peer"]


def test_a_customer_leaves_by_its_own_address(stack, customers):
    acme, globex = customers
    assert peer_of(stack, acme.app, "billing@acme.test", "a@dest.test") != EGRESS
    stack.node.waybill("customer", "set", "acme", "--transport", "smtp-acme:")
    wait_for("the transport", lambda: ask(stack, "sender-transport", "x@acme.test") == "smtp-acme:")
    assert peer_of(stack, acme.app, "billing@acme.test", "b@dest.test") == EGRESS
    assert peer_of(stack, globex.app, "billing@globex.test", "c@dest.test") != EGRESS
    [shown] = stack.node.waybill_json("customer", "show", "acme")
    assert shown["transport"] == "smtp-acme:"
    stack.node.waybill("customer", "set", "acme", "--transport", "")
    wait_for("the transport's end", lambda: ask(stack, "sender-transport", "x@acme.test") is None)
    assert peer_of(stack, acme.app, "billing@acme.test", "d@dest.test") != EGRESS


def test_a_return_path_leaves_by_its_customers_transport(stack, customers):
    """The milter has put b+TOKEN@HOST in the sender's place: the token names the customer."""
    acme, _ = customers
    key = stack.home / "return-path.key"
    key.write_text("5a" * 32 + "\n")
    key.chmod(0o600)
    settings = stack.node.settings
    stack.node.write_conf({**settings, "milter": {"return_path_host": "return.test", "return_path_key": key}})
    stack.node.restart("milter")
    stack.node.waybill("customer", "set", "acme", "--transport", "smtp-acme:", "--return-path", "on")
    try:
        wait_for("the transport", lambda: ask(stack, "sender-transport", "x@acme.test") == "smtp-acme:")
        message = compose("billing@acme.test", "g@dest.test", "By which way?")
        assert submit(stack.node, acme.app, "billing@acme.test", "g@dest.test", message).accepted
        message_id = message["Message-ID"].strip("<>")
        [found] = wait_for("the message at the sink", lambda: stack.sink.find(message_id))
        assert found["mail_from"].startswith("b+") and found["peer"] == EGRESS
    finally:
        stack.node.waybill("customer", "set", "acme", "--transport", "", "--return-path", "off")
        stack.node.write_conf(settings)
        stack.node.restart("milter")
    wait_for("the transport's end", lambda: ask(stack, "sender-transport", found["mail_from"]) is None)


def test_a_transport_is_checked(stack, customers):
    for wrong in ("smtp-acme", ":x", "smtp acme:", "smtp-acme:[192.0.2.1] "):
        done = stack.node.waybill("customer", "set", "acme", "--transport", wrong, ok=False)
        assert done.returncode == 65 and "is no transport of Postfix" in done.stderr


def test_postfix_knows_who_may_send_as_an_address(stack, customers):
    """Rights of every form; what is changed is true at once."""
    acme, _ = customers
    everybody = f"{acme.app.name},{acme.bulk.name}"
    wait_for("acme's logins", lambda: ask(stack, "sender-logins", "x@acme.test") == everybody)
    stack.node.waybill("login", "deny", acme.bulk.name, "boss@acme.test")
    wait_for("the denial", lambda: ask(stack, "sender-logins", "boss@acme.test") == acme.app.name)
    assert ask(stack, "sender-logins", "x@acme.test") == everybody
    stack.node.waybill("login", "allow", acme.app.name, "@.partner.test")
    wait_for("a foreign domain", lambda: ask(stack, "sender-logins", "x@eu.partner.test") == acme.app.name)
    assert ask(stack, "sender-logins", "x@stranger.test") is None
    short = add_login(stack, "acme", "acme-short", "--allow", "short@acme.test")
    wait_for("a login's one address", lambda: short.name in (ask(stack, "sender-logins", "short@acme.test") or ""))
    assert ask(stack, "sender-logins", "x@acme.test") == everybody
    stack.node.waybill("login", "remove", acme.bulk.name, "--yes")
    wait_for("a login's end", lambda: ask(stack, "sender-logins", "x@acme.test") == acme.app.name)
    stack.node.waybill("login", "disable", short.name)
    wait_for("a login's rest", lambda: ask(stack, "sender-logins", "short@acme.test") == acme.app.name)


def test_postfix_refuses_a_sender_that_is_not_the_logins(stack, customers):
    """reject_sender_login_mismatch, before policyd is asked."""
    acme, globex = customers
    stack.node.postfix.set(
        waybill_recipient_restrictions="reject_sender_login_mismatch, check_policy_service $waybill_policy,"
        " permit_sasl_authenticated, reject"
    )

    def refused():
        """By Postfix, once it has reloaded; before, by policyd."""
        message = compose("billing@globex.test", "a@dest.test", "Not mine")
        reply = submit(stack.node, acme.app, "billing@globex.test", "a@dest.test", message)
        assert reply.code == 553, reply
        return "not owned by user" in reply.text

    wait_for("Postfix's own refusal", refused)
    assert peer_of(stack, globex.app, "billing@globex.test", "e@dest.test")


def test_without_policyd_mail_waits(stack, customers):
    _, globex = customers
    stack.node.stop("policyd")
    try:
        message = compose("billing@globex.test", "a@dest.test", "Later")
        reply = submit(stack.node, globex.app, "billing@globex.test", "a@dest.test", message)
        assert 400 <= reply.code < 500, reply
    finally:
        stack.node.start("policyd")
    assert peer_of(stack, globex.app, "billing@globex.test", "f@dest.test")
