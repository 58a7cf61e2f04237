"""What the milter decides beyond rights and signatures, behind a real Postfix: limits of destinations, what is given back, and
what it tells of keys that cannot be used."""

import json

import pytest

from tests.stack.client import Client, compose, submit
from tests.stack.customers import add_domain, add_endpoint, add_login
from tests.stack.wait import wait_for

DOMAIN = "verdict.test"
SENDER = f"app@{DOMAIN}"


@pytest.fixture(scope="module")
def login(stack):
    stack.node.waybill("customer", "add", "verdict")
    add_domain(stack, "verdict", DOMAIN)
    login = add_login(stack, "verdict", "verdict-app")
    wait_for("the login in the snapshot", lambda: send(stack, login, "first@dest.test").accepted)
    return login


def send(stack, login, recipient, sender=SENDER):
    return submit(stack.node, login, sender, recipient, compose(sender, recipient, "A verdict"))


def test_a_limit_of_one_destination(stack, login):
    stack.node.waybill("limit", "set", "slow", "destination", "messages", "2/h", "--customer", "verdict", "--destination",
                       "Other.test")
    [shown] = stack.node.waybill_json("limit", "list", "--customer", "verdict")
    assert (shown["scope"], shown["destination"]) == ("destination", "other.test")
    refused = wait_for("the limit in force", lambda: [reply for reply in [send(stack, login, "a@other.test")] if not reply.accepted])
    assert refused[0].code == 450 and "slow 2/h" in refused[0].text
    for _ in range(4):
        assert send(stack, login, "a@dest.test").accepted
    stack.node.waybill("limit", "remove", "slow")
    wait_for("the limit to be gone", lambda: send(stack, login, "a@other.test").accepted)


def break_off(stack, login, how):
    """A transaction of LOGIN that ends after DATA: the client goes away, or says that it was nothing."""
    with Client(stack.node, 587) as client:
        assert client.auth_plain(login.name, login.password)[0] == 235
        assert client.mail(SENDER)[0] == 250
        assert client.rcpt("a@dest.test")[0] == 250
        if how == "within a chunk":
            client.send(b"BDAT 1000\r\nFrom: " + SENDER.encode() + b"\r\n")
        elif how == "between chunks":
            client.send(b"BDAT 6\r\nFrom: ")
            assert client.getreply()[0] == 250
            assert client.rset()[0] == 250
            return
        else:
            assert client.docmd("DATA")[0] == 354
            client.send(b"From: " + SENDER.encode() + b"\r\n")
        client.close()


@pytest.mark.parametrize("how", ["within the content", "within a chunk", "between chunks"])
def test_what_never_became_a_message_is_not_charged(stack, login, how):
    limit = "broken-" + how.replace(" ", "-")[:20]
    stack.node.waybill("limit", "set", limit, "login", "messages", "3/day", "--login", login.name)
    refused = wait_for("the limit in force", lambda: [r for r in [send(stack, login, "a@dest.test")] if not r.accepted])
    assert limit in refused[0].text
    stack.node.waybill("limit", "set", limit, "login", "messages", "6/day", "--login", login.name)
    wait_for("room for three more", lambda: send(stack, login, "a@dest.test").accepted)
    before = stack.node.log_text("milter").count("action=abandoned")
    for _ in range(4):
        break_off(stack, login, how)
    wait_for("the milter to hear of all", lambda: stack.node.log_text("milter").count("action=abandoned") == before + 4)
    assert [send(stack, login, "a@dest.test").accepted for _ in range(3)] == [True, True, False]
    stack.node.waybill("limit", "remove", limit)
    wait_for("the limit to be gone", lambda: send(stack, login, "a@dest.test").accepted)


def test_an_unusable_key_is_an_event_and_a_webhook(stack, login):
    """Sealed under a key that is gone: mail of that domain waits, that of the customer's other domain does not."""
    add_domain(stack, "verdict", "broken.test")
    add_endpoint(stack, "verdict", "/broken")
    wait_for("the domain in the snapshot", lambda: send(stack, login, "a@dest.test", "app@broken.test").accepted)
    stack.postgres.execute("UPDATE waybill.dkim_keys SET sealed = set_byte(sealed, 40, get_byte(sealed, 40) # 1) "
                           "WHERE domain = 'broken.test'")
    stack.node.restart("milter")  # else the last good one goes on signing
    refused = wait_for("the damage in the snapshot", lambda: [r for r in [send(stack, login, "a@dest.test", "app@broken.test")]
                                                              if not r.accepted])
    assert refused[0].code == 451 and "4.7.5" in refused[0].text
    assert send(stack, login, "a@dest.test").accepted
    [event] = wait_for("the event", lambda: stack.postgres.execute(
        "SELECT customer, detail FROM support.events WHERE type = 'domain.key_unusable'", user="waybill_support"))
    assert event["customer"] == "verdict" and (event["detail"]["domain"], event["detail"]["mail"]) == ("broken.test", "deferred")
    [posted] = wait_for("the webhook", lambda: [body for body in (json.loads(d["body"]) for d in stack.receiver.deliveries("/broken"))
                                                if body["type"] == "domain.key_unusable"])
    assert posted["data"]["detail"] == event["detail"]
