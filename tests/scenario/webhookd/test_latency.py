"""How long events take is measured: /metrics of webhookd, and waybill lag."""

import datetime
import http.client
import socket

from .test_endpoint_commands import waybill  # noqa: F401


class UnixConnection(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.host)


def now():
    return datetime.datetime.now(datetime.timezone.utc)


def metrics(path):
    """The samples at a unix socket, by name with labels."""
    connection = UnixConnection(str(path))
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if not line.startswith("#")}


def test_histograms_and_lag(relay, waybill):  # noqa: F811
    server = relay.server()
    endpoint, _ = relay.endpoint(server.url("ok", "measured"))
    broken, _ = relay.endpoint(server.url("status/500", "unmeasured"))
    relay.run(metrics=relay.home / "metrics")
    count = 5
    for _ in range(count):
        relay.event(endpoint, occurred_at=now())
    failing = relay.event(broken, occurred_at=now())
    relay.until("all is recorded", lambda: relay.sql(
        "SELECT count(*) AS n FROM support.attempts WHERE endpoint IN (%s, %s)", endpoint, broken)[0]["n"] == count + 1)
    seen = metrics(relay.home / "metrics")
    assert seen['waybill_webhookd_attempts_total{outcome="delivered"}'] == count
    assert seen['waybill_webhookd_attempts_total{outcome="again"}'] == 1
    for name, expected in ("recorded", count + 1), ("first_post", count + 1), ("delivered", count), ("post", count + 1):
        assert seen[f"waybill_webhookd_{name}_duration_seconds_count"] == expected, name
    assert 0 < seen["waybill_webhookd_delivered_duration_seconds_sum"] < 60 * count

    # Neither the second attempt nor what is owed long after it happened says anything about haste.
    relay.due_now(broken)
    relay.until("the second attempt", lambda: len(relay.attempts(broken, failing)) == 2)
    old = relay.event(occurred_at="2026-11-20", recorded_at="2026-11-20")
    waybill("endpoint", "replay", endpoint, old)
    relay.until("the replayed event arrives", lambda: relay.attempts(endpoint, old))
    seen = metrics(relay.home / "metrics")
    assert seen["waybill_webhookd_first_post_duration_seconds_count"] == count + 1
    assert seen["waybill_webhookd_delivered_duration_seconds_count"] == count

    rows = {row["endpoint"]: row for row in waybill("lag", "--customer", "acme") if "endpoint" in row}
    assert float(rows[endpoint]["events"]) == count + 1
    assert 0 <= float(rows[endpoint]["posted_p50"]) <= float(rows[endpoint]["delivered_p99"])
    assert not rows[broken]["delivered_p50"] and str(rows[broken]["due"]) == "1"
