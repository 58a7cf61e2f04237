"""What the milter decides beyond rights and signatures, behind a real Postfix: limits of destinations, what is given back, and
what it tells of keys that cannot be used."""

import pytest

from tests.stack.client import Client, compose, submit
from tests.stack.customers import add_domain, add_login
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
