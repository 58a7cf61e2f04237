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


def test_retention_of_all_that_names_people(world):
    """Each table forgets by its own rule; what is younger, or still holds, stays."""
    customer, now = world.customer("forgets"), datetime.now(timezone.utc)
    world.run("retention", "set", customer, "10")
    for days in (5, 12, 30, 50, 401):
        at, who = now - timedelta(days=days), f"d{days}@forgets.example"
        world.rows("INSERT INTO waybill.dead_letters (at, source, error, event) VALUES (%s, 'forgets', '', %s)", at, who)
        world.rows("INSERT INTO waybill.unparsed (source, template, why, lines, sample, last_at) VALUES ('forgets', %s, '', 1, %s, %s)",
                   who, who, at)
        world.rows("INSERT INTO waybill.annotations (customer, queue_id, said_at, tag) VALUES (%s, %s, %s, %s)", customer, who, at, who)
        world.rows("INSERT INTO waybill.unverified_reports (at, customer, why, kind, report) VALUES (%s, %s, '', '', %s)",
                   at, customer, json.dumps(who))
        world.rows("INSERT INTO waybill.soft_failures (customer, recipient, host, queue_id, failed_at) VALUES (%s, %s, '', '', %s)",
                   customer, who, at)
        world.rows("INSERT INTO waybill.suppressions (customer, recipient, reason, expires_at) VALUES (%s, %s, 'manual', %s)",
                   customer, who, at)
        world.rows("INSERT INTO waybill.suppressions (customer, recipient, reason, created_at) VALUES (%s, %s, 'manual', %s)",
                   customer, f"kept-{who}", at)
    world.rows("DELETE FROM waybill.audit WHERE object LIKE 'suppression forgets %%'")
    for who in ("d401@forgets.example", "kept-d401@forgets.example"):
        world.rows("INSERT INTO waybill.audit (at, who, what, object) VALUES (now() - interval '401 days', 'p', 'suppress add', %s)",
                   f"suppression forgets {who}")
    world.rows("INSERT INTO waybill.audit (at, who, what, object) VALUES (now() - interval '401 days', 'p', 'login add', 'login forgets')")
    world.run("retention", "apply")

    def kept(table, column, like="%d%@forgets.example%"):
        return sorted(int(who.split("@")[0].rsplit("d", 1)[1]) for who, in world.rows(
            f"SELECT {column}::text FROM waybill.{table} WHERE {column}::text LIKE %s", like))

    assert kept("dead_letters", "event") == kept("unparsed", "sample") == [5, 12, 30]
    assert kept("annotations", "tag") == kept("unverified_reports", "report") == [5]
    assert kept("soft_failures", "recipient") == [5, 12]
    assert kept("suppressions", "recipient", "d%@forgets.example") == [5]
    assert kept("suppressions", "recipient", "kept-%@forgets.example") == [5, 12, 30, 50, 401]
    assert world.rows("SELECT object FROM waybill.audit WHERE object LIKE '%%forgets%%' AND at < now() - interval '400 days' ORDER BY 1") == [
        ("login forgets",), ("suppression forgets kept-d401@forgets.example",)]
    assert world.one("SELECT count(*) FROM waybill.events WHERE customer = %s AND type = 'suppression.deleted'", customer) == 0


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


def fill_corners(world, customer, address):
    """Puts an address everywhere it may come to stand, as strangers spell it."""
    told = address.upper()
    world.run("suppress", "add", customer, address, "--note", f"{address} called")
    world.run("suppress", "add", customer, f"friend-of-{customer}@else.example", "--note", f"({told})")
    world.run("customer", "set", customer, "--contact", address)
    world.rows("INSERT INTO waybill.dead_letters (source, error, event) VALUES ('s', 'bad', %s)", json.dumps({"to": f"line\n{told}"}))
    world.rows("INSERT INTO waybill.unparsed (source, template, why, lines, sample) VALUES ('s', %s, 'w', 1, %s)", customer, f"to=<{told}>")
    world.rows("INSERT INTO waybill.annotations VALUES (%s, 'QA', now(), %s, %s)", customer, f"for {address}",
               json.dumps({"for": told, "deep": [{told: f"a\n{address}, b"}, 1, None, {}]}))
    world.rows("INSERT INTO waybill.annotations VALUES (%s, 'QS', now(), NULL, NULL, %s)", customer, told)
    world.rows("INSERT INTO waybill.unverified_reports (customer, why, kind, report) VALUES (%s, 'no token', 'bounce', %s)",
               customer, json.dumps({"recipient": told}))
    world.rows("INSERT INTO waybill.endpoints (customer, endpoint, url, format, sealed_secret) VALUES (%s, 'ep_aaaaaaaaaaaaaaaa', 'https://x', 'waybill', '')",
               customer)
    world.rows("INSERT INTO waybill.deliveries (customer, endpoint, event_id, occurred_at, state, started_at, answer) "
               "VALUES (%s, 'ep_aaaaaaaaaaaaaaaa', 'evt_answered', now(), 'delivered', now(), %s)", customer, f"took {told}.")
    world.rows("INSERT INTO waybill.earlier_attempts (customer, endpoint, event_id, attempt, started_at, duration_ms, answer) "
               "VALUES (%s, 'ep_aaaaaaaaaaaaaaaa', 'evt_answered', 1, now(), 1, %s)", customer, f"took {told}.")
    events = [world.event(customer, "bounced", "else@corners.example", at, queue_id="QA", **more) for at, more in (
        (datetime.now(timezone.utc), {}), (DAY, {"reason": f"host said: <{told}>: unknown"}), (DAY, {"response": f"550 '{told}' unknown"}),
        (DAY, {"detail": json.dumps({told: [told]})}), (DAY, {"sender": address}), (DAY, {"orig_recipient": address}))]
    world.record(*events, world.event(customer, "bounced", address, reason=f"<{told}>: no", **HARD))
    world.rows("INSERT INTO waybill.soft_failures (customer, recipient, host, queue_id, failed_at) VALUES (%s, %s, 'h', 'q', now())",
               customer, address)


