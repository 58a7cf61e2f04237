"""Nobody uses webhookd to reach inside a network."""

import pytest

from tests.stack.ports import free_port


@pytest.mark.parametrize("host, says", [
    ("127.0.0.1", "loopback"), ("localhost", "loopback"), ("127.1", "four decimal numbers"), ("[::1]", "loopback"),
    ("[::ffff:127.0.0.1]", "loopback"), ("0x7f000001", "four decimal numbers"), ("2130706433", "four decimal numbers"),
    ("user@localhost", "user and password"),
])
def test_inside_addresses_are_not_connected(relay, host, says):
    server = relay.server()
    endpoint, _ = relay.endpoint(server.url("ok", "inside", host))
    relay.run(allow_networks="10.0.0.0/8")
    event_id = relay.event(endpoint)
    attempt, = relay.until("the attempt's record", lambda: relay.attempts(endpoint, event_id))
    assert attempt["status"] is None and says in attempt["error"]
    assert server.posts("inside") == []
    assert relay.delivery(endpoint, event_id)["state"] == "due"


@pytest.mark.parametrize("settings, tls, says", [
    ({}, False, "plain http"), ({"ports": "443"}, True, "list of allowed ports"),
])
def test_http_and_ports(relay, settings, tls, says):
    server = relay.server(tls)
    endpoint, _ = relay.endpoint(server.url("ok", "refused"))
    relay.run(**settings)
    event_id = relay.event(endpoint)
    attempt, = relay.until("the attempt's record", lambda: relay.attempts(endpoint, event_id))
    assert says in attempt["error"] and server.posts("refused") == []


def test_http_where_allowed(relay):
    server = relay.server(tls=False)
    endpoint, _ = relay.endpoint(server.url("ok", "plain"))
    relay.run(allow_http="yes")
    relay.event(endpoint)
    relay.until("the event arrives", lambda: server.posts("plain"))


def test_certificates_are_verified(relay):
    server = relay.server()
    unknown, _ = relay.endpoint(server.url("ok", "unknown"))
    relay.run(ca_file="")
    event_id = relay.event(unknown)
    attempt, = relay.until("the attempt's record", lambda: relay.attempts(unknown, event_id))
    assert "certificate" in attempt["error"] and server.posts("unknown") == []


def test_name_of_the_certificate_is_verified(relay):
    server = relay.server(host="127.0.0.2")  # not in the certificate
    endpoint, _ = relay.endpoint(server.url("ok", "other", host="127.0.0.2"))
    relay.run()
    event_id = relay.event(endpoint)
    attempt, = relay.until("the attempt's record", lambda: relay.attempts(endpoint, event_id))
    assert "127.0.0.2" in attempt["error"] and server.posts("other") == []


def test_proxies_of_the_environment_are_not_used(relay):
    proxy, server = relay.server(tls=False), relay.server()
    relay.environment = {name: proxy.url("ok", "proxy") for name in ("http_proxy", "https_proxy", "ALL_PROXY")}
    endpoint, _ = relay.endpoint(server.url("ok", "direct"))
    relay.run()
    relay.event(endpoint)
    relay.until("the event arrives", lambda: server.posts("direct"))


@pytest.mark.parametrize("setting, value, says", [
    ("ports", "443, 70000", '"70000"'), ("allow_networks", "10.0.0.1/8", '"10.0.0.1/8"'), ("lease", "2s", "lease"),
    ("webhook_key", "/nonexistent/webhook.key", "/nonexistent/webhook.key"), ("timeout", "1h", "timeout"),
])
def test_wrong_settings_end_with_one_line(relay, setting, value, says):
    relay.run(wait=False, **{setting: value})
    relay.until("it ends", lambda: relay.processes.status("webhookd") is not None)
    assert relay.processes.status("webhookd") == 78
    lines = [line for line in relay.log().splitlines() if "stopped: status=78" not in line]
    assert len(lines) == 1 and says in lines[0], relay.log()


def test_connection_refused_is_a_failure_like_any(relay):
    port = free_port()
    endpoint, _ = relay.endpoint(f"https://localhost:{port}/x")
    relay.run(ports=str(port))
    event_id = relay.event(endpoint)
    attempt, = relay.until("the attempt's record", lambda: relay.attempts(endpoint, event_id))
    assert attempt["status"] is None and f"port {port}" in attempt["error"]
