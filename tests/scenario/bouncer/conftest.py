"""waybill-bouncer alone: a PostgreSQL of its own and a log that the test writes."""

import pathlib
import random
import shutil
import signal

import pytest

from tests.stack.paths import make_home
from tests.stack.postgres import Postgres
from tests.stack.process import Processes

ROOT = pathlib.Path(__file__).resolve().parents[3]


class Log:
    """Postfix's log of messages with one recipient each: numbered, so that what is missing has a name."""

    def __init__(self, path):
        self.path, self.count, self.waiting = pathlib.Path(path), 0, []
        self.file = open(self.path, "ab", buffering=0)

    def message(self, status="sent", text="250 ok", dsn="2.0.0"):
        """The lines of one more message, its number in Message-ID and recipient."""
        n = self.count
        self.count += 1
        stamp, queue_id = "2026-11-20T10:00:00.%06d+00:00 mx1 postfix/" % n, "%012X" % (0xA00000000000 + n)
        return [
            f"{stamp}smtpd[16]: {queue_id}: client=h[192.0.2.7], sasl_method=PLAIN, sasl_username=acme-app",
            f"{stamp}cleanup[17]: {queue_id}: message-id=<{n}@acme.example>",
            f"{stamp}qmgr[2]: {queue_id}: from=<a@acme.example>, size=100, nrcpt=1 (queue active)",
            f"{stamp}smtp[9]: {queue_id}: to=<r{n}@ex.net>, relay=mx.ex.net[203.0.113.9]:25, delay=1, delays=0/0/0/1, "
            f"dsn={dsn}, status={status} ({text})",
            f"{stamp}qmgr[2]: {queue_id}: removed",
        ]

    def write(self, lines):
        self.file.write("".join(line + "\n" for line in lines).encode())

    def interleaved(self, messages):
        """Lines of MESSAGES at once, each message's in their order."""
        queues = [self.message() for _ in range(messages)]
        while queues:
            queue = random.choice(queues)
            yield queue.pop(0)
            if not queue:
                queues.remove(queue)

    def rotate(self):
        """By renaming, the older ones first, as logrotate does."""
        for n in range(8, 0, -1):
            older = self.path.with_name(f"{self.path.name}.{n}")
            if older.exists():
                older.rename(self.path.with_name(f"{self.path.name}.{n + 1}"))
        self.path.rename(self.path.with_name(f"{self.path.name}.1"))
        self.file.close()
        self.file = open(self.path, "ab", buffering=0)


class Bench:
    def __init__(self, bin_dir):
        self.home, self.bin = make_home(), bin_dir
        (self.home / "log").mkdir()
        self.processes = Processes(self.home / "processes.json")
        self.postgres = Postgres(self.home, self.processes)
        self.conf, self.output = self.home / "waybill.conf", self.home / "log" / "bouncer.log"

    def start(self):
        self.postgres.start()
        for file in sorted((ROOT / "schema").glob("*.sql")):
            self.postgres.execute(file.read_text(), None)
        self.postgres.execute("INSERT INTO waybill.customers (customer) VALUES ('acme')")
        self.postgres.execute(
            "INSERT INTO waybill.logins (login, customer, password_hash) VALUES ('acme-app', 'acme', 'x')"
        )
        self.log = Log(self.home / "maillog")
        self.conf.write_text(
            f"[common]\nnode = mx1\nspool = {self.home}/spool\n"
            f"[bouncer]\nlog = {self.log.path}\npostgres = {self.postgres.conninfo('waybill_bouncer')}\n"
        )

    def bouncer(self):
        self.processes.start("bouncer", [self.bin / "waybill-bouncer", "-c", self.conf], self.output)

    def end(self, number=signal.SIGTERM):
        self.processes.stop("bouncer", number)

    def stop(self):
        self.processes.stop_all()
        shutil.rmtree(self.home, ignore_errors=True)

    def one(self, sql):
        return list(self.postgres.execute(sql)[0].values())


@pytest.fixture
def bench(bin_dir):
    running = Bench(bin_dir)
    try:
        running.start()
        yield running
        assert "runtime error" not in running.output.read_text() and "Sanitizer" not in running.output.read_text()
    finally:
        running.stop()
