#!/usr/bin/python3
"""The bouncer's way from log to rows: its parser and tracker beside pflogsumm and beside the least that any reader must do; log
to committed, indexed rows beside COPY of those rows into a table of the same shape; its CPU beside Postgres's; how soon a bounce
stands in Postgres, idle and while 50,000 other lines a second come; memory with many messages in flight."""

import datetime
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

import bench  # noqa: E402
import maillog  # noqa: E402
from tests.scenario.bouncer.conftest import Bench  # noqa: E402
from tests.stack.process import wait_until  # noqa: E402

CUSTOMERS = "INSERT INTO waybill.customers (customer) SELECT 'c' || n FROM generate_series(0, %s) n"
# Used lately, as a login is that sends: the bouncer notes its last use every ten minutes.
LOGINS = ("INSERT INTO waybill.logins (login, customer, last_used_at, password_hash) SELECT 'user' || u || '@c' || n || '.example', "
          "'c' || n, 'epoch'::timestamptz + %s * interval '1 s', 'x' FROM generate_series(0, %s) n, generate_series(0, %s) u")
TWIN = ("CREATE TABLE waybill.twin (LIKE waybill.events INCLUDING ALL) PARTITION BY RANGE (occurred_at)",
        "CREATE TABLE waybill.twin_default PARTITION OF waybill.twin DEFAULT")
LINES_A_SECOND, CHUNKS_A_SECOND = 50000, 20
EMPTY_KIB, MESSAGE_BYTES = 16 * 1024, 300


def cpu_us(words, **options):
    """What a program costs, its children included, and what it prints."""
    before = os.times()
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=True, **options)
    after = os.times()
    return (after.children_user + after.children_system - before.children_user - before.children_system) * 1e6, done


