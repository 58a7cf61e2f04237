"""Suppression as a state machine, on a real PostgreSQL: what each sequence of events leaves behind."""

import json
from datetime import datetime, timedelta, timezone

import pytest

from .conftest import BLOCKED, CLOSED, DAY, FULL, HARD

FOR_GOOD = None
DAYS = {"soft": timedelta(days=30), "closed": timedelta(days=90)}


BY_MAIL = dict(FULL, bounce_async=True)


def on(day, kind, **more):
    return (timedelta(days=day), kind, more)


# name: the events (day, type, verdict), then the suppression: None, or reason and how long after the last event it ends.
TABLE = {
    "hard": ([on(0, "bounced", **HARD)], ("hard-bounce", FOR_GOOD)),
    "hard about us": ([on(0, "bounced", **BLOCKED)], None),
    "hard, deferred only": ([on(0, "deferred", **HARD)], None),
    "closed mailbox": ([on(0, "bounced", **CLOSED)], ("hard-bounce", DAYS["closed"])),
    "domain": ([on(0, "bounced", **dict(HARD, bounce_category="bad-domain", bounce_scope="recipient_domain"))],
               ("hard-bounce", FOR_GOOD)),
    "two soft": ([on(0, "bounced", **FULL), on(1, "bounced", **FULL)], None),
    "three soft": ([on(0, "bounced", **FULL), on(1, "bounced", **FULL), on(2, "bounced", **FULL)],
                   ("soft-bounce", DAYS["soft"])),
    "three soft in 31 days": ([on(0, "bounced", **FULL), on(15, "bounced", **FULL), on(31, "bounced", **FULL)], None),
    "three deferrals are none": ([on(0, "deferred", **FULL)] * 3, None),
    "delivery between": ([on(0, "bounced", **FULL), on(1, "bounced", **FULL), on(2, "delivered"), on(3, "bounced", **FULL)], None),
    "delivery between, three after": ([on(0, "bounced", **FULL), on(1, "delivered"), on(2, "bounced", **FULL),
                                       on(3, "bounced", **FULL), on(4, "bounced", **FULL)], ("soft-bounce", DAYS["soft"])),
    "an undetermined hard one": ([on(0, "bounced", bounce_class="hard", bounce_category="undetermined", bounce_scope=None)], None),
    "complaint": ([on(0, "complained")], ("complaint", FOR_GOOD)),
    "closed, then gone": ([on(0, "bounced", **CLOSED), on(1, "bounced", **HARD)], ("hard-bounce", FOR_GOOD)),
    "gone, then closed": ([on(0, "bounced", **HARD), on(1, "bounced", **CLOSED)], ("hard-bounce", FOR_GOOD)),
    "closed, over, closed again": ([on(0, "bounced", **CLOSED), on(100, "bounced", **CLOSED)], ("hard-bounce", DAYS["closed"])),
    "three soft by mail, each after its delivery": ([on(0, "delivered"), on(0.1, "bounced", **BY_MAIL), on(1, "delivered"),
                                                     on(1.1, "bounced", **BY_MAIL), on(2, "delivered"), on(2.1, "bounced", **BY_MAIL)],
                                                    ("soft-bounce", DAYS["soft"])),
    "three soft by mail in 31 days": ([on(0, "bounced", **BY_MAIL), on(15, "bounced", **BY_MAIL), on(31, "bounced", **BY_MAIL)], None),
    "soft by mail, a delivery, soft at once": ([on(0, "bounced", **BY_MAIL), on(1, "bounced", **FULL), on(2, "delivered"),
                                                on(3, "bounced", **FULL)], None),
    "expired, about the recipient": ([on(0, "bounced", **dict(FULL, bounce_category="expired"))] * 3, ("soft-bounce", DAYS["soft"])),
    "expired, about the network": ([on(0, "bounced", bounce_class="soft", bounce_category="expired", bounce_scope="network")] * 3, None),
}


