#!/usr/bin/python3
"""policyd at speed: decisions with a limit in Redis beside its rivals, rights alone beside a server that only answers DUNNO,
customers one to a million, ten thousand idle connections, Redis hung under load.

The load client (policy_load), the floor (policy_floor) and the directory come from this folder. Rivals are postfwd and
policyd-rate-limit, which count at RCPT, and redis-benchmark with the very script; one that is not installed is left out.
What is compared runs in turn, so that the machine's mood hits everyone."""

import hashlib
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

import bench

REQUESTS = bench.amount(100_000, 5000)
MANY = bench.amount(1_000_000, 10_000)
IDLE = bench.amount(10_000, 500)
LIMIT = "1M/s"  # counted at every request (a microsecond of it), never reached
TOOLS = bench.BUILD / "tests"
POSTFWD = """\
id=R; sasl_username=~/./; action=rate(sasl_username/100000000/60/450 too many)
id=D; action=DUNNO
"""
RATE_LIMIT = """\
pidfile: {folder}/rate-limit.pid
SOCKET: ["127.0.0.1", {port}]
backend: 0
sqlite_config: {{database: {folder}/rate-limit.db}}
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


class Target:
    """A policy service to measure: its process, its address, what the load client is told."""

    def __init__(self, process, address, **load):
        self.process, self.address, self.load = process, address, load

    def run(self, **more):
        os.sync()  # what one has left for the disk is not the next one's work
        options = {"requests": REQUESTS, "warmup": min(2000, REQUESTS // 5), **self.load, **more}
        words = [f"{name}={value}" for name, value in options.items()]
        before = cpu_ns(self.process)
        done = subprocess.run([TOOLS / "policy_load", self.address, *words], stdout=subprocess.PIPE, text=True, check=True)
        result = {name: float(value) for name, value in (word.split("=") for word in done.stdout.split())}
        result["cpu_us"] = (cpu_ns(self.process) - before) / 1000 / (options["requests"] + options["warmup"])
        result["rss_mib"] = self.process.rss_kib() / 1024
        return result


def cpu_ns(process):
    """To the nanosecond: what /proc says in ticks is too coarse for a run of a second."""
    return sum(int(path.read_text().split()[0]) for pid in process.pids() for path in pathlib.Path(f"/proc/{pid}/task").glob("*/schedstat"))


def interleaved(targets):
    """name -> median figures, of (target, options) measured in turn, after a run of each that does not count."""
    runs = {name: [] for name in targets}
    for target, options in targets.values():
        target.run(**{**options, "requests": max(options.get("requests", REQUESTS) // 10, 100)})
    for _ in range(bench.ROUNDS):
        for name, (target, options) in targets.items():
            runs[name].append(target.run(**options))
    return {name: {key: bench.median(run[key] for run in results) for key in results[0]} for name, results in runs.items()}


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for_port(process, port, seconds=30):
    end = time.monotonic() + seconds
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), 1):
                return process
        except OSError:
            if process.popen.poll() or time.monotonic() > end:
                raise RuntimeError(f"{process.popen.args[0]} does not serve:\n{process.log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.02)


def directory(folder, logins, guard):
    path = folder.path / f"directory-{logins}{'-guard' * guard}.mdb"
    if not path.exists():
        subprocess.run([TOOLS / "policy_directory", path, str(logins), LIMIT, *["guard"] * guard], check=True)
    return path


def start_policyd(folder, logins=1000, inet=False, guard=False, **load):
    """policyd on a unix socket, as in production, unless INET. GUARD: the takeover guard looks on, which no rival has."""
    port = free_port()
    path = folder.path / f"policyd-{port}.sock"
    address = f"inet:127.0.0.1:{port}" if inet else f"unix:{path}"
    conf = folder.path / f"policyd-{port}.conf"
    conf.write_text(f"[common]\ndirectory = {directory(folder, logins, guard)}\nnode = bench\nspool =\n[redis]\n"
                    f"socket = {folder.path}/redis.sock\nlocal = {folder.path}/counters-{port}.mdb\n[policyd]\n"
                    f"listen = {address}\nsocket_group =\nmax_connections = {IDLE + 2000}\n")
    process = folder.start([bench.BUILD / "bin" / "waybill-policyd", "-c", conf])
    process = wait_for_port(process, port) if inet else process.wait_for(path)
    return Target(process, address, logins=logins, **load)


def start_floor(folder, inet):
    port = free_port()
    path = folder.path / f"floor-{port}.sock"
    address = f"inet:127.0.0.1:{port}" if inet else f"unix:{path}"
    process = folder.start([TOOLS / "policy_floor", address])
    return Target(wait_for_port(process, port) if inet else process.wait_for(path), address, state="RCPT")


def start_redis(folder):
    path = folder.path / "redis.sock"
    return folder.start(["redis-server", "--port", "0", "--unixsocket", path, "--save", "", "--dir", folder.path]).wait_for(path)


class Background(bench.Process):
    """A server that leaves for the background and writes PID_FILE."""

    def __init__(self, words, log, pid_file):
        super().__init__(words, log)
        self.popen.wait()
        self.pid = int(pid_file.read_text())

    def pids(self):
        return [self.pid]

    def stop(self):
        """postfwd1 does not hear TERM."""
        os.kill(self.pid, signal.SIGKILL)


def start_postfwd(folder):
    port = free_port()
    rules, pid_file = folder.path / "postfwd.cf", folder.path / "postfwd.pid"
    rules.write_text(POSTFWD)
    process = Background(["postfwd1", "-d", "-f", rules, "-i", "127.0.0.1", "-p", port, "-u", "nobody", "-g", "nogroup", "--pidfile",
                          pid_file], folder.path / "postfwd.log", pid_file)
    return Target(wait_for_port(process, port), f"inet:127.0.0.1:{port}", state="RCPT", requests=REQUESTS // 10)


def start_rate_limit(folder):
    port = free_port()
    conf = folder.path / "rate-limit.yaml"
    conf.write_text(RATE_LIMIT.format(folder=folder.path, port=port))
    process = folder.start(["policyd-rate-limit", "-f", conf])
    return Target(wait_for_port(process, port), f"inet:127.0.0.1:{port}", state="RCPT", requests=REQUESTS // 25)


def redis_benchmark(folder, connections):
    """Calls a second of the very script, a login's one limit and the message's receipt, no pipeline."""
    sha = hashlib.sha1((bench.ROOT / "common" / "counters_charge.lua").read_bytes()).hexdigest()
    at, script = ["-s", folder.path / "redis.sock"], ["evalsha", sha, *script_words()]
    answer = output("redis-cli", *at, *script)
    if answer.split()[0] not in "01":
        raise RuntimeError(f"the script does not take what redis-benchmark sends: {answer}")
    out = output("redis-benchmark", *at, "-c", connections, "-n", REQUESTS, "-r", 1000, "--csv", *script)
    return float(out.splitlines()[-1].split('","')[1])


def output(*words):
    return subprocess.run([str(word) for word in words], check=True, stdout=subprocess.PIPE, text=True).stdout


def script_words():
    """Keys and arguments as policyd sends them for one limit of a speed: common/counters_charge.lua has their meaning."""
    return [2, "wb:{c1}:l:bench:user__rand_int__@c1.test", "wb:{c1}:r:bench:4j__rand_int__", "1a2b.__rand_int__.0", 3600, 1,
            "s10", 1, 1000000, " 1000000 1000000"]


def decisions(folder):
    """Beside the rivals over TCP, which is all they speak; the rest over a unix socket, as in production."""
    ours, over_tcp, rivals = start_policyd(folder, state="DATA"), start_policyd(folder, inet=True, state="DATA"), {}
    for name, start, program in (("postfwd", start_postfwd, "postfwd1"),
                                 ("policyd-rate-limit", start_rate_limit, "policyd-rate-limit")):
        if shutil.which(program):
            rivals[name] = start(folder)
        else:
            bench.note(name, "-", f"is not installed: apt-get install {name}")
    try:
        got = interleaved({**{c: (over_tcp, {"connections": c}) for c in (20, 100)},
                           **{("unix", c): (ours, {"connections": c}) for c in (20, 100)},
                           **{(name, c): (rival, {"connections": c}) for name, rival in rivals.items() for c in (20, 100)}})
    finally:
        for rival in [over_tcp, *rivals.values()]:
            rival.process.stop()
    for connections in (20, 100):
        mine = got[connections]
        for name, goal in (("postfwd", 13), ("policyd-rate-limit", 45)):
            if (name, connections) in got:
                rival = got[name, connections]["per_s"]
                bench.row(f"DATA with a limit, {connections} connections, decisions/s", f"{mine['per_s']:.0f}", f"{name} {rival:.0f}",
                          mine["per_s"] / rival, (">=", goal))
        unix = got["unix", connections]["per_s"]
        bench.note("  over a unix socket", f"{unix:.0f}",
                   ", ".join(f"{unix / got[name, connections]['per_s']:.1f} x {name}" for name in rivals))
    against_redis(folder, ours)
    few, many = got["unix", 20], got["unix", 100]
    bench.row("CPU a decision, us", f"{few['cpu_us']:.1f}", "", few["cpu_us"], ("<=", 10))
    bench.row("p99 at 20 connections, ms", f"{few['p99_us'] / 1000:.2f}", "", few["p99_us"] / 1000, ("<=", 0.6))
    bench.row("p99 at 100 connections, ms", f"{many['p99_us'] / 1000:.2f}", "", many["p99_us"] / 1000, ("<=", 2.5))
    guarded(folder, ours)
    ours.process.stop()


def guarded(folder, plain):
    watching = start_policyd(folder, state="DATA", guard=True)
    got = interleaved({(name, c): (target, {"connections": c})
                       for name, target in (("plain", plain), ("watching", watching)) for c in (20, 100)})
    for c in (20, 100):
        with_it, without = got["watching", c], got["plain", c]
        bench.note(f"  with the takeover guard, {c} connections", f"{with_it['per_s']:.0f}",
                   f"without {without['per_s']:.0f}; CPU {with_it['cpu_us']:.1f}, without {without['cpu_us']:.1f}")
    watching.process.stop()


def against_redis(folder, ours):
    """In turn with redis-benchmark, which has as many connections."""
    for connections in (20, 100):
        pairs = [(ours.run(connections=connections)["per_s"], redis_benchmark(folder, connections)) for _ in range(bench.ROUNDS)]
        mine, best = (bench.median(pair[i] for pair in pairs) for i in (0, 1))
        bench.row(f"the same, {connections} connections", f"{mine:.0f}", f"redis-benchmark {best:.0f}", mine / best, (">=", 0.55))


def recipients(folder):
    """Over TCP, as the rivals; over a unix socket, as in production, the kernel's part of the work is half as large."""
    for inet in (True, False):
        ours, floor = start_policyd(folder, inet=inet, state="RCPT"), start_floor(folder, inet)
        got = interleaved({"ours": (ours, {}), "floor": (floor, {})})
        mine, least = got["ours"], got["floor"]
        ratio = mine["per_s"] / least["per_s"]
        if inet:
            bench.row("RCPT, no Redis, decisions/s", f"{mine['per_s']:.0f}", f"DUNNO alone {least['per_s']:.0f}", ratio, (">=", 0.8))
        else:
            bench.note("  over a unix socket", f"{mine['per_s']:.0f}", f"DUNNO alone {least['per_s']:.0f}, {ratio:.2f} of it")
        bench.note("  CPU a decision, us", f"{mine['cpu_us']:.1f}", f"DUNNO alone {least['cpu_us']:.1f}")
        ours.process.stop()
        floor.process.stop()


