"""A domain that takes no mail, through real Postfix and DNS: two customers' mail fails, then the relay refuses it at RCPT for
a third one, and again lets it try once a person has lifted it."""

import pytest

from tests.stack.client import Client, compose, submit
from tests.stack.customers import add_domain, add_login
from tests.stack.wait import wait_for

DEAD = "nullmx.test"  # a null MX (RFC 7505)


@pytest.fixture(scope="module")
def logins(stack):
    made = {}
    for name in ("one", "two", "three"):
        stack.node.waybill("customer", "add", name)
        add_domain(stack, name, f"{name}.test")
        made[name] = add_login(stack, name, f"{name}-app")
    wait_for("the logins in the snapshot", lambda: all(rcpt(stack, name, login, "reader@dest.test")[0] == 250 for name, login in made.items()))
    return made


def rcpt(stack, name, login, recipient=f"reader@{DEAD}"):
    with Client(stack.node, 587) as client:
        client.auth_plain(login.name, login.password)
        client.mail(f"news@{name}.test")
        code, text = client.rcpt(recipient)
        return code, text.decode()


def send(stack, name, login):
    sender = f"news@{name}.test"
    assert submit(stack.node, login, sender, f"{name}@{DEAD}", compose(sender, f"{name}@{DEAD}", "Hello")).accepted
    wait_for(f"the bounce for {name}", lambda: stack.postgres.execute(
        "SELECT recipient FROM support.events WHERE type = 'message.bounced' AND category = 'bad-domain' AND recipient = %s",
        [f"{name}@{DEAD}"], user="waybill_support"))


def dead_domains(stack):
    return [row["domain"] for row in stack.node.waybill_json("suppress", "domains")]


def test_two_customers_mail_fails_and_the_third_is_told_at_once(stack, logins):
    send(stack, "one", logins["one"])
    assert dead_domains(stack) == [], "nobody asked for it yet"
    stack.node.waybill("suppress", "domain-policy", "--enable", "yes", "--customers", "2", "--apart", "0")
    send(stack, "two", logins["two"])
    assert dead_domains(stack) == [], "what failed before it was switched on does not count"
    send(stack, "three", logins["three"])
    wait_for("the domain to be dead", lambda: dead_domains(stack) == [DEAD])
    refused = wait_for("the relay to refuse it", lambda: (lambda reply: reply if reply[0] != 250 else None)(
        rcpt(stack, "one", logins["one"])))
    assert refused[0] == 550 and "5.1.2" in refused[1] and "[recipient-domain-dead]" in refused[1], refused
    assert rcpt(stack, "one", logins["one"], "reader@dest.test")[0] == 250
    [told] = stack.node.waybill_json("explain", refused[1].rpartition("id=")[2].split()[0])
    assert told["reason"] == "recipient-domain-dead"

    stack.node.waybill("suppress", "remove-domain", DEAD)
    wait_for("the relay to try again", lambda: rcpt(stack, "one", logins["one"])[0] == 250)
    stack.node.waybill("suppress", "domain-policy", "--enable", "no")


def test_a_domain_by_hand(stack, logins):
    stack.node.waybill("suppress", "add-domain", "typo.test", "--note", "asked by phone")
    wait_for("the relay to refuse it", lambda: rcpt(stack, "one", logins["one"], "a@typo.test")[0] == 550)
    assert rcpt(stack, "one", logins["one"], "a@typo.test")[1].count("(manual)") == 1
    assert stack.node.waybill_json("directory", "verify")