@pytest.mark.parametrize("together", [False, True], ids=["apart", "one batch"])
@pytest.mark.parametrize("name", TABLE)
def test_state_machine(world, name, together):
    steps, wanted = TABLE[name]
    customer = world.customer("machine")
    recipient = f"{name.replace(' ', '-').replace(',', '')}-{together}@net{abs(hash(name + str(together)))}.example"
    events = [world.event(customer, kind, recipient, DAY - timedelta(days=200) + day, **more) for day, kind, more in steps]
    for batch in [events] if together else [[e] for e in events]:
        world.record(*batch)
    found = world.suppression(customer, recipient)
    last = events[-1]["occurred_at"]
    assert (found and (found[0], found[1] and found[1] - last)) == wanted


def test_reading_again_changes_nothing(world):
    customer = world.customer("again")
    event = world.event(customer, "bounced", "gone@again.example", **HARD)
    assert world.record(event) == 1
    world.run("suppress", "remove", customer, "gone@again.example")
    assert world.record(event) == 0
    assert world.suppression(customer, "gone@again.example") is None


def test_another_customer_is_not_touched(world):
    one, other = world.customer("mine"), world.customer("theirs")
    world.record(world.event(one, "bounced", "x@shared.example", **HARD))
    assert world.suppression(one, "x@shared.example") and not world.suppression(other, "x@shared.example")


def test_what_a_person_decided_stays(world):
    customer = world.customer("manual")
    world.run("suppress", "add", customer, "stay@manual.example", "--note", "asked by phone")
    world.record(world.event(customer, "bounced", "stay@manual.example", **CLOSED))
    assert world.suppression(customer, "stay@manual.example") == ("manual", None)


def end(world, customer, recipient):
    world.rows("UPDATE waybill.suppressions SET expires_at = now() - interval '1 second', created_at = now() - interval '9 days' "
               "WHERE customer = %s AND recipient = %s", customer, recipient)


def told(world, customer):
    return [kind for kind, in world.rows("SELECT type FROM waybill.events WHERE customer = %s AND type LIKE 'suppression.%%' ORDER BY seq",
                                         customer)]


def test_one_that_has_ended_is_none(world):
    """It can be entered again by hand and by a file, is told of as a new one, and its remains go without a word."""
    customer = world.customer("ended")
    for recipient in ("hand@ended.example", "file@ended.example", "left@ended.example"):
        world.record(world.event(customer, "bounced", recipient, **CLOSED))
        end(world, customer, recipient)
    world.run("suppress", "add", customer, "hand@ended.example", "--note", "again")
    world.run("suppress", "add", customer, "hand@ended.example", code=73)
    counts = json.loads(world.run("suppress", "import", customer, "-", "--json", stdin="file@ended.example,import,2035-01-01\nhand@ended.example\n"))
    assert counts == {"imported": 1, "existing": 1, "refused": 0}
    assert world.rows("SELECT recipient, reason, rule, event_id, expires_at > now(), created_at > now() - interval '1 hour' FROM "
                      "waybill.suppressions WHERE customer = %s ORDER BY 1", customer) == [
        ("file@ended.example", "import", None, None, True, True), ("hand@ended.example", "manual", None, None, None, True),
        ("left@ended.example", "hard-bounce", "text/inactive", world.one(
            "SELECT event_id FROM waybill.suppressions WHERE recipient = 'left@ended.example'"), False, False)]
    world.run("suppress", "remove", customer, "left@ended.example")
    assert told(world, customer) == ["suppression.created"] * 5
    world.run("suppress", "remove", customer, "hand@ended.example")
    assert told(world, customer)[5:] == ["suppression.deleted"]


