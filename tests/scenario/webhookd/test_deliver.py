"""What becomes of a delivery: posted, signed, retried, recorded, by what the endpoint answers."""

import base64
import hashlib
import hmac
import json
import time

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import load_der_public_key

from tests.stack.verifier import PythonVerifier, choose

from .test_endpoint_commands import waybill  # noqa: F401


def ladder(attempt):
    """Seconds before attempt number ATTEMPT, as documented."""
    minute, hour = 60, 3600
    return [0, 5, 5 * minute, 30 * minute, 2 * hour, 5 * hour, 10 * hour, 14 * hour, 20 * hour, 24 * hour][attempt - 1]


def outcome(relay, endpoint, event_id, attempts=1):
    return relay.until("the attempt's record", lambda: len(relay.attempts(endpoint, event_id)) >= attempts and
                       relay.delivery(endpoint, event_id))


def test_signed_and_delivered(relay):
    server = relay.server()
    endpoint, secret = relay.endpoint(server.url("ok", "signed"))
    relay.run()
    event_id = relay.event(endpoint, sender="billing@acme.example", smtp_code=250, enhanced_code="2.0.0", delay_total=1.5,
                           response='250 ok "quoted" \\ \u00e9\n')
    assert outcome(relay, endpoint, event_id)["state"] == "delivered"
    post, = server.posts("signed")
    assert post.headers["content-type"] == "application/json"
    assert post.headers["webhook-id"] == event_id
    for verifier in PythonVerifier(), choose():
        fields = {name: post.headers[f"webhook-{name}"] for name in ("id", "timestamp", "signature")}
        assert verifier.verify(body=post.body, secret=secret, **fields) is None
        assert verifier.verify(body=post.body + b" ", secret=secret, **fields) is not None
    body = json.loads(post.body)
    assert (body["type"], body["timestamp"]) == ("message.delivered", "2026-11-21T01:15:09.123456Z")
    data = body["data"]
    assert data["event_id"] == event_id and data["customer"] == "acme" and data["schema"] == 1
    assert data["smtp"] == {"code": 250, "enhanced_code": "2.0.0", "remote_enhanced_code": None, "stage": None,
                            "response": '250 ok "quoted" \\ \u00e9\n'}
    assert data["delays"]["total"] == 1.5 and data["bounce"] is None
    attempt, = relay.attempts(endpoint, event_id)
    assert (attempt["status"], attempt["error"], attempt["answer"]) == (200, None, '{"ok":true}')


@pytest.mark.parametrize("behaviour, status, error", [
    ("status/500", 500, None), ("status/400", 400, None), ("status/301", 301, None),
    ("hang", None, "timed out|Timeout"), ("trickle", None, "timed out|Timeout"), ("headers", None, "longer than 16 KiB"),
    ("break", None, "transfer closed|unexpected eof|end of response"),
])
def test_failure_is_tried_again(relay, behaviour, status, error):
    server = relay.server()
    endpoint, _ = relay.endpoint(server.url(behaviour, "failing"))
    relay.run()
    event_id = relay.event(endpoint)
    delivery = outcome(relay, endpoint, event_id)
    attempt = relay.attempts(endpoint, event_id)[0]
    assert (delivery["state"], attempt["status"]) == ("due", status)
    assert 0 < delivery["due_in"] <= ladder(2) * 1.2
    if error:
        assert any(part.lower() in attempt["error"].lower() for part in error.split("|")), attempt["error"]
    else:
        assert attempt["answer"] == f"status  \ufffd {status}"  # what Postgres or UTF-8 cannot hold is replaced
    # The second try carries the same body and id, and succeeds when the endpoint has recovered.
    server.answer["failing"] = "ok"
    relay.due_now(endpoint)
    assert outcome(relay, endpoint, event_id, 2)["state"] == "delivered"
    first, second = server.posts("failing")[:2]
    assert (first.body, first.headers["webhook-id"]) == (second.body, second.headers["webhook-id"])


