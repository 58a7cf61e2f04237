"""waybill-webhookd alone: a PostgreSQL of its own, HTTPS servers of every temper, and no mail."""

import base64
import hashlib
import json
import os
import pathlib
import secrets
import shutil

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tests.stack.paths import make_home
from tests.stack.postgres import Postgres
from tests.stack.process import Processes, wait_until
from tests.stack.tls import Tls

from .hostile import Hostile

ROOT = pathlib.Path(__file__).resolve().parents[3]
SANITIZER = {"ASAN_OPTIONS": "detect_leaks=1:abort_on_error=0", "UBSAN_OPTIONS": "print_stacktrace=1"}


class Relay:
    """The database with its endpoints, and the daemons that post."""

    def __init__(self, bin_dir):
        self.home, self.bin = make_home(), bin_dir
        (self.home / "log").mkdir()
        self.processes = Processes(self.home / "processes.json")
        self.postgres = Postgres(self.home, self.processes)
        self.tls = Tls(self.home / "tls")
        self.key = secrets.token_bytes(32)
        self.servers, self.started, self.environment, self.sequence = [], [], {}, 0

    def start(self):
        self.tls.make()
        self.postgres.start()
        for file in sorted((ROOT / "schema").glob("*.sql")):
            self.postgres.execute(file.read_text(), None)
        key_file = self.home / "webhook.key"
        key_file.write_text(self.key.hex() + "\n")
        key_file.chmod(0o600)
        self.customer("acme")

    def stop(self):
        for server in self.servers:
            server.close()
        self.processes.stop_all()
        shutil.rmtree(self.home, ignore_errors=True)

    # what is in the database

    def sql(self, sql, *parameters):
        return self.postgres.execute(sql, parameters)

    def customer(self, name):
        self.sql("INSERT INTO waybill.customers (customer) VALUES (%s)", name)

    def seal(self, secret, bound):
        """common/seal.h, written a second time."""
        nonce = secrets.token_bytes(12)
        sealed = AESGCM(self.key).encrypt(nonce, secret.encode(), bound.encode())
        return b"\1" + hashlib.sha256(self.key).digest()[:4] + nonce + sealed

    def endpoint(self, url, customer="acme", events=(), format="waybill", previous=None, **columns):
        """Adds an endpoint; returns its id and its secret."""
        name = "ep_" + base64.b32encode(secrets.token_bytes(10)).decode().lower()
        secret = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
        values = {"customer": customer, "endpoint": name, "url": url, "format": format, "events": list(events),
                  "sealed_secret": self.seal(secret, f"{customer} {name}"), **columns}
        if previous:
            values["sealed_previous"] = self.seal(previous, f"{customer} {name}")
        self.sql(f"INSERT INTO waybill.endpoints ({', '.join(values)}) VALUES ({', '.join(['%s'] * len(values))})",
                 *values.values())
        return name, secret

    def event(self, *endpoints, customer="acme", notify=True, **columns):
        """An event that is owed to ENDPOINTS; returns its id."""
        self.sequence += 1
        event_id = "evt_" + base64.b32encode(secrets.token_bytes(16)).decode().lower().rstrip("=")
        values = {"customer": customer, "occurred_at": "2026-11-21 01:15:09.123456+00", "event_id": event_id,
                  "seq": self.sequence, "type": "message.delivered", "host": "mx1", "instance": "postfix",
                  "queue_id": "4bXyZ12mN2VXxznjll", "recipient": "jane@example.net", **columns}
        self.sql(f"INSERT INTO waybill.events ({', '.join(values)}) VALUES ({', '.join(['%s'] * len(values))})",
                 *values.values())
        for endpoint in endpoints:
            self.sql("INSERT INTO waybill.deliveries (customer, endpoint, event_id, occurred_at) VALUES (%s, %s, %s, %s)",
                     customer, endpoint, event_id, values["occurred_at"])
        if notify:
            self.sql("NOTIFY waybill_deliveries")
        return event_id

    def delivery(self, endpoint, event_id):
        return self.sql("SELECT *, extract(epoch FROM due_at - now())::float AS due_in FROM waybill.deliveries"
                        " WHERE endpoint = %s AND event_id = %s", endpoint, event_id)[0]

    def attempts(self, endpoint, event_id):
        return self.sql("SELECT * FROM support.attempts WHERE endpoint = %s AND event_id = %s ORDER BY attempt",
                        endpoint, event_id)

    def endpoint_row(self, endpoint):
        return self.sql("SELECT *, extract(epoch FROM retry_at - now())::float AS retry_in FROM waybill.endpoints"
                        " WHERE endpoint = %s", endpoint)[0]

    def due_now(self, endpoint):
        """Moves the clock on: whatever waits is due, and no breaker holds it back."""
        self.sql("UPDATE waybill.deliveries SET due_at = now() WHERE endpoint = %s AND state = 'due'", endpoint)
        self.sql("UPDATE waybill.endpoints SET retry_at = NULL WHERE endpoint = %s", endpoint)
        self.sql("NOTIFY waybill_deliveries")

    def until(self, what, check, seconds=30):
        value = wait_until(check, seconds)
        assert value, f"{what} did not happen within {seconds} s\n{self.log()}"
        return value

    # servers and daemons

    def server(self, tls=True, host="127.0.0.1"):
        server = Hostile(self.tls.chain if tls else None, host)
        self.servers.append(server)
        return server

    def configure(self, name="webhookd", **settings):
        ports = ", ".join(str(server.port) for server in self.servers) or "443"
        values = {"postgres": self.postgres.conninfo("waybill_webhookd"), "webhook_key": self.home / "webhook.key",
                  "ca_file": self.tls.ca, "ports": ports, "allow_networks": "127.0.0.0/8", "timeout": "1500ms",
                  "connect_timeout": "1s", "lease": "5s", **settings}
        conf = self.home / f"{name}.conf"
        conf.write_text("[common]\nlog_level = debug\n[webhookd]\n" +
                        "".join(f"{key} = {value}\n" for key, value in values.items()))
        return conf

    def run(self, name="webhookd", wait=True, **settings):
        conf = self.configure(name, **settings)
        log = self.home / "log" / f"{name}.log"
        self.started.append(name)
        before = self.log(name).count(": ready")
        self.processes.start(name, [self.bin / "waybill-webhookd", "-c", conf], log,
                             env={**SANITIZER, **self.environment})
        if wait:
            self.processes.ready(name, lambda: self.log(name).count(": ready") > before, log)

    def end(self, name="webhookd"):
        """Stops it as systemd would; it must end by itself, with nothing to complain about."""
        assert self.processes.stop(name, seconds=30), self.log(name)
        wait_until(lambda: self.processes.status(name) is not None)
        status = self.processes.status(name)
        assert status == 0, f"exit status {status}\n{self.log(name)}"

    def log(self, name="webhookd"):
        file = self.home / "log" / f"{name}.log"
        return file.read_text() if file.exists() else ""


@pytest.fixture(scope="module")
def database(bin_dir):
    relay = Relay(bin_dir)
    try:
        relay.start()
        yield relay
    finally:
        relay.stop()


@pytest.fixture
def relay(database):
    """The database, with the daemons of this test ended after it."""
    database.started.clear()
    database.environment = {}
    yield database
    for name in set(database.started):
        if database.processes.pid(name):
            database.end(name)
        assert "Sanitizer" not in database.log(name), database.log(name)
        (database.home / "log" / f"{name}.log").unlink()
    for server in database.servers:
        server.close()
    database.servers.clear()
    database.sql("UPDATE waybill.endpoints SET status = 'paused'")
