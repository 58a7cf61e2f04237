"""A database of the project's own schema, beside which the test runs (tests/unit/with-postgres sets PGHOST)."""

import datetime
import os
import pathlib
import subprocess

import psycopg2
import pytest

from tests.stack import told

ROOT = pathlib.Path(__file__).resolve().parents[3]
WAYBILL = os.environ.get("WAYBILL", str(ROOT / "build/dev/bin/waybill"))
DAY = datetime.datetime(2026, 11, 20, 12, 0, tzinfo=datetime.timezone.utc)

HARD = {"bounce_class": "hard", "bounce_category": "bad-mailbox", "bounce_scope": "recipient", "bounce_rule": "text/unknown-user"}
CLOSED = dict(HARD, bounce_category="inactive-mailbox", bounce_rule="text/inactive")
FULL = {"bounce_class": "soft", "bounce_category": "quota-issues", "bounce_scope": "recipient", "bounce_rule": "text/quota"}
BLOCKED = {"bounce_class": "hard", "bounce_category": "ip-blocked", "bounce_scope": "sender_ip", "bounce_rule": "safe/block-list"}


class World:
    def __init__(self, folder):
        self.conf = folder / "waybill.conf"
        reach = f"[ctl]\npostgres = host={os.environ['PGHOST']} dbname=postgres user="
        self.conf.write_text(reach + "postgres\n")
        self.number = 0
        self.run("db", "migrate")
        self.conf.write_text(reach + "waybill_admin\n")  # every command has what it needs by the grants
        self.db = psycopg2.connect("")
        self.db.autocommit = True

    def run(self, *words, code=0, stdin=None):
        done = subprocess.run([WAYBILL, "-c", str(self.conf), *words], capture_output=True, text=True, input=stdin)
        assert done.returncode == code, (words, done.returncode, done.stdout, done.stderr)
        return done.stdout

    def rows(self, sql, *values):
        with self.db.cursor() as cursor:
            cursor.execute(sql, values)
            return cursor.fetchall() if cursor.description else []

    def one(self, sql, *values):
        return self.rows(sql, *values)[0][0]

    def customer(self, name):
        self.rows("INSERT INTO waybill.customers (customer) VALUES (%s) ON CONFLICT DO NOTHING", name)
        self.rows("INSERT INTO waybill.logins (login, customer, password_hash) VALUES (%s, %s, '!') ON CONFLICT DO NOTHING",
                  f"app@{name}", name)
        return name

    def event(self, customer, kind, recipient, at=DAY, **more):
        self.number += 1
        return dict({"type": f"message.{kind}", "sasl_username": f"app@{customer}", "recipient": recipient,
                     "recipient_domain": recipient.split("@")[1], "occurred_at": at, "event_id": f"evt_{self.number}",
                     "queue_id": f"Q{self.number}", "bounce_async": False}, **more)

    def record(self, *events):
        return told.record(self.one, events)

    def suppression(self, customer, recipient):
        found = self.rows("SELECT reason, expires_at FROM waybill.suppressions WHERE customer = %s AND recipient = %s",
                          customer, recipient)
        return found[0] if found else None


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    if "PGHOST" not in os.environ:
        pytest.skip("run it behind tests/unit/with-postgres")
    made = World(tmp_path_factory.mktemp("verdicts"))
    yield made
    made.db.close()