@pytest.mark.parametrize("behaviour", ["endless", "compressed"])
def test_long_answers_are_cut(relay, behaviour):
    server = relay.server()
    endpoint, _ = relay.endpoint(server.url(behaviour, "long"))
    relay.run()
    event_id = relay.event(endpoint)
    assert outcome(relay, endpoint, event_id)["state"] == "delivered"
    answer = relay.attempts(endpoint, event_id)[0]["answer"]
    assert len(answer) <= 1024
    assert "\0" not in answer and (behaviour == "endless") == (set(answer) == {"e"})


def test_redirect_is_not_followed(relay):
    target, server = relay.server(), relay.server()
    endpoint, _ = relay.endpoint(server.url(f"redirect/{target.port}", "moved"))
    relay.run()
    event_id = relay.event(endpoint)
    assert outcome(relay, endpoint, event_id)["state"] == "due"
    assert relay.attempts(endpoint, event_id)[0]["status"] == 302
    assert target.posts("redirected") == []


def test_gone_disables(relay, waybill):  # noqa: F811
    server = relay.server()
    endpoint, _ = relay.endpoint(server.url("status/410", "gone"))
    relay.run()
    first = relay.event(endpoint)
    outcome(relay, endpoint, first)
    row = relay.until("the endpoint is disabled", lambda: relay.endpoint_row(endpoint)["status"] == "disabled" and
                      relay.endpoint_row(endpoint))
    assert "410" in row["status_reason"]
    waiting = relay.event(endpoint)
    other, _ = relay.endpoint(server.url("ok", "alive"), events=["message.delivered"])
    relay.event(other)
    relay.until("another endpoint's event arrives", lambda: server.posts("alive"))
    assert len(server.posts("gone")) == 1
    # What happens now is not owed to it. Resumed, it gets what it was owed, and is told how to have the rest.
    before = relay.sql("SELECT now() AS t")[0]["t"]
    relay.sql("SELECT waybill.tell('acme', 'suppression.created', 'a@x.example', '{}')")
    relay.sql("SELECT waybill.tell('acme', 'suppression.deleted', 'a@x.example', '{}')")
    [meanwhile, _] = [row["event_id"] for row in relay.sql(
        "SELECT event_id FROM waybill.events WHERE occurred_at > %s ORDER BY occurred_at", before)]
    assert relay.sql("SELECT FROM waybill.deliveries WHERE endpoint = %s AND event_id = %s", endpoint, meanwhile) == []
    server.answer["gone"] = "ok"
    [resumed] = waybill("endpoint", "resume", endpoint)
    assert resumed["not_owed"] == 2
    relay.due_now(endpoint)
    relay.until("what it was owed arrives", lambda: {p.headers["webhook-id"] for p in server.posts("gone")} == {first, waiting} and
                all(relay.delivery(endpoint, e)["state"] == "delivered" for e in (first, waiting)))
    program, *words = resumed["to_have_them"].split()
    assert program == "waybill" and int(waybill(*words)[0]["replayed"]) >= 2
    relay.until("and the rest", lambda: relay.sql(
        "SELECT count(*) AS n FROM waybill.deliveries JOIN waybill.events USING (customer, event_id)"
        " WHERE endpoint = %s AND type LIKE 'suppression.%%' AND state = 'delivered'", endpoint)[0]["n"] == 2)
    assert waybill("endpoint", "resume", endpoint) == []


def test_retry_after_pauses_the_endpoint(relay):
    server = relay.server()
    endpoint, _ = relay.endpoint(server.url("retry-after/3600", "busy"))
    relay.run()
    event_id = relay.event(endpoint)
    delivery = outcome(relay, endpoint, event_id)
    assert 3500 < delivery["due_in"] <= 3600
    assert 3500 < relay.endpoint_row(endpoint)["retry_in"] <= 3600
    second = relay.event(endpoint)
    other, _ = relay.endpoint(server.url("ok", "idle"))
    relay.event(other)
    relay.until("another endpoint's event arrives", lambda: server.posts("idle"))
    assert relay.attempts(endpoint, second) == [] and len(server.posts("busy")) == 1


