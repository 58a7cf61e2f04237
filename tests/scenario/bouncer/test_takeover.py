"""What the bouncer does for the takeover guard: bounces of unknown mailboxes as counters in Redis, suspensions in Postgres."""

import datetime
import json
import signal

import psycopg2
import pytest

from tests.stack.redis_server import Redis

from .test_follow import wait_until

GONE = "host mx.ex.net[203.0.113.9] said: 550 5.1.1 <x@ex.net>: no such user (in reply to RCPT TO command)"
FULL = "host mx.ex.net[203.0.113.9] said: 452 4.2.2 mailbox full (in reply to RCPT TO command)"


@pytest.fixture
def redis(bench):
    server = Redis(bench.home, bench.processes)
    server.start()
    bench.conf.write_text(bench.conf.read_text() + f"[redis]\nsocket = {server.socket}\n")
    return server


def ago(lines, **how_long):
    """The lines as if they were written that long ago."""
    stamp = (datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(**how_long)).isoformat()
    return [f"{stamp} {line.partition(' ')[2]}" for line in lines]


def bounce(bench, count, text=GONE, dsn="5.1.1", **how_long):
    for _ in range(count):
        bench.log.write(ago(bench.log.message("bounced", text, dsn), **how_long))


def counted(redis):
    value = redis.client().get("wb:{acme}:t:acme-app:b")
    return value and int(value.split()[1])


def test_unknown_mailboxes_are_counted_for_the_login(bench, redis):
    bench.bouncer()
    bounce(bench, 7)
    bounce(bench, 3, FULL, "4.2.2")
    bounce(bench, 2, hours=3)  # read late: no burst of today
    bench.log.write(ago(bench.log.message(), seconds=0))
    assert wait_until(lambda: counted(redis) == 7), counted(redis)
    assert 0 < redis.client().ttl("wb:{acme}:t:acme-app:b") <= 3 * 3600
    assert bench.one("SELECT count(*) FROM waybill.events WHERE type = 'message.bounced'") == [12]
    # Messages from before the guard began anew, and the first one after it.
    bench.postgres.execute("UPDATE waybill.logins SET guard_since = now() - interval '1 minute'")
    bounce(bench, 5, minutes=10)
    bounce(bench, 1)
    assert wait_until(lambda: counted(redis) == 8), counted(redis)


def test_without_redis_the_log_is_read_on(bench, redis):
    redis.stop()
    bench.bouncer()
    bounce(bench, 20)
    assert wait_until(lambda: bench.one("SELECT count(*) FROM waybill.events WHERE type = 'message.bounced'") == [20])
    redis.start()

    def counts_again():
        bounce(bench, 1)
        return counted(redis)

    assert wait_until(counts_again)


def told(bench):
    """As support sees it."""
    [row] = bench.postgres.execute("SELECT l.login, suspended_at IS NOT NULL AS suspended, suspended_reason FROM support.logins l "
                                   "JOIN support.customers c USING (customer) WHERE c.takeover = 'alert'", user="waybill_support")
    return list(row.values())


def test_a_suspension_is_stored_with_its_event(bench):
    spool = bench.home / "spool"
    spool.mkdir()
    head = {"time": "2026-11-20T10:00:00Z", "host": "mx1", "customer": "acme", "login": "acme-app", "queue_id": "4F1C2A"}

    def say(kind, **record):
        with open(spool / "policyd.jsonl", "a", encoding="ascii") as file:
            file.write(json.dumps({"type": kind, **head, **record}, separators=(",", ":")) + "\n")

    events = "SELECT string_agg(type, ' ' ORDER BY seq) FROM support.events WHERE type ~ '^credential'"
    say("credential.suspected", action="alert", reason="score 90", since=0)
    bench.bouncer()
    assert wait_until(lambda: bench.one(events) == ["credential.suspected"]), bench.one(events)
    assert told(bench) == ["acme-app", False, ""]
    say("credential.suspended", action="suspend", reason="score 100 of 80", since=0)
    assert wait_until(lambda: told(bench) == ["acme-app", True, "score 100 of 80"]), told(bench)
    assert bench.one("SELECT count(*) FROM waybill.changes WHERE kind = 'login' AND key = 'acme-app'")[0] >= 2
    assert bench.one("SELECT what, who FROM support.audit WHERE object = 'login acme-app' ORDER BY id DESC LIMIT 1") == [
        "takeover guard", "waybill_bouncer"]
    # Lifted: the spool read again, and a decision over forgotten facts, change nothing.
    bench.end(signal.SIGKILL)
    bench.postgres.execute("UPDATE waybill.logins SET suspended_at = NULL, suspended_reason = '', guard_since = now()")
    bench.postgres.execute("DELETE FROM waybill.log_positions WHERE source ~ 'policyd'")
    say("credential.suspended", action="suspend", reason="too late", since=0)
    bench.bouncer()
    assert wait_until(lambda: bench.one(events) == ["credential.suspected credential.suspended credential.suspended"])
    assert told(bench) == ["acme-app", False, ""]
    with psycopg2.connect(bench.postgres.conninfo("waybill_bouncer")) as connection, connection.cursor() as cursor:
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):  # but through its event
            cursor.execute("UPDATE waybill.logins SET suspended_at = now()")