@pytest.mark.parametrize("reason", ["unsubscribe", "complaint"])
def test_what_a_file_says_the_recipient_asked_for_outlives_bounces(world, reason):
    customer = world.customer(f"asked-{reason}")
    for i, why in enumerate((HARD, CLOSED)):
        world.record(world.event(customer, "bounced", f"b{i}@asked.example", **why))
    world.run("suppress", "add", customer, "hand@asked.example")
    lines = f"b0@asked.example,{reason},2035-01-01\nb1@asked.example,hard-bounce\nb1@asked.example,{reason}\nhand@asked.example,{reason}\n"
    assert json.loads(world.run("suppress", "import", customer, "-", "--json", stdin=lines))["imported"] == 2
    assert world.rows("SELECT recipient, reason, rule, expires_at FROM waybill.suppressions WHERE customer = %s ORDER BY 1", customer) == [
        ("b0@asked.example", reason, None, None), ("b1@asked.example", reason, None, None), ("hand@asked.example", "manual", None, None)]
    world.run("suppress", "revert", "--customer", customer, "--since", "2020-01-01")
    assert world.one("SELECT count(*) FROM waybill.suppressions WHERE customer = %s", customer) == 3


def test_who_why_and_which_event(world):
    customer = world.customer("why")
    cause = world.event(customer, "bounced", "a@why.example", **HARD)
    world.record(cause)
    world.run("suppress", "add", customer, "b@why.example", "--note", "asked by phone")
    rows = [json.loads(line) for line in world.run("suppress", "list", customer, "--json").splitlines()]
    assert [(row["reason"], row["event_id"], row["rule"], row["note"]) for row in rows] == [
        ("hard-bounce", cause["event_id"], "text/unknown-user", ""), ("manual", None, None, "asked by phone")]
    assert rows[1]["who"], "a person's name"


def test_the_event_says_so_and_events_tell(world):
    customer = world.customer("told")
    cause = world.event(customer, "bounced", "tell@told.example", **CLOSED)
    world.record(cause)
    assert world.rows("SELECT suppression, suppression_expires IS NOT NULL FROM waybill.events WHERE customer = %s AND event_id = %s",
                      customer, cause["event_id"]) == [("added", True)]
    world.run("suppress", "remove", customer, "tell@told.example")
    told = world.rows("SELECT type, detail ->> 'event_id', detail ->> 'rule', seq FROM waybill.events WHERE customer = %s "
                      "AND type LIKE 'suppression.%%' ORDER BY seq", customer)
    assert told == [("suppression.created", cause["event_id"], "text/inactive", 2),
                    ("suppression.deleted", cause["event_id"], "text/inactive", 3)]


def test_brake(world):
    """A provider that suddenly refuses everybody: those beyond the limit are spared, and it is said once."""
    customer = world.customer("brake")
    world.rows("UPDATE waybill.brake_policy SET least = 20, percent = 30, minutes = 10")
    good = [world.event(customer, "delivered", f"ok{i}@prov.example", provider="prov") for i in range(14)]
    world.record(*good)
    for i in range(30):
        world.record(world.event(customer, "bounced", f"user{i}@prov.example", DAY + timedelta(seconds=i), provider="prov", **HARD))
    suppressed = world.one("SELECT count(*) FROM waybill.suppressions WHERE customer = %s", customer)
    spared = world.one("SELECT spared FROM support.brakes WHERE provider = 'prov'")
    assert suppressed == 6 and spared == 24  # the seventh of 21 outcomes is more than 30 %
    assert world.one("SELECT count(*) FROM waybill.events WHERE customer = %s AND suppression = 'frozen'", customer) == 24
    assert world.one("SELECT count(*) FROM waybill.events WHERE type = 'suppression.frozen' AND detail ->> 'provider' = 'prov'") == 1
    # Another provider is not held, and this one neither when the hour is over.
    world.record(world.event(customer, "bounced", "other@else.example", DAY + timedelta(seconds=40), **HARD))
    world.record(world.event(customer, "bounced", "later@prov.example", DAY + timedelta(hours=2), provider="prov", **HARD))
    assert world.suppression(customer, "other@else.example") and world.suppression(customer, "later@prov.example")


