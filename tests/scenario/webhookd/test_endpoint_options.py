"""An endpoint's own header field and time limit."""

import pytest

from .test_endpoint_commands import waybill  # noqa: F401

TOKEN = "Authorization: Bearer 4f1c-secret"


def test_header(relay, waybill):  # noqa: F811
    server = relay.server()
    relay.run()
    [added] = waybill("endpoint", "add", "acme", server.url("ok", "headed"), "--header", TOKEN, "--format", "sendgrid")
    endpoint = added["endpoint"]
    waybill("endpoint", "test", endpoint)
    headers = server.posts("headed")[0].headers
    assert headers["authorization"] == "Bearer 4f1c-secret" and "x-twilio-email-event-webhook-signature" in headers
    row = relay.endpoint_row(endpoint)
    assert b"4f1c" not in bytes(row["sealed_header"])
    assert "4f1c" not in str(waybill("endpoint", "show", endpoint)) + str(relay.sql("SELECT * FROM waybill.audit"))
    assert relay.sql("SELECT DISTINCT c.key FROM waybill.audit, jsonb_each(coalesce(after, before)) c WHERE c.key ~ 'sealed'") == []
    assert "4f1c" not in relay.log()

    waybill("endpoint", "set", endpoint, "--header", "X-Api-Key: 2")
    waybill("endpoint", "test", endpoint)
    headers = server.posts("headed")[1].headers
    assert headers["x-api-key"] == "2" and "authorization" not in headers

    # Sealed for this endpoint and this purpose: moved elsewhere, it does not open, and nothing is sent without it.
    other, _ = relay.endpoint(server.url("ok", "stolen"))
    relay.sql("UPDATE waybill.endpoints o SET sealed_header = e.sealed_header FROM waybill.endpoints e"
              " WHERE o.endpoint = %s AND e.endpoint = %s", other, endpoint)
    event_id = relay.event(other)
    relay.until("it waits", lambda: relay.delivery(other, event_id)["due_in"] > 60)
    assert not server.posts("stolen")

    waybill("endpoint", "set", endpoint, "--header", "")
    waybill("endpoint", "test", endpoint)
    assert "x-api-key" not in server.posts("headed")[2].headers


@pytest.mark.parametrize("header", [
    "Host: inside.example", "Content-Length: 0", "content-type: x", "Webhook-Id: 1", "Transfer-Encoding: chunked",
    "Connection: close", "Proxy-Authorization: x", "X-Twilio-Email-Event-Webhook-Signature: x", "no colon", ": value",
    "Two words: x", "X: a\r\nY: b", "X: a\nY: b", "X: café", "X:", "X:   ", "X: " + "a" * 1022])
def test_header_that_is_refused(relay, waybill, header):  # noqa: F811
    said = waybill("endpoint", "add", "acme", "https://localhost/hook", "--header", header, status=65)
    assert "the header field" in said
    assert not relay.sql("SELECT 1 FROM waybill.endpoints WHERE url = 'https://localhost/hook'")


def test_timeout(relay, waybill):  # noqa: F811
    server = relay.server()
    patient = waybill("endpoint", "add", "acme", server.url("slow/2.5", "patient"), "--timeout", "30")[0]["endpoint"]
    usual, _ = relay.endpoint(server.url("slow/2.5", "usual"))
    relay.run()  # with a timeout of 1.5 s and a lease of 5 s
    event_id = relay.event(patient, usual)
    relay.until("the patient endpoint is waited for", lambda: relay.delivery(patient, event_id)["state"] == "delivered")
    first = relay.until("the other is given up", lambda: relay.attempts(usual, event_id))[0]
    assert first["status"] is None and "Timeout" in first["error"] or "timed out" in first["error"]
    assert waybill("endpoint", "show", patient)[0]["timeout"] in (30, "30")
    waybill("endpoint", "set", patient, "--timeout", "")
    assert relay.endpoint_row(patient)["timeout_s"] is None
    for wrong in "31", "0", "-1", "x", "5s":
        waybill("endpoint", "set", patient, f"--timeout={wrong}", status=65)