def test_ladder_to_exhaustion_and_replay(relay):
    server = relay.server()
    endpoint, _ = relay.endpoint(server.url("status/503", "down"))
    relay.run()
    event_id = relay.event(endpoint)
    for attempt in range(1, 10):
        delivery = outcome(relay, endpoint, event_id, attempt)
        assert (delivery["state"], delivery["attempts"]) == ("due", attempt)
        wait = ladder(attempt + 1)
        assert wait - 30 < delivery["due_in"] <= wait * 1.2
        relay.due_now(endpoint)
    delivery = outcome(relay, endpoint, event_id, 10)
    assert delivery["state"] == "exhausted" and delivery["finished_at"]
    assert len(server.posts("down")) == 10
    assert len({post.body for post in server.posts("down")}) == 1
    assert [row["attempt"] for row in relay.attempts(endpoint, event_id)] == list(range(1, 11))


def test_breaker_probes(relay):
    server = relay.server()
    endpoint, _ = relay.endpoint(server.url("status/500", "broken"))
    for _ in range(200):
        event_id = relay.event(endpoint, notify=False)
    relay.run()
    relay.event(endpoint)
    row = relay.until("the breaker opens", lambda: (relay.endpoint_row(endpoint)["retry_in"] or 0) > 0 and
                      relay.endpoint_row(endpoint))
    assert row["failures"] >= 5 and row["failing_since"]
    time.sleep(2)  # what is under way ends, polls pass
    tried = len(server.posts("broken"))
    assert tried < 60  # of 201
    relay.sql("UPDATE waybill.endpoints SET retry_at = now() WHERE endpoint = %s", endpoint)
    relay.until("one probe", lambda: len(server.posts("broken")) == tried + 1)
    relay.until("its record", lambda: relay.endpoint_row(endpoint)["retry_in"] > 0)
    server.answer["broken"] = "ok"
    relay.sql("UPDATE waybill.endpoints SET retry_at = now() WHERE endpoint = %s", endpoint)
    relay.until("the backlog is delivered after a good probe", lambda: relay.sql(
        "SELECT count(*) AS n FROM waybill.deliveries WHERE endpoint = %s AND attempts = 0", endpoint)[0]["n"] == 0)
    assert relay.endpoint_row(endpoint)["failures"] == 0


def test_two_secrets_while_rotating(relay):
    server = relay.server()
    old = "whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    endpoint, secret = relay.endpoint(server.url("ok", "rotating"), previous=old, previous_until="2099-01-01")
    expired, secret2 = relay.endpoint(server.url("ok", "rotated"), previous=old, previous_until="2000-01-01")
    relay.run()
    relay.event(endpoint, expired)
    for name, current, both in ("rotating", secret, True), ("rotated", secret2, False):
        post = relay.until("the event arrives", lambda: server.posts(name))[0]
        fields = {key: post.headers[f"webhook-{key}"] for key in ("id", "timestamp", "signature")}
        assert PythonVerifier().verify(body=post.body, secret=current, **fields) is None
        assert (PythonVerifier().verify(body=post.body, secret=old, **fields) is None) == both


def test_v1a_of_both_secrets_while_rotating(relay, waybill):  # noqa: F811
    server = relay.server()
    [added] = waybill("endpoint", "add", "acme", server.url("ok", "rotating-v1a"), "--v1a", "yes")
    endpoint = added["endpoint"]
    [old] = waybill("endpoint", "public-key", endpoint)
    waybill("endpoint", "rotate-secret", endpoint)
    [new] = waybill("endpoint", "public-key", endpoint)
    relay.run()
    relay.event(endpoint)
    post = relay.until("the event arrives", lambda: server.posts("rotating-v1a"))[0]
    signatures = [one for one in post.headers["webhook-signature"].split() if one.startswith("v1a,")]
    message = f"{post.headers['webhook-id']}.{post.headers['webhook-timestamp']}.".encode() + post.body
    assert len(signatures) == 2 and old["v1a"] != new["v1a"]
    for key, signature in zip((new, old), signatures):
        public = ed25519.Ed25519PublicKey.from_public_bytes(base64.b64decode(key["v1a"][len("whpk_"):]))
        public.verify(base64.b64decode(signature[len("v1a,"):]), message)