CORNERS = {"event", "suppression", "soft failure", "contact", "unverified report", "dead letter", "unparsed line", "annotation",
           "webhook answer", "audit"}


def dump(world, customer):
    """All of the database that names a customer or nobody, as text."""
    tables = world.rows("SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND NOT relispartition "
                        "AND relnamespace = 'waybill'::regnamespace AND relname NOT IN ('changes', 'log_positions') ORDER BY 1")
    return "\n".join(f"{name}: {world.one(f'SELECT coalesce(string_agg(t::text, chr(10)), %s) FROM waybill.{name} t', '')}"
                     for name, in tables)


def test_gdpr_reaches_every_corner(world):
    """What could not be stored or parsed, what applications, servers and endpoints said, and who suppressed the address; of
    nobody else, however alike the address is."""
    customer, address = world.customer("corners"), "ed@dest.corners.example"
    others = ["fred@dest.corners.example", "ed@dest.corners.example.org", "ed+x@dest.corners.example", "o'ed@dest.corners.example"]
    fill_corners(world, customer, address)
    for i, other in enumerate(others):
        fill_corners(world, world.customer(f"other{i}"), other)
    rows = [json.loads(line) for line in world.run("gdpr", "export", address, "--json").splitlines()]
    assert {row["kind"] for row in rows} == CORNERS and {row["customer"] for row in rows} <= {None, customer}
    assert sum(row["kind"] == "event" and row["row"].count("message.bounced") for row in rows) == 7, "one for each way to stand there"
    before = {other: dump(world, customer).lower().count(other) for other in others}
    told = json.loads(world.run("gdpr", "erase", address, "--yes", "--json"))
    assert told["suppressions"] == 1 and told["events"] >= 7 and told["others"] >= 10
    assert world.run("gdpr", "export", address, "--json") == ""
    left = dump(world, customer).lower()
    assert {other: left.count(other) for other in others} == before
    for other in others:
        left = left.replace(other, "")
    assert address not in left, [line for line in left.splitlines() if address in line]
    assert world.one("SELECT metadata FROM waybill.annotations WHERE customer = %s AND queue_id = 'QA'", customer) == {
        "for": "erased@invalid", "deep": [{"erased@invalid": "a\nerased@invalid, b"}, 1, None, {}]}
    assert world.one("SELECT metadata ->> 'for' FROM waybill.events WHERE customer = %s AND metadata IS NOT NULL", customer) == "erased@invalid"


def test_gdpr_takes_an_address_as_it_is_typed_too(world):
    customer = world.customer("umlaut")
    world.record(world.event(customer, "bounced", "jo@xn--bcher-kva.example", reason="<jo@b\u00fccher.example>: no", **HARD))
    assert "xn--bcher" in world.run("trace", "jo@b\u00fccher.example", "--json")
    assert "xn--bcher" in world.run("gdpr", "export", "jo@b\u00fccher.example", "--json")
    world.run("gdpr", "erase", "jo@b\u00fccher.example", "--yes")
    assert world.rows("SELECT recipient, reason FROM waybill.events WHERE customer = %s AND type = 'message.bounced'", customer) == [
        ("erased@invalid", "<erased@invalid>: no")]


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
        fill_corners(world, customer, f"corner@{customer}.example")
        world.rows("INSERT INTO waybill.limits (id, scope, customer, unit, spec) VALUES (%s, 'customer', %s, 'messages', '10/hour')", customer, customer)
        world.rows("INSERT INTO waybill.notices (customer, endpoint, type, reason, failures) VALUES (%s, 'ep_aaaaaaaaaaaaaaaa', 't', 'r', 1)", customer)
        world.rows("INSERT INTO waybill.domain_checks VALUES (%s, 'spf', 'good', '')", f"{customer}.example")
    world.rows("INSERT INTO waybill.limits (id, scope, unit, spec) VALUES ('all', 'relay', 'messages', '10/hour')")
    world.rows("INSERT INTO waybill.dead_domains (domain, reason, expires_at) VALUES ('dead.example', 'manual', 'infinity')")
    world.rows("INSERT INTO waybill.brakes VALUES ('some', now(), now(), 1, 1) ON CONFLICT DO NOTHING")
    world.rows("INSERT INTO waybill.log_positions (source) VALUES ('mx1 /var/log/mail.log') ON CONFLICT DO NOTHING")
    for role, customers in ROLES.items():
        if role != "waybill_support":
            world.rows(f"DO $$ BEGIN CREATE ROLE {role} LOGIN IN ROLE waybill_support; EXCEPTION WHEN duplicate_object THEN NULL; END $$")
        if customers and role != "waybill_support":
            world.rows("INSERT INTO waybill.staff VALUES (%s, %s) ON CONFLICT DO NOTHING", role, list(customers))
    return world


