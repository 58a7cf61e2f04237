"""Retention, erasure, counts by the hour, and who sees what."""

import json
from datetime import datetime, timedelta, timezone

import psycopg2
import pytest

from .conftest import DAY, HARD


def test_counts_by_the_hour(world):
    customer = world.customer("rolled")
    world.record(*[world.event(customer, "delivered", f"r{i}@rolled.example", provider="google") for i in range(5)],
                 world.event(customer, "bounced", "gone@rolled.example", provider="google", **HARD))
    assert world.rows("SELECT type, provider, category, events FROM support.rollups WHERE customer = %s ORDER BY type", customer) \
        == [("message.bounced", "google", "bad-mailbox", 1), ("message.delivered", "google", None, 5)]
    assert world.rows("SELECT provider, category, class, bounces FROM support.bounces_by_provider WHERE customer = %s", customer) == \
        [("google", "bad-mailbox", "hard", 1)]


def test_search_pages(world):
    customer = world.customer("pages")
    at = [DAY + timedelta(seconds=i // 2) for i in range(7)]  # pairs of the same time
    world.record(*[world.event(customer, "delivered", f"p{i}@pages.example", at[i], message_id=f"{i}@m") for i in range(7)])
    first = world.rows("SELECT seq, occurred_at, event_id FROM support.message_search(%s, NULL, 3)", customer)
    then = world.rows("SELECT seq, occurred_at, event_id FROM support.message_search(%s, NULL, 3, %s, %s)", customer, *first[-1][1:])
    rest = world.rows("SELECT seq FROM support.message_search(%s, NULL, 3, %s, %s)", customer, *then[-1][1:])
    assert sorted(row[0] for row in first + then + rest) == [1, 2, 3, 4, 5, 6, 7] and first[0][0] == 7
    assert world.rows("SELECT recipient FROM support.message_search(%s, '<2@m>')", customer) == [("p2@pages.example",)]
    assert world.one("SELECT count(*) FROM support.message_search(%s, '@pages.example')", customer) == 7


def test_search_goes_back_as_far_as_it_must(world):
    """Latest days first, in windows that grow: no event is left out or told twice, wherever a page begins."""
    customer = world.customer("windows")
    for days in range(0, 80, 3):
        for i in range(3):
            world.record(world.event(customer, "delivered", f"w{days}-{i}@windows.example", DAY - timedelta(days=days, hours=i)))
    for what in (None, "@windows.example"):
        found, last = [], ("infinity", "")
        while page := world.rows("SELECT seq, occurred_at, event_id FROM support.message_search(%s, %s, 7, %s, %s)", customer, what, *last):
            found += page
            last = page[-1][1:]
        assert len(found) == len(set(found)) == 81
        assert [row[1] for row in found] == sorted((row[1] for row in found), reverse=True)
    assert world.one("SELECT count(*) FROM support.message_search(%s, 'w78-2@windows.example')", customer) == 1
    assert world.one("SELECT count(*) FROM support.message_search(%s, NULL, 5000)", customer) == 81


def test_timeline(world):
    customer, other = world.customer("line"), world.customer("other-line")
    first = world.event(customer, "deferred", "l@line.example", DAY, message_id="line@m")
    world.record(first, dict(first, type="message.delivered", event_id="evt_line2", occurred_at=DAY + timedelta(hours=1)),
                 world.event(other, "delivered", "l@line.example", DAY + timedelta(days=2), message_id="other@m"))
    ask = "SELECT type, customer FROM support.timeline(%s)"
    life = [("message.deferred", customer), ("message.delivered", customer)]
    assert world.rows(ask, first["queue_id"]) == life and world.rows(ask, "line@m") == life and world.rows(ask, "<line@m>") == life
    assert world.rows(ask, "l@line.example") == life + [("message.delivered", other)]
    assert world.rows(ask, "nothing@line.example") == [] and world.rows(ask, "nothing") == []


def test_retention(world):
    short, usual = world.customer("short"), world.customer("usual")
    world.run("retention", "set", short, "7")
    for days in (1, 10, 50):
        for customer in (short, usual):
            world.record(world.event(customer, "delivered", f"d{days}@keep.example", DAY - timedelta(days=days)))
    world.rows("SELECT waybill.prune_events(%s)", DAY)
    kept = "SELECT array_agg(recipient ORDER BY recipient) FROM waybill.events WHERE customer = %s"
    assert world.one(kept, short) == ["d1@keep.example"]
    assert world.one(kept, usual) == ["d10@keep.example", "d1@keep.example"]
    world.run("retention", "set", short, "6", code=65)
    world.run("retention", "set", "nobody-here", "10", code=67)


def test_retention_is_applied_to_the_end(world):
    """However much is too old, and the days ahead are made."""
    customer = world.customer("much")
    world.run("retention", "set", customer, "7")
    world.rows("INSERT INTO waybill.events (customer, occurred_at, event_id, seq, type, host, instance, queue_id) "
               "SELECT %s, now() - interval '9 days' + i * interval '1 ms', 'evt_much' || i, i, 'message.delivered', '', '', '' "
               "FROM generate_series(1, 25000) AS i", customer)
    world.rows("INSERT INTO waybill.event_seq VALUES (%s, 25000)", customer)
    kept = world.event(customer, "delivered", "kept@keep.example", datetime.now(timezone.utc))
    world.record(kept)
    told = json.loads(world.run("retention", "apply", "--json"))
    assert told["events"] >= 25000
    assert world.rows("SELECT event_id FROM waybill.events WHERE customer = %s", customer) == [(kept["event_id"],)]
    ahead = world.one("SELECT to_char((now() AT TIME ZONE 'UTC')::date + 13, '\"waybill.events_\"YYYYMMDD')")
    assert world.one("SELECT to_regclass(%s) IS NOT NULL", ahead)
    assert json.loads(world.run("retention", "apply", "--json")) == {"made": 0, "days": 0, "events": 0}


def test_old_days_are_dropped_as_partitions(world):
    old = DAY - timedelta(days=400)
    world.rows("SELECT waybill.ensure_partitions(%s, 2)", old.date())
    name = f"waybill.events_{old:%Y%m%d}"
    assert world.one("SELECT to_regclass(%s) IS NOT NULL", name)
    world.rows("SELECT waybill.prune_events(%s)", DAY)
    assert world.one("SELECT to_regclass(%s) IS NULL", name)


def test_gdpr(world):
    customer = world.customer("gdpr")
    address = "jane@gdpr.example"
    world.record(world.event(customer, "bounced", address, reason=f"host said: 550 <{address}>: unknown", **HARD),
                 world.event(customer, "delivered", "other@gdpr.example"))
    exported = [json.loads(line) for line in world.run("gdpr", "export", address, "--json").splitlines()]
    assert {row["kind"] for row in exported} >= {"event", "suppression"} and any(address in str(row) for row in exported)
    world.run("gdpr", "erase", address, "--yes")
    assert world.run("gdpr", "export", address, "--json") == ""
    assert world.one("SELECT count(*) FROM waybill.events e WHERE customer = %s AND e::text LIKE %s", customer, f"%{address}%") == 0
    assert world.one("SELECT count(*) FROM waybill.events WHERE customer = %s AND type = 'message.delivered'", customer) == 1
    world.run("gdpr", "erase", address, code=64)


def test_gdpr_reaches_every_corner(world):
    """What could not be stored or parsed, what applications said, and who suppressed the address."""
    customer, address = world.customer("corners"), "hidden@corners.example"
    world.run("suppress", "add", customer, address)
    world.rows("INSERT INTO waybill.dead_letters (source, error, event) VALUES ('s', 'bad', %s)", json.dumps({"to": address}))
    world.rows("INSERT INTO waybill.unparsed (source, template, why, lines, sample) VALUES ('s', 't', 'w', 1, %s)", f"to=<{address}>")
    world.rows("INSERT INTO waybill.annotations VALUES (%s, 'Q1', now(), 'x', %s)", customer, json.dumps({"for": address}))
    kinds = {json.loads(line)["kind"] for line in world.run("gdpr", "export", address, "--json").splitlines()}
    assert kinds == {"event", "suppression", "dead letter", "unparsed line", "annotation", "audit"}
    told = json.loads(world.run("gdpr", "erase", address, "--yes", "--json"))
    assert told["suppressions"] == 1 and told["others"] >= 4
    assert world.run("gdpr", "export", address, "--json") == ""
    assert world.one("SELECT metadata ->> 'for' FROM waybill.annotations WHERE customer = %s", customer) == "erased@invalid"


def test_a_complaint_outlives_erasure_unless_all_goes(world):
    customer = world.customer("objected")
    world.record(world.event(customer, "complained", "no@gdpr.example"))
    world.run("gdpr", "erase", "no@gdpr.example", "--yes")
    assert world.suppression(customer, "no@gdpr.example")
    world.run("gdpr", "erase", "no@gdpr.example", "--yes", "--everything")
    assert not world.suppression(customer, "no@gdpr.example")


ROLES = {"waybill_support": {"*"}, "wb_all": {"*"}, "wb_acme": {"acme"}, "wb_none": set()}


@pytest.fixture(scope="module")
def staff(world):
    for customer in ("acme", "globex"):
        world.customer(customer)
        world.record(world.event(customer, "bounced", f"x@{customer}.example", **HARD))
        world.rows("INSERT INTO waybill.domains (domain, customer) VALUES (%s, %s) ON CONFLICT DO NOTHING", f"{customer}.example", customer)
        world.rows("INSERT INTO waybill.rights VALUES (%s, true, '*@owned') ON CONFLICT DO NOTHING", f"app@{customer}")
        world.rows("INSERT INTO waybill.accounting_files (customer, hour, file, events, last_seq, sha256, manifest) "
                   "VALUES (%s, now(), 'f', 0, 0, '', '') ON CONFLICT DO NOTHING", customer)
    for role, customers in ROLES.items():
        if role != "waybill_support":
            world.rows(f"DO $$ BEGIN CREATE ROLE {role} LOGIN IN ROLE waybill_support; EXCEPTION WHEN duplicate_object THEN NULL; END $$")
        if customers and role != "waybill_support":
            world.rows("INSERT INTO waybill.staff VALUES (%s, %s) ON CONFLICT DO NOTHING", role, list(customers))
    return world


VIEWS = "SELECT relname FROM pg_class WHERE relkind = 'v' AND relnamespace = 'support'::regnamespace ORDER BY 1"


@pytest.mark.parametrize("role", ROLES)
def test_every_view_as_every_role(staff, role):
    """Each view can be read, and shows a customer to those alone who may see it; rows of nobody to those who see all."""
    sees = ROLES[role]
    views = [name for name, in staff.rows(VIEWS)]
    assert {"events", "suppressions", "rollups", "bounces_by_provider", "customers", "unparsed", "lag", "accounting"} <= set(views)
    connection = psycopg2.connect(user=role)
    try:
        for view in views:
            with connection, connection.cursor() as cursor:
                cursor.execute(f"SELECT * FROM support.{view}")
                columns = [c.name for c in cursor.description]
                rows = cursor.fetchall()
                total = staff.one(f"SELECT count(*) FROM support.{view}")
                if "*" in sees:
                    assert len(rows) == total, view
                elif "customer" in columns:
                    assert {row[columns.index("customer")] for row in rows} <= sees, view
                    assert rows or not sees or total == 0 or view in ("limits", "webhook_lag"), view
                else:
                    assert all("globex" not in str(row) for row in rows), view
                    assert sees or not rows, view
    finally:
        connection.close()


@pytest.mark.parametrize("role", ROLES)
def test_every_function_as_every_role(staff, role):
    """Search and timeline show no more than the views do, by whichever index they find it."""
    sees = ROLES[role]
    connection = psycopg2.connect(user=role)
    try:
        for customer in ("acme", "globex"):
            message = staff.one("SELECT queue_id FROM waybill.events WHERE customer = %s AND type = 'message.bounced'", customer)
            for ask in (("SELECT * FROM support.message_search(%s)", customer), ("SELECT * FROM support.message_search(%s, %s)", customer, message),
                        ("SELECT * FROM support.message_search(%s, %s)", customer, f"x@{customer}.example"),
                        ("SELECT * FROM support.message_search(%s, %s)", customer, f"@{customer}.example"),
                        ("SELECT * FROM support.timeline(%s)", message), ("SELECT * FROM support.timeline(%s)", f"x@{customer}.example")):
                with connection, connection.cursor() as cursor:
                    cursor.execute(ask[0], ask[1:])
                    found = cursor.fetchall()
                assert bool(found) == bool(sees & {"*", customer}), ask
    finally:
        connection.close()


@pytest.mark.parametrize("role", ROLES)
def test_no_secret_and_no_table(staff, role):
    connection = psycopg2.connect(user=role)
    try:
        for statement in ("SELECT password_hash FROM waybill.logins", "SELECT sealed FROM waybill.dkim_keys",
                          "SELECT sealed_secret FROM waybill.endpoints", "DELETE FROM waybill.events",
                          "INSERT INTO waybill.staff VALUES (session_user, '{*}')", "UPDATE waybill.suppressions SET note = ''",
                          "SELECT waybill.erase_address('a', true)", "SELECT * FROM waybill.staff"):
            with pytest.raises(psycopg2.errors.InsufficientPrivilege), connection, connection.cursor() as cursor:
                cursor.execute(statement)
    finally:
        connection.close()
