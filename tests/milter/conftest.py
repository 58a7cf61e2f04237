"""A running waybill-milter with a directory of its own, and a real Redis for its counters."""

import base64
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import pytest

from protocol import Milter

UNIT = pathlib.Path(__file__).parents[2] / "packaging/systemd/waybill-milter.service.in"
GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "milter"


def pytest_addoption(parser):
    parser.addoption("--build-dir", required=True)


def golden_key(name):
    return "".join((GOLDEN / name).read_text().split())


def golden_records():
    """selector -> what p= says."""
    records = {}
    for line in (GOLDEN / "keys").read_text().splitlines():
        name, record = line.split(" ", 1)
        records[name.split(".")[0]] = record
    return records


def public(selector):
    return golden_records()[selector].split("p=")[1]


RSA, ED = golden_key("rsa.key"), golden_key("ed25519.key")

DIRECTORY = f"""
customer acme enforce
login app acme
allow *@owned
allow partner@elsewhere.test
login off acme
allow *@owned
disabled
login stolen acme
allow *@owned
stolen
login old acme
allow *@owned
expires 1000000000
domain example.com acme
key rsa rsa-sha256 active {RSA} {public("rsa")}
domain both.test acme
key rsa rsa-sha256 active {RSA} {public("rsa")}
key ed ed25519-sha256 active {ED} {public("ed")}
login sub acme
allow @.parent.test
domain parent.test acme
key rsa rsa-sha256 active {RSA} {public("rsa")}
domain unsigned.test acme
domain pending.test acme
key rsa rsa-sha256 pending {RSA} {public("rsa")}
domain broken.test acme
key rsa rsa-sha256 active {RSA} {public("rsa")} spoilt
domain mismatch.test acme
key rsa rsa-sha256 active {RSA} {base64.b64encode(b"another").decode()}
customer globex log
login bulk globex
allow *@owned
domain globex.test globex
key rsa rsa-sha256 active {RSA} {public("rsa")}
customer loose off
login loose loose
allow *@owned
customer metered
limit metered-hour customer messages 3/h defer
login meter metered
allow *@owned
domain metered.test metered
customer held
limit held-hour customer messages 1/h hold
login hold held
allow *@owned
domain held.test held
customer strict
limit strict-day customer recipients 5/day reject
login strict strict
allow *@owned
domain strict.test strict
customer warned
limit warned-day customer messages 5/day defer
login warned warned
allow *@owned
domain warned.test warned
customer gone
suspended unpaid
login gone gone
allow *@owned
domain gone.test gone
"""


class Daemon:
    def __init__(self, build, extra=""):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="waybill-milter-"))
        self.build, self.path = pathlib.Path(build), self.folder / "milter.sock"
        self.snapshot, self.seal = self.folder / "directory.mdb", self.folder / "seal.key"
        self.redis_socket, self.log_path = self.folder / "redis.sock", self.folder / "log"
        self.conf = self.folder / "waybill.conf"
        self.write_conf(extra)
        self.process = self.redis = None

    def write_conf(self, extra="", redis=""):
        self.conf.write_text(f"[common]\nnode = mx1\ndirectory = {self.snapshot}\nspool = {self.folder}/spool\n"
                             f"[redis]\nsocket = {self.redis_socket}\nlocal = {self.folder}/counters.mdb\n{redis}\n"
                             f"[milter]\nmetrics = {self.folder}/metrics\n"
                             f"\nlisten = unix:{self.path}\nseal_key = {self.seal}\nsocket_mode = 0600\n{extra}\n")

    def write_directory(self, text=DIRECTORY):
        subprocess.run([self.build / "tests" / "make_snapshot", self.snapshot, self.seal], input=text, text=True, check=True)

    def start_redis(self):
        self.redis = subprocess.Popen(
            ["redis-server", "--port", "0", "--unixsocket", str(self.redis_socket), "--save", "", "--dir", str(self.folder)],
            stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
        self.wait(lambda: self.redis_socket.exists(), "Redis")

    def start(self):
        self.process = subprocess.Popen([self.build / "bin" / "waybill-milter", "-c", self.conf], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=open(self.log_path, "ab"))
        self.wait(self.is_served, "the milter")

    def is_served(self):
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(self.path)) == 0

    def wait(self, condition, what):
        for _ in range(1500):
            if condition():
                return
            if self.process and self.process.poll() is not None:
                break
            time.sleep(0.02)
        raise AssertionError(f"{what} did not come: {self.log()}")

    def log(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def wait_for_log(self, text):
        self.wait(lambda: text in self.log(), f"the log line {text!r}")

    def connect(self, **options):
        return Milter(self.path, **options)

    def reload(self):
        """As systemctl does it, and until it is done."""
        name = re.search(r"^ExecReload=/bin/kill -(\w+) \$MAINPID$", UNIT.read_text(), re.M)[1]
        done = self.log().count("the configuration was read again")
        self.process.send_signal(signal.Signals["SIG" + name])
        self.wait(lambda: self.log().count("the configuration was read again") > done, "a reload")

    def stop(self, number=signal.SIGTERM):
        """Its exit status."""
        if not self.process:
            return None
        self.process.send_signal(number)
        status = self.process.wait(timeout=30)
        self.process = None
        return status

    def clean(self):
        status = self.stop()
        if self.redis:
            self.redis.terminate()
            self.redis.wait()
        log = self.log()
        shutil.rmtree(self.folder)
        assert status in (0, None), log
        assert "Sanitizer" not in log, log


@pytest.fixture
def make_daemon(request):
    daemons = []

    def make(extra=""):
        daemons.append(Daemon(request.config.getoption("--build-dir"), extra))
        return daemons[-1]

    yield make
    for daemon in daemons:
        daemon.clean()


@pytest.fixture
def own_daemon(make_daemon):
    """For tests that change something; libmilter takes seconds to stop, so the others share one."""
    daemon = make_daemon()
    daemon.write_directory()
    daemon.start_redis()
    daemon.start()
    return daemon


@pytest.fixture(scope="module")
def daemon(request):
    daemon = Daemon(request.config.getoption("--build-dir"))
    daemon.write_directory()
    daemon.start_redis()
    daemon.start()
    yield daemon
    daemon.clean()


@pytest.fixture
def milter(daemon):
    milter = daemon.connect()
    yield milter
    milter.close()


@pytest.fixture
def own_milter(own_daemon):
    milter = own_daemon.connect()
    yield milter
    milter.close()