WHOSE = {"domain_checks"}  # views without a customer whose rows are somebody's nevertheless
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
                    everybodys = {c for c, in staff.rows(f"SELECT DISTINCT customer FROM support.{view}")}
                    assert {"acme", "globex"} <= everybodys, f"the fixture has no rows for both in {view}"
                    assert {row[columns.index("customer")] for row in rows} == sees, view
                else:
                    assert total, f"the fixture has no rows in {view}"
                    assert all("globex" not in str(row) for row in rows), view
                    assert bool(rows) == (view in WHOSE and bool(sees)), view
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


@pytest.mark.parametrize("role,statements", {
    "waybill_bouncer": ("SELECT * FROM waybill.suppressions", "INSERT INTO waybill.suppressions VALUES ('a', 'b', 'manual')",
                        "INSERT INTO waybill.deliveries (customer, endpoint, event_id, occurred_at) VALUES ('a', 'e', 'v', now())",
                        "SELECT status FROM waybill.endpoints", "UPDATE waybill.logins SET last_used_at = now()",
                        "INSERT INTO waybill.events (customer) VALUES ('a')"),
    "waybill_report": ("SELECT * FROM waybill.suppressions", "DELETE FROM waybill.suppressions", "SELECT status FROM waybill.endpoints",
                       "SELECT waybill.prune_events()")}.items())
def test_daemons_can_do_what_they_do(world, role, statements):
    connection = psycopg2.connect(user=role)
    try:
        for statement in statements:
            with pytest.raises(psycopg2.errors.InsufficientPrivilege), connection, connection.cursor() as cursor:
                cursor.execute(statement)
    finally:
        connection.close()


def test_the_bouncers_role_stores_and_suppresses(world):
    """With nothing but its functions: events, deliveries, suppressions, the last use of a login."""
    customer, own = world.customer("door"), world.db
    world.rows("INSERT INTO waybill.endpoints (customer, endpoint, url, format, sealed_secret) VALUES "
               "(%s, 'ep_bbbbbbbbbbbbbbbb', 'https://x', 'waybill', '')", customer)
    world.db = psycopg2.connect(user="waybill_bouncer")
    world.db.autocommit = True
    try:
        assert world.record(world.event(customer, "bounced", "x@door.example", **HARD)) == 1
    finally:
        world.db.close()
        world.db = own
    assert world.suppression(customer, "x@door.example")
    assert world.one("SELECT count(*) FROM waybill.deliveries WHERE customer = %s", customer) == 2
    assert world.one("SELECT last_used_at IS NOT NULL FROM waybill.logins WHERE login = %s", f"app@{customer}")


def test_a_paused_endpoint_is_owed_what_dns_says(world):
    customer = world.customer("paused")
    for i, status in enumerate(("active", "paused", "disabled")):
        world.rows("INSERT INTO waybill.endpoints (customer, endpoint, url, format, sealed_secret, status) VALUES "
                   "(%s, %s, 'https://x', 'waybill', '', %s)", customer, f"ep_{'abc'[i] * 16}", status)
    world.rows("SELECT waybill.record_own_event(%s, 'domain.dns_broken', 'evt_paused', 'h', '{}')", customer)
    assert world.rows("SELECT endpoint FROM waybill.deliveries WHERE customer = %s ORDER BY 1", customer) == [
        ("ep_aaaaaaaaaaaaaaaa",), ("ep_bbbbbbbbbbbbbbbb",)]


@pytest.mark.parametrize("role", ROLES)
def test_no_secret_and_no_table(staff, role):
    connection = psycopg2.connect(user=role)
    try:
        for statement in ("SELECT password_hash FROM waybill.logins", "SELECT sealed FROM waybill.dkim_keys",
                          "SELECT sealed_secret FROM waybill.endpoints", "DELETE FROM waybill.events",
                          "INSERT INTO waybill.staff VALUES (session_user, '{*}')", "UPDATE waybill.suppressions SET note = ''",
                          "SELECT waybill.erase_address('{a}', true)", "SELECT * FROM waybill.find_address('{a}')", "SELECT * FROM waybill.staff"):
            with pytest.raises(psycopg2.errors.InsufficientPrivilege), connection, connection.cursor() as cursor:
                cursor.execute(statement)
    finally:
        connection.close()
