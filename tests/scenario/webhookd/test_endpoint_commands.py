"""waybill endpoint …: what a sysadmin does with endpoints, and that webhookd follows."""

import json
import subprocess

import pytest

from tests.stack import told
from tests.stack.verifier import PythonVerifier


@pytest.fixture
def waybill(relay):
    """Runs the command line with --json; gives the rows, or the exit status and what was said."""
    conf = relay.home / "ctl.conf"
    conf.write_text(f"[ctl]\npostgres = {relay.postgres.conninfo('waybill_admin')}\nwebhook_key = {relay.home}/webhook.key\n")

    def run(*words, status=0):
        done = subprocess.run([relay.bin / "waybill", "-c", conf, *words, "--json"], capture_output=True, text=True)
        assert done.returncode == status, f"{words}: {done.returncode}\n{done.stdout}{done.stderr}"
        return [json.loads(line) for line in done.stdout.splitlines()] if status == 0 else done.stdout + done.stderr
    return run


def verified(post, secret):
    fields = {name: post.headers[f"webhook-{name}"] for name in ("id", "timestamp", "signature")}
    return PythonVerifier().verify(body=post.body, secret=secret, **fields) is None


def test_life_of_an_endpoint(relay, waybill):
    server = relay.server()
    relay.run()
    [added] = waybill("endpoint", "add", "acme", server.url("ok", "life"), "--events", "message.delivered,message.bounced")
    endpoint, first_secret = added["endpoint"], added["secret"]
    assert first_secret.startswith("whsec_")
    [tested] = waybill("endpoint", "test", endpoint)
    assert (tested["type"], str(tested["status"]), tested["state"]) == ("webhook.test", "200", "delivered")
    post = server.posts("life")[0]
    assert verified(post, first_secret)
    assert json.loads(post.body)["type"] == "webhook.test"
    assert json.loads(post.body)["data"]["detail"] == {"endpoint": endpoint}

    [rotated] = waybill("endpoint", "rotate-secret", endpoint)
    waybill("endpoint", "test", endpoint)
    post = server.posts("life")[1]
    assert verified(post, first_secret) and verified(post, rotated["secret"]) and rotated["secret"] != first_secret
    waybill("endpoint", "rotate-secret", endpoint, "--keep", "0 seconds")
    waybill("endpoint", "test", endpoint)
    assert not verified(server.posts("life")[2], rotated["secret"])

    waybill("endpoint", "pause", endpoint, "--reason", "maintenance")
    event_id = relay.event(endpoint)
    [shown] = waybill("endpoint", "show", endpoint)
    assert (shown["status"], shown["status_reason"], str(shown["due"])) == ("paused", "maintenance", "1")
    assert len(server.posts("life")) == 3
    waybill("endpoint", "resume", endpoint)
    relay.until("what was held back arrives", lambda: len(server.posts("life")) == 4)
    assert server.posts("life")[3].headers["webhook-id"] == event_id

    waybill("endpoint", "set", endpoint, "--url", server.url("status/500", "moved"), "--events", "")
    assert waybill("endpoint", "list", "--customer", "acme")[-1]["events"] in ("{}", [])
    waybill("endpoint", "test", endpoint, status=1)
    log = waybill("endpoint", "log", endpoint)
    assert [str(row["status"]) for row in log] == ["500", "200", "200", "200", "200"]
    [failed] = waybill("endpoint", "log", endpoint, "--failed")
    assert str(failed["status"]) == "500"

    waybill("endpoint", "remove", endpoint, status=64)
    waybill("endpoint", "remove", endpoint, "--yes")
    assert "no endpoint" in waybill("endpoint", "show", endpoint, status=67)
    assert relay.sql("SELECT count(*) AS n FROM waybill.deliveries WHERE endpoint = %s", endpoint)[0]["n"] == 0
    assert relay.sql("SELECT count(*) AS n FROM support.attempts WHERE endpoint = %s", endpoint)[0]["n"] == 0
    audit = [row["what"] for row in relay.sql("SELECT what FROM waybill.audit WHERE object LIKE %s ORDER BY id",
                                              f"endpoint acme {endpoint}")]
    assert len(audit) == 7, audit  # add, 2 x rotate, pause, resume, set, remove
    kept = str(relay.sql("SELECT before, after FROM waybill.audit"))
    assert "sealed_secret" not in kept and "whsec_" not in kept