def customers(folder):
    few, many = start_policyd(folder, logins=1, state="DATA"), start_policyd(folder, logins=MANY, state="DATA")
    many.run(requests=MANY, warmup=0)  # every login has its counters, as after a while
    got = interleaved({"few": (few, {}), "many": (many, {})})
    bench.row(f"{MANY} logins, decisions/s", f"{got['many']['per_s']:.0f}", f"one login {got['few']['per_s']:.0f}",
              got["many"]["per_s"] / got["few"]["per_s"], (">=", 0.9))
    few.process.stop()
    many.process.stop()


def idle(folder):
    ours = start_policyd(folder, state="DATA")
    got = interleaved({"alone": (ours, {}), "beside": (ours, {"idle": IDLE})})
    bench.row(f"memory with {IDLE} idle connections, MiB", f"{got['beside']['rss_mib']:.1f}", "", got["beside"]["rss_mib"], ("<=", 300))
    bench.note("  decisions/s beside them", f"{got['beside']['per_s']:.0f}", f"alone {got['alone']['per_s']:.0f}")
    ours.process.stop()


def hung(folder, redis):
    """Nobody waits longer than the time-out of 20 ms and a round of the loop."""
    ours = start_policyd(folder, state="DATA")
    ours.run(requests=REQUESTS // 10)
    os.kill(redis.popen.pid, signal.SIGSTOP)
    try:
        got = ours.run(warmup=0)
    finally:
        os.kill(redis.popen.pid, signal.SIGCONT)
    bench.row("Redis hung: longest wait, ms", f"{got['max_us'] / 1000:.1f}", "", got["max_us"] / 1000, ("<=", 30))
    bench.note("  decisions/s by the local store", f"{got['per_s']:.0f}", "")
    ours.process.stop()


def main():
    with bench.Folder() as folder:
        redis = start_redis(folder)
        decisions(folder)
        recipients(folder)
        customers(folder)
        idle(folder)
        hung(folder, redis)
    return 0


if __name__ == "__main__":
    sys.exit(main())