def test_brakes_are_seen_and_released(world):
    customer = world.customer("release")
    now = datetime.now(timezone.utc)
    world.run("suppress", "brake-policy", "--percent", "30", "--minutes", "10", "--least", "20", "--hold", "1 hour")
    for i in range(30):
        world.record(world.event(customer, "bounced", f"u{i}@freed.example", now + timedelta(seconds=i), provider="freed", **HARD))
    row = json.loads(world.run("suppress", "brakes", "--json").splitlines()[0])
    assert row["provider"] == "freed" and row["in_force"] and row["spared"] == 11
    world.run("suppress", "release", "freed")
    world.run("suppress", "release", "freed", code=67)
    world.record(world.event(customer, "bounced", "u99@freed.example", now + timedelta(seconds=40), provider="freed", **HARD))
    assert world.suppression(customer, "u99@freed.example")
    world.run("suppress", "brake-policy", "--percent", "101", code=65)


def test_policy_of_a_customer(world):
    customer = world.customer("strict")
    world.run("suppress", "policy", customer, "--soft-messages", "1", "--soft-ttl", "2 days", "--hard-ttl", "90 days")
    world.record(world.event(customer, "bounced", "full@strict.example", **FULL), world.event(customer, "bounced", "gone@strict.example", **HARD))
    assert world.suppression(customer, "full@strict.example") == ("soft-bounce", DAY + timedelta(days=2))
    assert world.suppression(customer, "gone@strict.example") == ("hard-bounce", DAY + timedelta(days=90))
    shown = json.loads(world.run("suppress", "policy", customer, "--hard-ttl", "forever", "--json"))
    assert shown["hard_ttl"] == "forever" and shown["soft_messages"] == 1 and shown["closed_ttl"] == "90 days"
    assert json.loads(world.run("suppress", "policy", "--json"))["soft_messages"] == 3, "the others' is as it was"
    world.run("suppress", "policy", customer, "--soft-messages", "0", code=65)
    world.run("suppress", "policy", "nobody-here", code=67)


def test_undo_by_cause(world):
    customer = world.customer("undo")
    world.record(world.event(customer, "bounced", "a@undo.example", remote_mx="mx1.undo.example", **HARD),
                 world.event(customer, "bounced", "b@undo.example", remote_mx="mx1.undo.example", **CLOSED),
                 world.event(customer, "bounced", "c@kept.example", remote_mx="mx.kept.example", **HARD))
    world.run("suppress", "add", customer, "d@undo.example")
    left = "SELECT array_agg(recipient ORDER BY recipient) FROM waybill.suppressions WHERE customer = %s"
    dry = world.run("suppress", "revert", "--customer", customer, "--remote", "undo.example", "--dry-run")
    assert "a@undo.example" in dry and "b@undo.example" in dry and "kept" not in dry
    assert world.one(left, customer) == ["a@undo.example", "b@undo.example", "c@kept.example", "d@undo.example"]
    world.run("suppress", "revert", "--customer", customer, "--rule", "text/unknown*", "--remote", "undo.example", "--since", "2020-01-01")
    assert world.one(left, customer) == ["b@undo.example", "c@kept.example", "d@undo.example"]
    world.run("suppress", "revert", "--customer", customer, "--remote", "undo.example")
    assert world.one(left, customer) == ["c@kept.example", "d@undo.example"]
    assert world.run("suppress", "revert", code=64) == ""


def test_consequence_is_the_classifiers(world):
    """The database's word and the program's are the same for every category."""
    for text, enhanced in (("550 5.1.1 user unknown", "5.1.1"), ("550 5.2.1 mailbox disabled", "5.2.1"), ("552 5.2.2 full", "5.2.2"),
                           ("550 5.7.1 spam", "5.7.1"), ("550 x", ""), ("550 5.1.2 host unknown", "5.1.2")):
        row = json.loads(world.run("classify", "--json", "--enhanced", enhanced, text))
        assert row["consequence"] == world.one("SELECT waybill.consequence(%s, %s, nullif(%s, ''))", row["class"], row["category"],
                                               row["scope"]), text
