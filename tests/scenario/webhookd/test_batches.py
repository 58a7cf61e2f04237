"""Several events in one POST: who is in a batch stays in it, with the same id and bytes, until it is done."""

import json

import pytest

from .test_endpoint_commands import verified, waybill  # noqa: F401
from .test_faults import delivered, ids, many


def add(waybill, server, behaviour, name, *options):  # noqa: F811
    [added] = waybill("endpoint", "add", "acme", server.url(behaviour, name), *options)
    return added["endpoint"], added["secret"]


def members(post):
    """The events of a native batch."""
    body = json.loads(post.body)
    assert body["type"] == "batch" and body["data"]["batch_id"] == post.headers["webhook-id"]
    assert body["data"]["schema"] == 1 and body["data"]["customer"] == "acme"
    assert body["data"]["count"] == len(body["data"]["events"])
    assert body["timestamp"] == body["data"]["events"][-1]["timestamp"]
    return [event["data"]["event_id"] for event in body["data"]["events"]]


def due_now(relay, endpoint):
    relay.sql("UPDATE waybill.deliveries SET due_at = now() - interval '5 minutes' WHERE endpoint = %s AND state = 'due'", endpoint)
    relay.due_now(endpoint)


def test_native_batches(relay, waybill):  # noqa: F811
    server = relay.server()
    endpoint, secret = add(waybill, server, "ok", "batches", "--batch", "40", "--batch-wait", "0")
    owed = [row["event_id"] for row in many(relay, endpoint, 100)]
    relay.run()
    relay.until("all are delivered", lambda: delivered(relay, endpoint) == 100)
    posts = sorted(server.posts("batches"), key=lambda post: -len(members(post)))  # two at a time, so in any order
    assert all(verified(post, secret) for post in posts)
    assert [len(members(post)) for post in posts] == [40, 40, 20]
    assert sorted(sum((members(post) for post in posts), [])) == sorted(owed)
    single = json.loads(posts[0].body)["data"]["events"][0]
    assert single["type"] == "message.delivered" and single["data"]["schema"] == 1  # as it would be alone
    # Each event has its attempt, and is found by its own id and by the batch's.
    assert len(waybill("endpoint", "log", endpoint, "--limit", "200")) == 100
    batch = posts[2].headers["webhook-id"]
    assert {row["event_id"] for row in waybill("endpoint", "log", endpoint, "--event", batch)} == set(members(posts[2]))
    [alone] = waybill("endpoint", "log", endpoint, "--event", owed[0])
    assert alone["batch"].startswith("bat_") and alone["state"] == "delivered"


def test_an_event_waits_for_company(relay, waybill):  # noqa: F811
    server = relay.server()
    endpoint, _ = add(waybill, server, "ok", "company", "--batch", "3", "--batch-wait", "300")
    relay.run()
    first = [relay.event(endpoint) for _ in range(2)]
    other, _ = relay.endpoint(server.url("ok", "nobody-waits"))
    relay.event(other)
    relay.until("others do not wait", lambda: server.posts("nobody-waits"))
    assert not server.posts("company")
    third = relay.event(endpoint)
    relay.until("a full batch goes", lambda: delivered(relay, endpoint) == 3)
    assert sorted(members(server.posts("company")[0])) == sorted([*first, third])
    last = relay.event(endpoint)
    relay.sql("UPDATE waybill.deliveries SET due_at = due_at - interval '301 s' WHERE event_id = %s", last)
    relay.until("who has waited long enough goes alone", lambda: delivered(relay, endpoint) == 4)
    assert members(server.posts("company")[1]) == [last]


def test_a_batch_stays_the_same(relay, waybill):  # noqa: F811
    """Through failures, a restart and an event that comes later; then its attempts, for each event."""
    server = relay.server()
    endpoint, secret = add(waybill, server, "status/500", "same", "--batch", "10", "--batch-wait", "0")
    owed = {row["event_id"] for row in many(relay, endpoint, 3)}
    relay.run()
    relay.until("the first attempt", lambda: len(relay.attempts(endpoint, min(owed))) == 1)
    relay.end()
    late = relay.event(endpoint, occurred_at="2026-11-20 00:00:00+00")
    waybill("endpoint", "set", endpoint, "--batch", "2")
    [change] = relay.sql("SELECT before, after FROM waybill.audit WHERE object LIKE %s AND before IS NOT NULL"
                         " AND before ->> 'batch_max' IS DISTINCT FROM after ->> 'batch_max'", f"%{endpoint}%")
    assert (change["before"]["batch_max"], change["after"]["batch_max"]) == (10, 2)
    relay.run()
    due_now(relay, endpoint)
    relay.until("the second attempt", lambda: len(relay.attempts(endpoint, min(owed))) == 2)
    server.answer["same"] = "ok"
    due_now(relay, endpoint)
    relay.until("all is delivered", lambda: delivered(relay, endpoint) == 4)
    old = [post for post in server.posts("same") if late not in post.body.decode()]
    assert len(old) == 3 and len({(post.headers["webhook-id"], post.body) for post in old}) == 1
    assert set(members(old[0])) == owed and all(verified(post, secret) for post in old)
    for event_id in owed:
        rows = relay.attempts(endpoint, event_id)
        assert [(row["attempt"], row["status"], row["batch"]) for row in rows] == \
            [(n, status, old[0].headers["webhook-id"]) for n, status in ((1, 500), (2, 500), (3, 200))]
    assert relay.endpoint_row(endpoint)["failures"] == 0