class Relay(Bench):
    """Postgres with customers and logins, and a bouncer that follows a log."""

    def __init__(self):
        super().__init__(bench.BUILD / "bin")

    def __enter__(self):
        try:
            self.start()
            self.postgres.execute(CUSTOMERS, (maillog.CUSTOMERS - 1,))
            self.postgres.execute(LOGINS, (maillog.START, maillog.CUSTOMERS - 1, maillog.USERS - 1))
            self.postgres.execute("ANALYZE waybill.logins")
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    def follow(self):
        return bench.Process([self.bin / "waybill-bouncer", "-c", self.conf], self.output)

    def postgres_cpu_s(self):
        root = bench.Process.__new__(bench.Process)
        root.popen = type("Pid", (), {"pid": self.processes.pid("postgres")})
        return root.cpu_s()

    def caught_up(self, open_messages=0):
        rows = self.postgres.execute("SELECT behind FROM waybill.log_positions WHERE source ~ 'maillog'")
        return rows and rows[0]["behind"] == 0 and self.one(
            "SELECT count(*) FROM waybill.open_messages WHERE queue_id <> 'NOQUEUE'") == [open_messages]

    def drain(self, messages):
        """Reads a log of MESSAGES into Postgres: rows, seconds, CPU of the bouncer and of Postgres in seconds."""
        maillog.write(self.log.path, messages)
        before, start = self.postgres_cpu_s(), time.monotonic()
        process = self.follow()
        if not wait_until(self.caught_up, seconds=600):
            raise RuntimeError(self.output.read_text()[-2000:])
        seconds = time.monotonic() - start
        figures = self.one("SELECT count(*) FROM waybill.events")[0], seconds, process.cpu_s(), self.postgres_cpu_s() - before
        process.stop()
        return figures

    def copy(self):
        """The same rows by COPY: seconds, CPU of Postgres in seconds."""
        for statement in TWIN:
            self.postgres.execute(statement)
        rows, connection = self.home / "rows", self.postgres.connect()
        with connection.cursor() as cursor, open(rows, "wb+") as file:
            cursor.copy_expert("COPY (SELECT * FROM waybill.events ORDER BY recorded_at, seq) TO STDOUT", file)
            file.seek(0)
            before, start = self.postgres_cpu_s(), time.monotonic()
            cursor.copy_expert("COPY waybill.twin FROM STDIN", file)
            seconds = time.monotonic() - start
        spent = self.postgres_cpu_s() - before
        connection.close()
        return seconds, spent

    def latency_ms(self, seconds, lines_a_second, bounces_a_second):
        """From the time in a bounce's own line to its row, with LINES_A_SECOND others around it: sorted."""
        ready = chunks(lines_a_second // CHUNKS_A_SECOND, seconds * CHUNKS_A_SECOND) if lines_a_second else None
        process = self.follow()
        if not wait_until(lambda: "from its start" in self.output.read_text(), seconds=30):
            raise RuntimeError(self.output.read_text()[-2000:])
        pace = CHUNKS_A_SECOND if ready else bounces_a_second
        start, expected = time.monotonic(), 0
        with open(self.log.path, "ab", buffering=0) as log:
            for n in range(seconds * pace):
                time.sleep(max(0, start + n / pace - time.monotonic()))
                if ready:
                    log.write(ready[n])
                if n % (pace // bounces_a_second) == 0:
                    log.write(fresh_bounce(n))
                    expected += 1
        fresh = "SELECT count(*) FROM waybill.events WHERE type = 'message.bounced' AND sender = 'fresh@acme.example'"
        if not wait_until(lambda: self.one(fresh) == [expected], seconds=120):
            raise RuntimeError(f"{self.one(fresh)} of {expected}\n{self.output.read_text()[-2000:]}")
        process.stop()
        return [row["ms"] for row in self.postgres.execute(
            "SELECT (extract(epoch FROM recorded_at - occurred_at) * 1000)::float AS ms FROM waybill.events"
            " WHERE type = 'message.bounced' AND sender = 'fresh@acme.example' ORDER BY 1")]

    def in_flight_kib(self, messages):
        """Memory of a bouncer that follows so many messages which are still in the queue."""
        whole = self.home / "whole.log"
        maillog.write(whole, messages)
        with open(whole, encoding="ascii") as lines, open(self.log.path, "w", encoding="ascii") as log:
            log.writelines(line for line in lines if not is_end(line))
        process = self.follow()
        if not wait_until(lambda: self.caught_up(messages), seconds=600):
            raise RuntimeError(self.output.read_text()[-2000:])
        rss = process.rss_kib()
        process.stop()
        return rss


def is_end(line):
    """Does it end a message's life?"""
    return re.search(r": removed$|, status=(sent|bounced) ", line) is not None


def chunks(lines, count):
    """COUNT pieces of LINES lines each, of one log."""
    folder = pathlib.Path("/dev/shm" if pathlib.Path("/dev/shm").exists() else "/tmp")
    path = folder / f"waybill-bench-{os.getpid()}.log"
    try:
        maillog.write(path, lines * count // 7 + 1000, first=10_000_000)
        with open(path, "rb") as file:
            return [b"".join(file.readline() for _ in range(lines)) for _ in range(count)]
    finally:
        path.unlink()


def fresh_bounce(n):
    """What Postfix writes about one message that bounces now, in one write."""
    stamp = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="microseconds") + " mx1 postfix/"
    queue_id, to = f"{0xF00000000000 + n:X}", f"fresh{n}@ex.example"
    return "".join(f"{stamp}{line}\n" for line in (
        f"smtpd[16]: {queue_id}: client=h[192.0.2.7], sasl_method=PLAIN, sasl_username=acme-app",
        f"cleanup[17]: {queue_id}: message-id=<{n}@acme.example>",
        f"qmgr[2]: {queue_id}: from=<fresh@acme.example>, size=100, nrcpt=1 (queue active)",
        f"smtp[9]: {queue_id}: to=<{to}>, relay=mx.ex.example[203.0.113.9]:25, delay=1, delays=0/0/0/1, dsn=5.1.1, status=bounced "
        f"(host mx.ex.example[203.0.113.9] said: 550 5.1.1 <{to}>: User unknown (in reply to RCPT TO command))",
        f"qmgr[2]: {queue_id}: removed")).encode()


def parser_rows(folder):
    log, tests = folder.path / "maillog", bench.BUILD / "tests"
    lines = maillog.write(log, bench.amount(150000, 15000))
    track = bench.median(float(cpu_us([tests / "log_track", log])[1].stdout.split()[0]) for _ in range(bench.ROUNDS))
    floor = bench.median(float(cpu_us([tests / "log_floor", log])[1].stdout) for _ in range(bench.ROUNDS))
    met = bench.row("parse + track, lines/s of CPU, beside the floor", f"{lines / track * 1e6:.0f}", f"{lines / floor * 1e6:.0f}",
                    floor / track, (">=", 0.30))
    replay = bench.median(cpu_us([bench.BUILD / "bin" / "waybill-bouncer", "--replay", log])[0] for _ in range(bench.ROUNDS))
    if shutil.which("pflogsumm"):
        rival = bench.median(cpu_us(["pflogsumm", log])[0] for _ in range(bench.ROUNDS))
        met &= bench.row("parse + track, lines/s, beside pflogsumm", f"{lines / track * 1e6:.0f}", f"{lines / rival * 1e6:.0f}",
                         rival / track, (">=", 20))
        bench.note("  --replay, bounces judged, ids made, lines/s", f"{lines / replay * 1e6:.0f}", f"{rival / replay:.1f} x pflogsumm")
    else:
        bench.note("parse + track beside pflogsumm", "-", "pflogsumm is not installed")
    return met


def memory_row(folder):
    whole, log = folder.path / "whole", folder.path / "open"
    maillog.write(whole, bench.amount(150000, 15000))
    log.write_text("".join(line for line in whole.read_text().splitlines(True) if not is_end(line)))
    size = float(cpu_us([bench.BUILD / "tests" / "log_track", log])[1].stdout.split()[1])
    return bench.row("memory of an open message, bytes", f"{size:.0f}", MESSAGE_BYTES, size, ("<=", MESSAGE_BYTES))


def store_rows(messages):
    with Relay() as relay:
        rows, seconds, bouncer, postgres = relay.drain(messages)
        copy_seconds, copy_cpu = relay.copy()
    met = bench.row("log to committed rows/s, beside COPY", f"{rows / seconds:.0f}", f"{rows / copy_seconds:.0f}",
                    copy_seconds / seconds, (">=", 0.60))
    bench.note("  Postgres's CPU a row", f"{postgres / rows * 1e6:.1f} us", f"COPY: {copy_cpu / rows * 1e6:.1f} us")
    return met & bench.row("bouncer's CPU a row, us, beside Postgres's", f"{bouncer / rows * 1e6:.1f}", f"{postgres / rows * 1e6:.1f}",
                           bouncer / postgres, ("<=", 0.15))


def latency_rows(seconds):
    with Relay() as relay:
        idle = relay.latency_ms(seconds, 0, 10)
    with Relay() as relay:
        busy = relay.latency_ms(seconds, LINES_A_SECOND, 10)
    met = True
    for figure, taken, goal in ("bounce in Postgres, idle, p99 ms", idle, 50), ("bounce in Postgres, 50,000 lines/s, p99 ms", busy, 1000):
        p99 = taken[int(len(taken) * 0.99)]
        met &= bench.row(figure, f"{p99:.1f}", goal, p99, ("<=", goal))
        bench.note("  p50", f"{taken[len(taken) // 2]:.1f} ms", f"{len(taken)} bounces")
    return met


def in_flight_row(messages):
    with Relay() as relay:
        rss = relay.in_flight_kib(messages)
    limit = EMPTY_KIB + messages * MESSAGE_BYTES / 1024
    return bench.row(f"memory with {messages:,} in flight, MiB", f"{rss / 1024:.1f}", f"{limit / 1024:.1f}", rss / 1024,
                     ("<=", round(limit / 1024, 1)))


def main():
    print(f"{'figure':<48} {'bouncer':>12} {'beside':>24} {'ratio':>9}  goal")
    with bench.Folder() as folder:
        met = parser_rows(folder)
        met &= memory_row(folder)
    met &= store_rows(bench.amount(50000, 5000))
    met &= latency_rows(bench.amount(20, 4))
    met &= in_flight_row(bench.amount(100000, 10000))
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
