#!/usr/bin/python3
"""policyd at speed: decisions with and without Redis, beside its rivals and the floors, in one run; customers 1 to a
million; ten thousand idle connections; Redis hung under load.

	tests/bench/policyd.py [--build build/release] [--clients ../shared/bench] [--requests 60000] [--rounds 3]

The load client and the floor come from CLIENTS (policy-load, policy-floor). postfwd and policyd-rate-limit take part
when they are installed. Prints figures beside the goals; nothing here is a test."""

import argparse
import contextlib
import hashlib
import os
import pathlib
import re
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
LIMIT = "1G/s"  # counted at every request, never reached
IDLE = 10000
POSTFWD = """\
id=R; sasl_username=~/./; action=rate(sasl_username/100000000/60/450 too many)
id=D; action=DUNNO
"""
RATE_LIMIT = """\
pidfile: {folder}/prl.pid
SOCKET: ["127.0.0.1", {port}]
backend: 0
sqlite_config: {{database: {folder}/prl.db}}
user: nobody
group: nogroup
limits: [[100000000, 60]]
limited_networks: []
limit_by_sasl: True
limit_by_sender: True
limit_by_ip: False
sql_limits_by_id: ""
count_mode: 0
success_action: dunno
fail_action: defer
db_error_action: defer
config_error_action: defer
clean_period: 3600
report: False
report_from:
report_to:
report_limits: [86400]
report_only_if_needed: True
debug: False
socket_permission: 0666
smtp_server: localhost
smtp_starttls: False
smtp_credentials: null
"""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Bench:
    def __init__(self, options, folder):
        self.options, self.folder = options, folder
        self.redis, self.children = folder / "redis.sock", []
        self.client, self.floor = (self._make(name) for name in ("policy-load", "policy-floor"))

    def _make(self, name):
        subprocess.run(["make", "-s", "-C", self.options.clients, f"B={self.folder}", self.folder / name], check=True)
        return self.folder / name

    def start(self, words, ready, log="log"):
        out = open(self.folder / log, "ab")
        child = subprocess.Popen([str(w) for w in words], stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        self.children.append(child)
        for _ in range(500):
            if ready():
                return child
            time.sleep(0.02)
        raise SystemExit(f"{words[0]} does not answer")

    def stop(self, child, number=signal.SIGTERM):
        child.send_signal(number)
        child.wait()
        self.children.remove(child)

    def stop_all(self):
        for child in list(self.children):
            self.stop(child, signal.SIGKILL)

    def start_redis(self):
        return self.start(
            [
                "redis-server",
                "--port",
                0,
                "--unixsocket",
                self.redis,
                "--save",
                "",
                "--appendonly",
                "no",
                "--dir",
                self.folder,
            ],
            lambda: self._connects(self.redis),
        )

    def _connects(self, where):
        family = socket.AF_INET if isinstance(where, int) else socket.AF_UNIX
        with contextlib.suppress(OSError), socket.socket(family) as s:
            s.connect(("127.0.0.1", where) if isinstance(where, int) else str(where))
            return True
        return False

    def directory(self, logins, limit=LIMIT):
        path = self.folder / f"directory-{logins}-{bool(limit)}.mdb"
        if not path.exists():
            words = [self.options.build / "tests" / "policy_directory", path, str(logins)]
            subprocess.run(words + ([limit] if limit else []), check=True)
        return path

    def policyd(self, directory, inet=False):
        """A running policyd and its address for the load client: a unix socket, as in production, unless INET."""
        port = free_port()
        unix = self.folder / f"{port}.sock"
        conf = self.folder / f"{port}.conf"
        listen = f"inet:127.0.0.1:{port}" if inet else f"unix:{unix}"
        conf.write_text(
            f"[common]\ndirectory = {directory}\nnode = mx1\nspool =\n[redis]\nsocket = {self.redis}\n"
            f"local = {self.folder}/counters.mdb\n[policyd]\nlisten = {listen}\n"
            f"socket_group =\nmax_connections = 12000\n"
        )
        words = [self.options.build / "bin" / "waybill-policyd", "-c", conf]
        child = self.start(words, lambda: self._connects(port if inet else unix))
        return child, f"inet:{port}@127.0.0.1" if inet else f"unix:{unix}"

    def load(self, address, pid, state="DATA", connections=20, users=1000, requests=None):
        """One run of the load client; its figures."""
        words = [self.client, "-s", address, "-p", pid, "-t", state, "-c", connections, "-U", users]
        words += ["-n", requests or self.options.requests]
        line = subprocess.run([str(w) for w in words], check=True, capture_output=True, text=True).stdout
        figures = {name: float(value) for name, value in re.findall(r"(\w+)=([\d.]+)", line)}
        if figures["other"]:
            raise SystemExit(f"refused: {line}")
        return figures

    def median(self, *words, **named):
        runs = [self.load(*words, **named) for _ in range(self.options.rounds)]
        return {name: statistics.median(run[name] for run in runs) for name in runs[0]}

    def side_by_side(self, first, second):
        """The medians of two, each (address, pid, options of load), measured in turn."""
        pairs = [
            [self.load(address, pid, **named) for address, pid, named in (first, second)]
            for _ in range(self.options.rounds)
        ]
        return [{name: statistics.median(pair[i][name] for pair in pairs) for name in pairs[0][i]} for i in (0, 1)]

    def redis_benchmark(self):
        """Calls a second of the very script, one limit and the takeover guard, 50 clients, no pipeline."""
        sha = hashlib.sha1((ROOT / "common" / "counters_charge.lua").read_bytes()).hexdigest()
        key = "wb:{c1}:l:bench:user__rand_int__@c1.test"
        words = ["redis-benchmark", "-s", self.redis, "-c", 50, "-n", 200000, "-r", 1000, "--csv"]
        guard = [f"wb:{{c1}}:t:user__rand_int__@c1.test:{kind}" for kind in "sbxnh"]
        words += ["evalsha", sha, 1 + len(guard), key, *guard]
        words += ["", 3600, 1, "s", 1, 0, 0, 1000000, 1000000000, 1000000, "192.0.2.0/24", 0, 0, 1, 0]
        rates = []
        for _ in range(self.options.rounds):
            out = subprocess.run([str(w) for w in words], check=True, capture_output=True, text=True).stdout
            rates.append(float(out.splitlines()[-1].split('","')[1]))
        return statistics.median(rates)


def show(name, value, goal=None, unit=""):
    print(f"  {name:<58} {value:>12,.2f}{unit}" + (f"   goal {goal}" if goal else ""), flush=True)


def rivals(bench):
    """Decisions a second of what else there is, each alone; they count at RCPT."""
    found = {}
    if shutil.which("postfwd1"):
        rules, port = bench.folder / "postfwd.cf", free_port()
        rules.write_text(POSTFWD)
        pid_file = bench.folder / "postfwd.pid"
        words = ["postfwd1", "-d", "-f", rules, "-i", "127.0.0.1", "-p", port, "-u", "nobody", "-g", "nogroup"]
        bench.folder.chmod(0o777)
        bench.start([*words, "--pidfile", pid_file], lambda: bench._connects(port)).wait()
        pid = int(pid_file.read_text())  # it has left us for the background
        try:
            found["postfwd1"] = bench.median(f"inet:{port}@127.0.0.1", pid, state="RCPT", requests=10000)
        finally:
            os.kill(pid, signal.SIGTERM)
    if shutil.which("policyd-rate-limit"):
        conf, port = bench.folder / "prl.yaml", free_port()
        conf.write_text(RATE_LIMIT.format(folder=bench.folder, port=port))
        child = bench.start(["policyd-rate-limit", "-f", conf], lambda: bench._connects(port))
        found["policyd-rate-limit"] = bench.median(f"inet:{port}@127.0.0.1", child.pid, state="RCPT", requests=4000)
        bench.stop(child)
    return found


def decisions(bench):
    print("decisions with a limit in Redis, 1,000 logins")
    child, address = bench.policyd(bench.directory(1000))
    at = {connections: bench.median(address, child.pid, connections=connections) for connections in (20, 100)}
    best = bench.redis_benchmark()
    for connections, p99 in ((20, 600), (100, 2500)):
        show(f"decisions/s, {connections} connections", at[connections]["per_s"])
        show("  of redis-benchmark with the same script", at[connections]["per_s"] / best, ">= 0.55")
        show("  CPU µs a decision", at[connections]["cpu_us"], "<= 10")
        show("  p99 µs", at[connections]["p99_us"], f"<= {p99}")
    bench.stop(child)
    for name, figures in rivals(bench).items():
        goal = ">= 13" if "fwd" in name else ">= 45"
        show(f"times {name} ({figures['per_s']:,.0f}/s)", at[20]["per_s"] / figures["per_s"], goal)


def recipients(bench):
    print("recipients: rights alone, no Redis")
    child, address = bench.policyd(bench.directory(1000), inet=True)
    port = free_port()
    floor = bench.start([bench.floor, "null", port], lambda: bench._connects(port))
    rcpt = {"state": "RCPT"}
    ours, least = bench.side_by_side((address, child.pid, rcpt), (f"inet:{port}@127.0.0.1", floor.pid, rcpt))
    show("decisions/s, 20 connections", ours["per_s"])
    show("  of a server that only answers DUNNO", ours["per_s"] / least["per_s"], ">= 0.80")
    bench.stop(child)
    bench.stop(floor)


def customers(bench):
    print("logins 1 to 1,000,000")
    few, few_at = bench.policyd(bench.directory(1))
    many, many_at = bench.policyd(bench.directory(1000000))
    one, million = bench.side_by_side((few_at, few.pid, {"users": 1}), (many_at, many.pid, {"users": 1000000}))
    bench.stop(few)
    bench.stop(many)
    show("decisions/s with 1,000,000", million["per_s"])
    show("  of those with 1", million["per_s"] / one["per_s"], ">= 0.90")


def idle(bench):
    print(f"{IDLE:,} idle connections")
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (IDLE + 5000, max(IDLE + 5000, most)))
    child, address = bench.policyd(bench.directory(1000))
    alone = bench.median(address, child.pid)
    quiet = []
    for _ in range(IDLE):
        s = socket.socket(socket.AF_UNIX)
        s.connect(address.removeprefix("unix:"))
        quiet.append(s)
    beside = bench.median(address, child.pid)
    show("decisions/s beside them, of those without", beside["per_s"] / alone["per_s"])
    show("p99 µs beside them", beside["p99_us"])
    show("memory MiB", beside["rss_kb"] / 1024, "< 300")
    for s in quiet:
        s.close()
    bench.stop(child)


