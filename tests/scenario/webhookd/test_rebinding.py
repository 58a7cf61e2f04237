"""A name that resolves to an allowed address, then to an inside one: only a check at the moment of connecting helps.

webhookd runs in a mount namespace of its own whose resolv.conf names a DNS server of this test."""

import ipaddress
import socket
import struct
import subprocess
import threading

import pytest

from tests.stack.ports import own_address

ALLOWED, INSIDE = "127.0.0.2", "127.0.0.1"  # the installation allows the one and not the other


class Resolver:
    """Answers every A question with .addresses; other questions with nothing."""

    def __init__(self):
        self.address, self.addresses, self.asked, self.silent = own_address(), [ALLOWED], 0, False
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((self.address, 53))
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                question, client = self.socket.recvfrom(512)
            except OSError:
                return
            answer = self.answer(question)
            if not self.silent:
                self.socket.sendto(answer, client)

    def answer(self, question):
        end = question.index(b"\0", 12) + 5  # RFC 1035 section 4.1.2: name, type, class
        found = self.addresses if question[end - 4:end - 2] == b"\0\1" else []
        self.asked += bool(found)
        header = question[:2] + struct.pack("!HHHHH", 0x8180, 1, len(found), 0, 0)
        records = [b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 0, 4) + ipaddress.ip_address(one).packed for one in found]
        return header + question[12:end] + b"".join(records)


def start(relay, resolver, patience="attempts:1 timeout:2", **settings):
    conf = relay.configure(allow_networks=ALLOWED, **settings)
    resolv = relay.home / "resolv.conf"
    resolv.write_text(f"nameserver {resolver.address}\noptions {patience}\n")
    hosts = relay.home / "hosts"
    hosts.write_text("127.0.0.1 localhost\n")
    relay.started.append("webhookd")
    log = relay.home / "log" / "webhookd.log"
    before = relay.log().count(": ready")
    script = (f"mount --bind {resolv} /etc/resolv.conf && mount --bind {hosts} /etc/hosts &&"
              f" exec {relay.bin}/waybill-webhookd -c {conf}")
    relay.processes.start("webhookd", ["unshare", "-m", "sh", "-c", script], log)
    relay.processes.ready("webhookd", lambda: relay.log().count(": ready") > before, log)


def has_namespaces():
    """In a plain chroot the mounts' propagation cannot be changed."""
    return subprocess.run(["unshare", "-m", "true"], stdin=subprocess.DEVNULL, capture_output=True).returncode == 0


@pytest.mark.skipif(not has_namespaces(), reason="no mount namespace can be made here")
def test_rebinding(relay):
    resolver = Resolver()
    outside = relay.server(host=ALLOWED)
    inside = type(outside)(relay.tls.chain, INSIDE, outside.port)
    relay.servers.append(inside)
    endpoint, _ = relay.endpoint(outside.url("ok", "rebound", host="relay.test"))
    start(relay, resolver)
    first = relay.event(endpoint)
    relay.until("the allowed address is posted to", lambda: relay.delivery(endpoint, first)["state"] == "delivered")
    assert len(outside.posts("rebound")) == 1 and resolver.asked
    relay.end()

    resolver.addresses = [INSIDE]
    start(relay, resolver)
    second = relay.event(endpoint)
    [attempt] = relay.until("the attempt", lambda: relay.attempts(endpoint, second))
    assert "127.0.0.1 is not allowed: loopback" in attempt["error"] and attempt["status"] is None
    relay.end()

    resolver.addresses = [INSIDE, ALLOWED]  # both at once: the allowed one is taken, the other never touched
    start(relay, resolver)
    relay.due_now(endpoint)
    relay.until("the allowed address is posted to", lambda: relay.delivery(endpoint, second)["state"] == "delivered")
    assert len(outside.posts("rebound")) == 2 and inside.posts("rebound") == []
    resolver.socket.close()


@pytest.mark.skipif(not has_namespaces(), reason="no mount namespace can be made here")
def test_a_silent_resolver_stops_nobody_else(relay):
    """The attempt ends by its own time, long before the system's resolver gives up; the POSTs of others go on."""
    resolver = Resolver()
    resolver.silent = True
    server = relay.server(tls=False, host=ALLOWED)
    unresolved, _ = relay.endpoint(server.url("ok", "unresolved", host="relay.test"))
    good, _ = relay.endpoint(server.url("ok", "numbered", host=ALLOWED))
    start(relay, resolver, patience="attempts:2 timeout:30", allow_http="yes")
    lost = relay.event(unresolved)
    relay.until("the resolver is asked", lambda: resolver.asked)
    [attempt] = relay.until("the attempt ends", lambda: relay.attempts(unresolved, lost))
    assert "timed out" in attempt["error"].lower() and attempt["status"] is None
    events = [relay.event(good) for _ in range(5)]
    relay.until("the others arrive", lambda: all(relay.delivery(good, one)["state"] == "delivered" for one in events))
    assert server.posts("unresolved") == []
    resolver.socket.close()
