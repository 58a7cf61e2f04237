"""Domains that prove dead for every customer: what it takes, what undoes it, and that nobody asked for it by default."""

import json
from datetime import datetime, timedelta, timezone

import pytest

NOW = datetime.now(timezone.utc).replace(microsecond=0)
DEAD = {"bounce_class": "hard", "bounce_category": "bad-domain", "bounce_scope": "recipient_domain", "bounce_rule": "postfix/no-domain"}
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)


@pytest.fixture
def policy(world):
    """Switched on, with its defaults; off again afterwards."""
    world.rows("UPDATE waybill.dead_domain_policy SET frozen_until = '-infinity'")
    world.run("suppress", "domain-policy", "--enable", "yes", "--customers", "2", "--messages", "5", "--most", "50")
    yield world
    world.run("suppress", "domain-policy", "--enable", "no")
    world.rows("DELETE FROM waybill.dead_domains")


def failed(customer, ago, **more):
    return (customer, "bounced", ago, dict(DEAD, **more))


# name: what happened (customer, type, how long ago, verdict), and is the domain dead then?
TABLE = {
    "two customers": ([failed("d1", 2 * HOUR), failed("d2", MINUTE)], True),
    "one customer, five messages": ([failed("d1", n * HOUR) for n in (5, 4, 3, 2, 1)], True),
    "one customer, four messages": ([failed("d1", n * HOUR) for n in (4, 3, 2, 1)], False),
    "two customers in the same minute": ([failed("d1", MINUTE), failed("d2", MINUTE)], False),
    "long apart": ([failed("d1", 200 * HOUR), failed("d2", MINUTE)], False),
    "the remote says it": ([failed("d1", 2 * HOUR, response="550 5.1.2 host unknown", smtp_code=550),
                            failed("d2", MINUTE, response="550 5.1.2 host unknown", smtp_code=550)], False),
    "by a bounce mail": ([failed("d1", 2 * HOUR, bounce_async=True), failed("d2", MINUTE, bounce_async=True)], False),
    "it may come back": ([failed("d1", 2 * HOUR, bounce_class="soft", bounce_category="dns-failure"),
                          failed("d2", MINUTE, bounce_class="soft", bounce_category="dns-failure")], False),
    "a delivery between": ([failed("d1", 3 * HOUR), ("d3", "delivered", 2 * HOUR, {}), failed("d2", MINUTE)], False),
    "a delivery after": ([failed("d1", 3 * HOUR), failed("d2", HOUR), ("d3", "delivered", timedelta(0), {})], False),
    "read late": ([failed("d1", 400 * HOUR), failed("d2", 390 * HOUR)], False),
}


@pytest.mark.parametrize("name", TABLE)
def test_what_it_takes(policy, name):
    steps, dead = TABLE[name]
    domain = name.replace(" ", "-").replace(",", "") + ".example"
    for customer, kind, ago, more in steps:
        at = NOW + MINUTE if not ago else NOW - ago
        policy.record(policy.event(policy.customer(customer), kind, f"a{policy.number}@{domain}", at, **more))
    found = policy.rows("SELECT reason, in_force FROM support.dead_domains WHERE domain = %s", domain)
    assert found == ([("dead-domain", True)] if dead else [])


def test_nobody_asked_for_it(world):
    for customer in ("d1", "d2"):
        for ago in (3, 2):
            world.record(world.event(world.customer(customer), "bounced", f"{ago}@unasked.example", NOW - ago * HOUR, **DEAD))
    assert world.rows("SELECT * FROM waybill.dead_domains") == [] and world.rows("SELECT * FROM waybill.domain_failures") == []


def test_it_ends_is_told_and_can_be_taken_away(policy):
    first, second = failed("d1", 2 * HOUR), failed("d2", HOUR)
    for customer, kind, ago, more in (first, second):
        policy.record(policy.event(policy.customer(customer), kind, "x@told.example", NOW - ago, **more))
    row = json.loads(policy.run("suppress", "domains", "--json"))
    assert row["domain"] == "told.example" and row["customers"] == 2 and row["rule"] == "postfix/no-domain" and row["in_force"]
    assert policy.one("SELECT expires_at FROM support.dead_domains") == NOW - HOUR + timedelta(days=7)
    # In the directory it is a suppression of nobody's.
    assert policy.one("SELECT count(*) FROM waybill.changes WHERE kind = 'suppression' AND key = '* told.example'") == 1
    # One more failure prolongs it.
    policy.record(policy.event("d1", "bounced", "y@told.example", NOW, **DEAD))
    assert policy.one("SELECT expires_at FROM support.dead_domains") == NOW + timedelta(days=7)
    policy.run("suppress", "remove-domain", "Told.Example")
    assert policy.run("suppress", "domains", "--json") == ""
    policy.run("suppress", "remove-domain", "told.example", code=67)
    told = policy.rows("SELECT type FROM waybill.events WHERE customer = '-' AND detail ->> 'domain' = 'told.example' ORDER BY seq")
    assert told == [("suppression.created",), ("suppression.deleted",)]
    # What it was found by is forgotten with it: one failure does not bring it back.
    policy.record(policy.event("d1", "bounced", "z@told.example", NOW, **DEAD))
    assert policy.run("suppress", "domains", "--json") == ""


def test_by_hand_and_switched_off(policy):
    policy.run("suppress", "add-domain", "typo.example", "--note", "asked by phone", "--until", "+2 days")
    for customer, ago in (("d1", 2 * HOUR), ("d2", HOUR)):
        policy.record(policy.event(policy.customer(customer), "bounced", "x@found.example", NOW - ago, **DEAD))
    assert policy.one("SELECT count(*) FROM support.dead_domains") == 2
    policy.run("suppress", "domain-policy", "--enable", "no")
    assert policy.rows("SELECT domain, reason, note FROM support.dead_domains") == [("typo.example", "manual", "asked by phone")]
    assert policy.rows("SELECT what FROM waybill.audit WHERE object = 'dead domain typo.example'") == [("suppress add-domain",)]


def test_one_that_has_ended_is_entered_again(policy):
    policy.run("suppress", "add-domain", "again.example", "--until", "+2 days")
    policy.run("suppress", "add-domain", "again.example", code=73)
    policy.rows("UPDATE waybill.dead_domains SET expires_at = now() - interval '1 second'")
    policy.run("suppress", "add-domain", "again.example", "--note", "still")
    assert policy.rows("SELECT domain, note, in_force FROM support.dead_domains") == [("again.example", "still", True)]
    assert policy.one("SELECT count(*) FROM waybill.events WHERE type = 'suppression.created' AND detail ->> 'domain' = 'again.example'") == 2


def test_too_many_at_once_are_our_resolvers_fault(policy):
    policy.run("suppress", "domain-policy", "--most", "3")
    for i in range(6):
        for customer, ago in (("d1", 2 * HOUR), ("d2", HOUR)):
            policy.record(policy.event(policy.customer(customer), "bounced", f"x@many{i}.example", NOW - ago, **DEAD))
    assert policy.one("SELECT count(*) FROM support.dead_domains") == 3
    assert policy.one("SELECT count(*) FROM waybill.events WHERE type = 'suppression.frozen' AND detail ? 'domains'") == 1


def test_bounds(policy):
    for words in (("--keep", "31 days"), ("--customers", "0"), ("--within", "never"), ("--enable", "perhaps")):
        policy.run("suppress", "domain-policy", *words, code=65)