def hung(bench, redis):
    print("Redis hung under load: the local store answers")
    child, address = bench.policyd(bench.directory(1000))
    bench.load(address, child.pid, requests=2000)
    os.kill(redis.pid, signal.SIGSTOP)
    figures = bench.load(address, child.pid)
    os.kill(redis.pid, signal.SIGCONT)
    show("decisions/s", figures["per_s"])
    show("longest wait ms", figures["max_us"] / 1000, "<= 20 and a loop round")
    bench.stop(child)


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--build", type=pathlib.Path, default=ROOT / "build" / "release")
    options.add_argument("--clients", type=pathlib.Path, default=ROOT.parent / "shared" / "bench")
    options.add_argument("--requests", type=int, default=60000)
    options.add_argument("--rounds", type=int, default=3)
    options = options.parse_args()
    options.build = options.build.absolute()
    if not (options.clients / "Makefile").exists():
        raise SystemExit(f"{options.clients}: there is no load client; name its folder with --clients")
    folder = pathlib.Path(tempfile.mkdtemp(prefix="waybill-bench-"))
    bench = Bench(options, folder)
    try:
        redis = bench.start_redis()
        decisions(bench)
        recipients(bench)
        customers(bench)
        idle(bench)
        hung(bench, redis)
    finally:
        bench.stop_all()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
