#!/usr/bin/python3
"""Support's questions and the bouncer's door at size: "last 50 events of a customer", "events of a recipient", a timeline, and
how many events a second record_batch takes with all that follows from them.

    tests/bench/run queries

Real PostgreSQL in a folder of its own; ten million events in forty days of partitions, one customer with a tenth of them."""

import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import time

import psycopg2

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

import bench  # noqa: E402
from directory import Postgres  # noqa: E402
from tests.stack import told  # noqa: E402

EVENTS, ASKS = bench.amount(10_000_000, 200_000), bench.amount(2000, 200)
CUSTOMERS, DAYS = 1000, 40
HARD = {"type": "message.bounced", "bounce_class": "hard", "bounce_category": "bad-mailbox", "bounce_scope": "recipient"}
WARM = 20  # questions before the clock counts: a connection of support's stays open and knows its plans
LOAD = """
SELECT waybill.ensure_partitions((now() - interval '{days} days')::date, {days} + 1);
INSERT INTO waybill.customers (customer) SELECT 'c' || i FROM generate_series(0, {customers} - 1) AS i;
INSERT INTO waybill.logins (login, customer, password_hash) SELECT 'app@c' || i, 'c' || i, '!' FROM generate_series(0, {customers} - 1) AS i;
INSERT INTO waybill.events (customer, occurred_at, event_id, seq, type, host, instance, queue_id, message_id, sender, recipient,
                            recipient_domain, provider, bounce_class, bounce_category, bounce_scope, response)
SELECT 'c' || CASE WHEN i % 10 = 0 THEN 0 ELSE i % {customers} END, now() - interval '{days} days' * (1 - i::float8 / {events}),
       'evt_' || i, i, CASE WHEN i % 20 = 0 THEN 'message.bounced' ELSE 'message.delivered' END, 'mx1', 'postfix', 'Q' || i,
       i || '@m', 'a@c.example', 'u' || i % 300007 || '@d' || i % 5003 || '.example', 'd' || i % 5003 || '.example', NULL,
       CASE WHEN i % 20 = 0 THEN 'hard' END, CASE WHEN i % 20 = 0 THEN 'bad-mailbox' END, CASE WHEN i % 20 = 0 THEN 'recipient' END,
       '250 2.0.0 Ok: queued as 4bXyZ12mN2VXxznjll'
FROM generate_series(1, {events}) AS i;
INSERT INTO waybill.event_seq SELECT customer, max(seq) FROM waybill.events GROUP BY customer;
"""
# What autovacuum has long done with days gone by; in the middle of the questions it would make their plans anew.
SETTLE = "VACUUM ANALYZE waybill.events"


def number():
    return random.randrange(1, EVENTS + 1)


def customer_of(i):
    return f"c{0 if i % 10 == 0 else i % CUSTOMERS}"


QUESTIONS = {
    "last 50 events of a customer": lambda i: ("SELECT * FROM support.message_search(%s)", [customer_of(i)]),
    "last 50 events of the largest customer": lambda i: ("SELECT * FROM support.message_search('c0')", []),
    "the next page": lambda i: ("SELECT * FROM support.message_search(%s, NULL, 50, now() - %s * interval '1 hour')",
                                [customer_of(i), i % (DAYS * 24)]),
    "events of a recipient": lambda i: ("SELECT * FROM support.message_search(%s, %s)",
                                        [customer_of(i), f"u{i % 300007}@d{i % 5003}.example"]),
    "timeline of a queue id": lambda i: ("SELECT * FROM support.timeline(%s)", [f"Q{i}"]),
}


def cpu_ms(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) * 1000 / os.sysconf("SC_CLK_TCK")


def ask(cursor, question):
    """The times of the answers, and the server's CPU time for one of them: on a busy machine only that can be trusted."""
    cursor.execute("SELECT pg_backend_pid()")
    pid, taken = cursor.fetchone()[0], []
    for asked in range(WARM + ASKS):
        if asked == WARM:
            before = cpu_ms(pid)
        sql, values = question(number())
        begin = time.perf_counter()
        cursor.execute(sql, values)
        cursor.fetchall()
        if asked >= WARM:
            taken.append((time.perf_counter() - begin) * 1000)
    return sorted(taken), (cpu_ms(pid) - before) / ASKS


def ask_cold(connect, question):
    """The first question of a new session, as the command line asks it: the plan is made and the catalogue read."""
    taken = []
    for _ in range(bench.amount(50, 10)):
        db = connect()
        sql, values = question(number())
        begin = time.perf_counter()
        with db.cursor() as cursor:
            cursor.execute(sql, values)
            cursor.fetchall()
        taken.append((time.perf_counter() - begin) * 1000)
        db.close()
    return sorted(taken)


def record(cursor, batches, size):
    """Batches through record_batch, as arrays that lie ready; a twentieth of the events are bounces."""
    cursor.execute("CREATE TEMP TABLE batches (n integer, told waybill.told_event[])")
    for batch in range(batches):
        events = [{**told.LEAST, "event_id": f"new_{batch}_{i}", "occurred_at": "now", "type": "message.delivered",
                   "queue_id": f"N{batch}{i}", "recipient": f"n{batch}{i}@d{i % 500}.example", "recipient_domain": f"d{i % 500}.example",
                   "sasl_username": f"app@c{i % CUSTOMERS}", **(HARD if i % 20 == 0 else {})} for i in range(size)]
        cursor.execute(f"INSERT INTO batches SELECT %s, {told.TOLD}", (batch, json.dumps(events)))
    begin = time.perf_counter()
    for batch in range(batches):
        cursor.execute(told.RECORD % "told" + " FROM batches WHERE n = %s", (batch,))
    return batches * size / (time.perf_counter() - begin)


def main():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="waybill-bench-", dir="/var/tmp"))
    folder.chmod(0o755)
    (folder / "postgres").mkdir()
    postgres = Postgres(folder / "postgres")
    met = True
    try:
        conf = folder / "waybill.conf"
        conf.write_text(f"[ctl]\npostgres = host={folder}/postgres user=postgres dbname=waybill\n")
        subprocess.run([bench.BUILD / "bin" / "waybill", "-c", conf, "db", "migrate"], check=True, stdout=subprocess.DEVNULL)
        db = psycopg2.connect(host=f"{folder}/postgres", user="postgres", dbname="waybill")
        db.autocommit = True
        cursor = db.cursor()
        cursor.execute(LOAD.format(events=EVENTS, customers=CUSTOMERS, days=DAYS))
        cursor.execute(SETTLE)

        def connect():
            db = psycopg2.connect(host=f"{folder}/postgres", user="waybill_support", dbname="waybill")
            db.autocommit = True
            return db

        asked = connect().cursor()
        for name, question in QUESTIONS.items():
            taken, cpu = ask(asked, question)
            p99 = taken[int(len(taken) * 0.99)]
            met &= bench.row(f"{name}, p99 ms", f"{p99:.2f}", f"median {bench.median(taken):.2f} CPU {cpu:.2f}", p99, ("<=", 5))
            cold = ask_cold(connect, question)
            bench.note(f"{name}, new session, ms", f"{bench.median(cold):.1f}", f"median; at most {cold[-1]:.1f}")
        bench.note("record_batch, events/s", f"{record(cursor, bench.amount(100, 20), 1000):.0f}", "batches of 1,000, 5 % hard bounces")
    finally:
        postgres.stop()
        subprocess.run(["rm", "-rf", folder], check=True)
    return 0 if met else 1


if __name__ == "__main__":
    os.environ.setdefault("PGAPPNAME", "waybill-bench")
    sys.exit(main())