def test_replay(relay, waybill):
    server = relay.server()
    endpoint, _ = relay.endpoint(server.url("ok", "again"))
    relay.run()
    first, second = relay.event(endpoint), relay.event(endpoint)
    relay.until("both are delivered", lambda: all(relay.delivery(endpoint, e)["state"] == "delivered"
                                                  for e in (first, second)))
    [done] = waybill("endpoint", "replay", endpoint, first)
    assert str(done["replayed"]) == "1"
    relay.until("it is posted again", lambda: len(relay.attempts(endpoint, first)) == 2)
    assert [p.headers["webhook-id"] for p in server.posts("again")].count(first) == 2

    # An exhausted delivery begins the ladder anew, and keeps its attempts.
    relay.sql("UPDATE waybill.deliveries SET state = 'exhausted', attempts = 10 WHERE event_id = %s", second)
    server.answer["again"] = "status/500"
    [done] = waybill("endpoint", "replay", endpoint, "--failed")
    assert str(done["replayed"]) == "1"
    delivery = relay.until("it fails again", lambda: len(relay.attempts(endpoint, second)) == 2 and
                           relay.delivery(endpoint, second))
    assert (delivery["state"], delivery["attempts"]) == ("due", 11) and 0 < delivery["due_in"] <= 6

    # By time, what was never owed too, but not what the filter does not want.
    never, filtered = relay.event(), relay.event(type="message.accepted")
    server.answer["again"] = "ok"
    relay.sql("UPDATE waybill.endpoints SET retry_at = NULL, events = '{message.delivered}' WHERE endpoint = %s", endpoint)
    waybill("endpoint", "replay", endpoint, "--since", "2026-11-21 01:00Z", "--until", "2026-11-21 02:00Z")
    relay.until("it arrives", lambda: never in [p.headers["webhook-id"] for p in server.posts("again")])
    assert filtered not in [p.headers["webhook-id"] for p in server.posts("again")]
    assert "replay what" in waybill("endpoint", "replay", endpoint, status=64)


def test_replay_of_a_time_is_what_would_have_been_owed(relay, waybill):
    """Never the flood of deferrals, and no news of endpoints that was for others; what was owed is posted again."""
    endpoint, _ = relay.endpoint("https://localhost/x", status="paused")
    deferrals = {minutes: relay.event(type="message.deferred", queue_id="DEFERRED", bounce_category=category,
                                      occurred_at=f"2026-11-21 {3 + minutes // 60:02}:{minutes % 60:02}:00Z")
                 for minutes, category in ((0, "greylisted"), (10, "greylisted"), (20, "rate-limited"), (30, "greylisted"),
                                           (250, "greylisted"), (260, "greylisted"))}
    time = "2026-11-21 03:30:00Z"
    others, own = (relay.event(type="webhook.endpoint.failing", occurred_at=time) for _ in range(2))
    plain = relay.event(occurred_at=time)
    for event_id in own, deferrals[10]:
        relay.sql("INSERT INTO waybill.deliveries (customer, endpoint, event_id, occurred_at) SELECT customer, %s, event_id,"
                  " occurred_at FROM waybill.events WHERE event_id = %s", endpoint, event_id)
    [done] = waybill("endpoint", "replay", endpoint, "--since", "2026-11-21 03:00Z", "--until", "2026-11-21 10:00Z")
    owed = {row["event_id"] for row in relay.sql("SELECT event_id FROM waybill.deliveries WHERE endpoint = %s", endpoint)}
    assert owed == {own, plain, *(deferrals[minutes] for minutes in (0, 10, 20, 250))} and int(done["replayed"]) == len(owed)
    # By name, whatever they are.
    waybill("endpoint", "replay", endpoint, others, deferrals[260])
    assert relay.delivery(endpoint, others)["state"] == relay.delivery(endpoint, deferrals[260])["state"] == "due"


def test_a_replayed_delivery_is_young(relay, waybill):
    """It is neither forgotten in the middle of its attempts, nor a measure of haste."""
    server = relay.server()
    endpoint, _ = relay.endpoint(server.url("ok", "young"))
    relay.run()
    now = relay.sql("SELECT now() AS t")[0]["t"]
    event_id, late = (relay.event(endpoint, occurred_at=now) for _ in range(2))
    relay.until("they are delivered", lambda: all(relay.delivery(endpoint, e)["state"] == "delivered" for e in (event_id, late)))
    [before] = relay.sql("SELECT * FROM support.webhook_lag WHERE endpoint = %s", endpoint)
    for table in "deliveries", "events":
        column = "created_at" if table == "deliveries" else "recorded_at"
        relay.sql(f"UPDATE waybill.{table} SET {column} = now() - interval '29 days' WHERE event_id = %s", late)
    waybill("endpoint", "replay", endpoint, late)
    relay.until("it is posted again", lambda: len(relay.attempts(endpoint, late)) == 2 and
                relay.delivery(endpoint, late)["state"] == "delivered")
    relay.sql("SELECT waybill.prune_deliveries(interval '28 days')")
    assert relay.delivery(endpoint, late)
    [after] = relay.sql("SELECT * FROM support.webhook_lag WHERE endpoint = %s", endpoint)
    assert (before["events"], after["events"]) == (2, 2)
    assert after["posted_p99"] < 60 and after["delivered_p99"] < 60 and after["recorded_p99"] < 60


