"""An endpoint that speaks HTTP/2 is spoken to so: many POSTs on few connections."""

import json

import pytest

from .test_faults import delivered, many

pytest.importorskip("h2", reason="python3-h2 is not installed")
from .http2 import Http2  # noqa: E402


def test_http2(relay):
    server = Http2(relay.tls.chain)
    relay.servers.append(server)
    endpoint, _ = relay.endpoint(server.url("second"))
    owed = {row["event_id"] for row in many(relay, endpoint, 400)}
    relay.run()
    relay.until("all are delivered", lambda: delivered(relay, endpoint) == 400)
    assert {json.loads(body)["data"]["event_id"] for body in server.bodies} == owed and len(server.bodies) == 400
    assert len(server.streams) <= 16 and max(server.streams.values()) > 25