def test_failures_count_by_the_post(relay, waybill):  # noqa: F811
    """A batch that fails is one failure towards the breaker, not one for each event; gone is gone, and nothing is lost."""
    server = relay.server()
    endpoint, _ = add(waybill, server, "status/500", "counted", "--batch", "50", "--batch-wait", "0")
    many(relay, endpoint, 50)
    relay.run()
    relay.until("the attempt", lambda: relay.endpoint_row(endpoint)["failures"] == 1)
    assert relay.endpoint_row(endpoint)["retry_at"] is None
    server.answer["counted"] = "status/410"
    due_now(relay, endpoint)
    relay.until("it is disabled", lambda: relay.endpoint_row(endpoint)["status"] == "disabled")
    server.answer["counted"] = "ok"
    waybill("endpoint", "resume", endpoint)
    relay.until("what it was owed arrives", lambda: delivered(relay, endpoint) == 50)
    assert len({post.body for post in server.posts("counted")}) == 1


def test_exhausted_and_replayed(relay, waybill):  # noqa: F811
    server = relay.server()
    endpoint, _ = add(waybill, server, "status/500", "again", "--batch", "10", "--batch-wait", "0")
    owed = sorted(row["event_id"] for row in many(relay, endpoint, 4))
    relay.sql("UPDATE waybill.deliveries SET attempts = 9 WHERE endpoint = %s", endpoint)
    relay.run()
    relay.until("all are exhausted", lambda: relay.sql(
        "SELECT count(*) AS n FROM waybill.deliveries WHERE endpoint = %s AND state = 'exhausted'", endpoint)[0]["n"] == 4)
    server.answer["again"] = "ok"
    assert str(waybill("endpoint", "replay", endpoint, "--failed")[0]["replayed"]) == "4"
    relay.until("they arrive", lambda: delivered(relay, endpoint) == 4)
    first, second = server.posts("again")
    assert first.body == second.body and first.headers["webhook-id"] == second.headers["webhook-id"]
    # One of a batch alone, and then one of a batch that is still under way: the others lose nothing.
    waybill("endpoint", "replay", endpoint, owed[1])
    relay.until("one arrives again", lambda: len(server.posts("again")) == 3)
    assert members(server.posts("again")[2]) == [owed[1]]
    relay.until("it is recorded", lambda: len(relay.attempts(endpoint, owed[1])) == 3)
    server.answer["again"] = "status/500"
    new = sorted(row["event_id"] for row in many(relay, endpoint, 3))
    relay.sql("NOTIFY waybill_deliveries")
    relay.until("a batch fails", lambda: relay.attempts(endpoint, new[0]))
    server.answer["again"] = "ok"
    waybill("endpoint", "replay", endpoint, new[2])
    due_now(relay, endpoint)
    relay.until("all arrive", lambda: delivered(relay, endpoint) == 7)
    assert set(new) <= {event for post in server.posts("again")[4:] for event in members(post)}


def test_a_batch_whose_event_is_gone(relay, waybill):  # noqa: F811
    server = relay.server()
    endpoint, _ = add(waybill, server, "status/500", "gap", "--batch", "10", "--batch-wait", "0")
    owed = sorted(row["event_id"] for row in many(relay, endpoint, 3))
    relay.run()
    relay.until("the attempt", lambda: relay.attempts(endpoint, owed[0]))
    relay.sql("DELETE FROM waybill.events WHERE event_id = %s", owed[0])
    server.answer["gap"] = "ok"
    due_now(relay, endpoint)
    relay.until("the others arrive", lambda: delivered(relay, endpoint) == 2)
    relay.until("the one is given up", lambda: relay.delivery(endpoint, owed[0])["state"] == "dropped")
    first, second = server.posts("gap")
    assert sorted(members(second)) == owed[1:] and first.headers["webhook-id"] != second.headers["webhook-id"]