def test_set_is_all_or_nothing(relay, waybill):
    [added] = waybill("endpoint", "add", "acme", "https://acme.example/one")
    (relay.home / "webhook.key").rename(relay.home / "webhook.key.away")
    try:
        waybill("endpoint", "set", added["endpoint"], "--url", "https://acme.example/two", "--header", "A: b", status=78)
    finally:
        (relay.home / "webhook.key.away").rename(relay.home / "webhook.key")
    [shown] = waybill("endpoint", "show", added["endpoint"])
    assert shown["url"] == "https://acme.example/one" and not shown["header"]
    waybill("endpoint", "set", added["endpoint"], "--url", "https://acme.example/two", "--header", "A: b")
    [shown] = waybill("endpoint", "show", added["endpoint"])
    assert shown["url"] == "https://acme.example/two" and shown["header"]


def test_testing_waits_as_long_as_it_may_take(relay, waybill):
    """An endpoint with a patience of its own, whose events wait for company."""
    server = relay.server()
    [added] = waybill("endpoint", "add", "acme", server.url("slow/8", "slow-test"), "--timeout", "10", "--batch", "5",
                      "--batch-wait", "14")
    relay.run(lease="60s")
    [tested] = waybill("endpoint", "test", added["endpoint"])
    assert (tested["type"], str(tested["status"]), tested["state"]) == ("webhook.test", "200", "delivered")


@pytest.mark.parametrize("words, status, says", [
    (("add", "acme", "ftp://example.com/"), 65, "https"),
    (("add", "acme", "https://user:pw@example.com/"), 65, "user and password"),
    (("add", "acme", "https://2130706433/"), 65, "four decimal numbers"),
    (("add", "acme", "https://example.com/", "--events", "message.delivered,message.exploded"), 65, "message.exploded"),
    (("add", "acme", "https://example.com/", "--format", "xml"), 65, "xml"),
    (("add", "nobody", "https://example.com/"), 67, "nobody"),
    (("set", "ep_nothing", "--format", "waybill"), 67, "ep_nothing"),
    (("pause", "ep_nothing"), 67, "ep_nothing"), (("test", "ep_nothing"), 67, "ep_nothing"),
    (("rotate-secret", "ep_nothing"), 67, "ep_nothing"), (("log", "ep_nothing"), 67, "ep_nothing"),
])
def test_wrong_words(waybill, words, status, says):
    assert says in waybill("endpoint", *words, status=status)


def test_deferred_flood_and_paused(relay):
    """First deferral, each new category, one every four hours; another recipient is another matter."""
    active, _ = relay.endpoint("https://localhost/x")
    paused, _ = relay.endpoint("https://localhost/x", status="paused")
    disabled, _ = relay.endpoint("https://localhost/x", status="disabled")
    relay.sql("INSERT INTO waybill.logins (login, customer, password_hash) VALUES ('flood', 'acme', '') ON CONFLICT DO NOTHING")

    def deferral(event_id, time, category="greylisted", recipient="a@x.example", type="message.deferred"):
        return {"event_id": event_id, "type": type, "occurred_at": f"2026-11-21 {time}Z", "host": "mx1",
                "instance": "postfix", "queue_id": "FLOOD", "recipient": recipient, "sasl_username": "flood",
                "bounce_category": category}
    plays = [("owed", deferral("f1", "01:00")), ("kept", deferral("f2", "01:10")), ("kept", deferral("f3", "02:00")),
             ("owed", deferral("f4", "02:10", "rate-limited")), ("kept", deferral("f5", "02:20", "rate-limited")),
             ("owed", deferral("f6", "02:30", recipient="b@x.example")), ("owed", deferral("f7", "05:01")),
             ("kept", deferral("f8", "05:30")), ("owed", deferral("f9", "05:40", type="message.delivered"))]
    for _, event in plays:
        told.record(relay.sql, [event])
    together = [deferral("g1", "07:00", recipient="c@x.example"), deferral("g2", "07:05", recipient="c@x.example")]
    told.record(relay.sql, together)
    wanted = [event["event_id"] for fate, event in plays if fate == "owed"] + ["g1"]
    for endpoint, owed in (active, wanted), (paused, wanted), (disabled, []):
        got = relay.sql("SELECT event_id FROM waybill.deliveries WHERE endpoint = %s ORDER BY event_id", endpoint)
        assert [row["event_id"] for row in got] == owed
    assert relay.sql("SELECT count(*) AS n FROM waybill.events WHERE queue_id = 'FLOOD'")[0]["n"] == len(plays) + 2