def sendgrid_key(post, keys):
    """Which of KEYS made the signature of SendGrid's."""
    signature = base64.b64decode(post.headers["x-twilio-email-event-webhook-signature"])
    message = post.headers["x-twilio-email-event-webhook-timestamp"].encode() + post.body
    for number, key in enumerate(keys):
        try:
            load_der_public_key(base64.b64decode(key["sendgrid"])).verify(signature, message, ec.ECDSA(hashes.SHA256()))
            return number
        except InvalidSignature:
            pass


def mailgun_key(post, keys):
    body = json.loads(post.body)["signature"]
    wanted = [hmac.new(key["secret"][len("whsec_"):].encode(), (body["timestamp"] + body["token"]).encode(),
                       hashlib.sha256).hexdigest() for key in keys]
    return wanted.index(body["signature"])


@pytest.mark.parametrize("format, key_of", [("sendgrid", sendgrid_key), ("mailgun", mailgun_key)])
def test_one_signature_is_the_old_ones_while_rotating(relay, waybill, format, key_of):  # noqa: F811
    server = relay.server()
    name = f"rotating-{format}"
    [added] = waybill("endpoint", "add", "acme", server.url("ok", name), "--format", format)
    endpoint = added["endpoint"]
    old = {**added, **waybill("endpoint", "public-key", endpoint)[0]}
    [rotated] = waybill("endpoint", "rotate-secret", endpoint)
    new = {**rotated, **waybill("endpoint", "public-key", endpoint)[0]}
    relay.run()
    relay.event(endpoint)
    post = relay.until("the event arrives", lambda: server.posts(name))[0]
    assert key_of(post, [old, new]) == 0
    relay.sql("UPDATE waybill.endpoints SET previous_until = now() WHERE endpoint = %s", endpoint)
    relay.event(endpoint)
    post = relay.until("the next one arrives", lambda: len(server.posts(name)) == 2 and server.posts(name))[1]
    assert key_of(post, [old, new]) == 1


def test_event_filter_of_another_customer_and_lost_event(relay):
    server = relay.server()
    endpoint, _ = relay.endpoint(server.url("ok", "lost"))
    relay.run()
    event_id = relay.event(notify=False)
    relay.sql("INSERT INTO waybill.deliveries (customer, endpoint, event_id, occurred_at)"
              " VALUES ('acme', %s, 'evt_gone', now())", endpoint)
    relay.sql("NOTIFY waybill_deliveries")
    relay.until("a delivery without its event is dropped",
                lambda: relay.delivery(endpoint, "evt_gone")["state"] == "dropped")
    assert server.posts("lost") == [] and relay.attempts(endpoint, "evt_gone") == []


def test_a_secret_that_does_not_open_costs_no_attempt(relay):
    server = relay.server()
    endpoint, _ = relay.endpoint(server.url("ok", "sealed"))
    relay.sql("UPDATE waybill.endpoints SET sealed_secret = '\\x01aabbccdd' WHERE endpoint = %s", endpoint)
    relay.run()
    event_id = relay.event(endpoint)
    relay.until("it waits", lambda: relay.delivery(endpoint, event_id)["due_in"] > 200)
    delivery = relay.delivery(endpoint, event_id)
    assert (delivery["state"], delivery["attempts"]) == ("due", 0)
    assert server.posts("sealed") == [] and f"endpoint={endpoint}" in relay.log()