def test_a_batch_whose_first_row_is_forgotten(relay, waybill):  # noqa: F811
    """It alone knew the others: they go on by themselves."""
    server = relay.server()
    endpoint, _ = add(waybill, server, "status/500", "headless", "--batch", "10", "--batch-wait", "0")
    owed = sorted(row["event_id"] for row in many(relay, endpoint, 3))
    relay.run()
    relay.until("the attempt", lambda: relay.attempts(endpoint, owed[0]))
    relay.end()
    [lead] = relay.sql("UPDATE waybill.deliveries SET created_at = now() - interval '31 days' WHERE endpoint = %s"
                       " AND batch_members IS NOT NULL RETURNING event_id", endpoint)
    server.answer["headless"] = "ok"
    relay.run()
    relay.until("it is forgotten", lambda: relay.sql(
        "SELECT count(*) AS n FROM waybill.deliveries WHERE endpoint = %s", endpoint)[0]["n"] == 2)
    due_now(relay, endpoint)
    relay.until("the others arrive", lambda: delivered(relay, endpoint) == 2)
    assert sorted(members(server.posts("headless")[-1])) == [one for one in owed if one != lead["event_id"]]


def test_sendgrid_batches(relay, waybill):  # noqa: F811
    server = relay.server()
    endpoint, secret = add(waybill, server, "ok", "sendgrid-batch", "--format", "sendgrid", "--batch", "100", "--batch-wait", "0")
    owed = {row["event_id"] for row in many(relay, endpoint, 7)}
    relay.run()
    relay.until("all are delivered", lambda: delivered(relay, endpoint) == 7)
    [post] = server.posts("sendgrid-batch")
    body = json.loads(post.body)
    assert {event["sg_event_id"] for event in body} == owed and {event["event"] for event in body} == {"delivered"}
    assert verified(post, secret)
    # To a format without batches: refused while they are on; what was formed is posted singly.
    server.answer["sendgrid-batch"] = "status/500"
    new = [row["event_id"] for row in many(relay, endpoint, 2)]
    relay.sql("NOTIFY waybill_deliveries")
    relay.until("a batch fails", lambda: relay.attempts(endpoint, new[0]))
    assert "no batches" in waybill("endpoint", "set", endpoint, "--format", "mailgun", status=65)
    waybill("endpoint", "set", endpoint, "--format", "mailgun", "--batch", "1")
    server.answer["sendgrid-batch"] = "ok"
    due_now(relay, endpoint)
    relay.until("they arrive singly", lambda: delivered(relay, endpoint) == 9)
    assert {json.loads(post.body)["event-data"]["id"] for post in server.posts("sendgrid-batch")[-2:]} == set(new)


@pytest.mark.parametrize("words, says", [
    (("--batch", "0"), "from 1 to 1000"), (("--batch", "1001"), "from 1 to 1000"), (("--batch", "ten"), "from 1 to 1000"),
    (("--batch-wait", "301"), "from 0 to 300"), (("--batch-wait", ""), "from 0 to 300"),
    (("--format", "ses", "--batch", "2"), "no batches"), (("--format", "postmark", "--batch", "500"), "no batches"),
])
def test_wrong_options(relay, waybill, words, says):  # noqa: F811
    assert says in waybill("endpoint", "add", "acme", "https://acme.example/hook", *words, status=65)


def test_killed_between_attempts(relay, waybill):  # noqa: F811
    """With kill -9 under load nothing is missing, and an event never travels in two batches."""
    server = relay.server()
    endpoint, _ = add(waybill, server, "slow/0.02", "killed", "--batch", "20", "--batch-wait", "0")
    owed = {row["event_id"] for row in many(relay, endpoint, 2000)}
    settings = {"timeout": "500ms", "lease": "2s", "endpoint_concurrency": 2}
    for kill in range(3):
        relay.run(**settings)
        relay.until("it works", lambda: delivered(relay, endpoint) >= 200 * (kill + 1))
        relay.processes.stop("webhookd", 9)
    relay.run(**settings)
    relay.until("all are delivered", lambda: delivered(relay, endpoint) == 2000)
    posts = server.posts("killed")
    assert {event for post in posts for event in members(post)} == owed
    bodies = {post.headers["webhook-id"]: post.body for post in posts}
    assert all(bodies[post.headers["webhook-id"]] == post.body for post in posts)
    assert sum(len(members(post)) for post in {p.headers["webhook-id"]: p for p in posts}.values()) == 2000
    # Twice only what a kill left under way, two POSTs, and the few that were answered and not recorded yet.
    assert sum(ids(server, "killed").values()) - len(bodies) <= 3 * (2 + 8)


def test_two_instances(relay, waybill):  # noqa: F811
    """Nobody posts a batch that another one holds, and no event is in two."""
    server = relay.server()
    endpoints = [add(waybill, server, "slow/0.02", f"two{n}", "--batch", "20", "--batch-wait", "0")[0] for n in range(3)]
    for endpoint in endpoints:
        many(relay, endpoint, 600)
    relay.run("first", endpoint_held=40)
    relay.run("second", endpoint_held=40)
    relay.until("all are delivered", lambda: all(delivered(relay, endpoint) == 600 for endpoint in endpoints))
    for n in range(3):
        posts = server.posts(f"two{n}")
        assert set(ids(server, f"two{n}").values()) == {1}
        assert sum(len(members(post)) for post in posts) == len({event for post in posts for event in members(post)}) == 600
    for name in "first", "second":
        assert relay.log(name).count("status=delivered") > 5
