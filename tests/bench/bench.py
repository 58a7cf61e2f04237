"""What the benchmarks share: where the programs are, how much to do, processes with their CPU time, rows of figures."""

import os
import pathlib
import shutil
import statistics
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("WAYBILL_BENCH_BUILD") or ROOT / "build" / "release")
QUICK = bool(os.environ.get("WAYBILL_BENCH_QUICK"))
ROUNDS = 1 if QUICK else 3
CPUCLOCK_SCHED = 2  # Linux, include/linux/posix-timers.h


def amount(full, quick):
    return quick if QUICK else full


def row(figure, ours, against, ratio, goal):
    """One line: the figure, ours, the rival's or the limit, the ratio or difference, the goal as (comparison, number)."""
    comparison, number = goal
    met = ratio >= number if comparison == ">=" else ratio <= number
    print(f"{figure:<44} {ours:>12} {against:>24} {ratio:>9.2f}  {comparison} {number:<8g} {'met' if met else 'MISSED'}", flush=True)
    return met


def note(figure, ours, why):
    print(f"{figure:<44} {ours:>12} {why}", flush=True)


def median(values):
    return statistics.median(list(values))


class Process:
    """A server under measurement with its children."""

    def __init__(self, words, log, **options):
        self.popen = subprocess.Popen([str(word) for word in words], stdin=subprocess.DEVNULL, stdout=open(log, "ab"),
                                      stderr=subprocess.STDOUT, **options)
        self.log = pathlib.Path(log)

    def pids(self):
        children, todo = [], [self.popen.pid]
        while todo:
            pid = todo.pop()
            children.append(pid)
            for path in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
                try:
                    todo += [int(word) for word in path.read_text().split()]
                except OSError:
                    pass
        return children

    def cpu_s(self):
        """To the nanosecond: the clock of clock_getcpuclockid(3), threads that ended included; a child that ends is not."""
        total = 0
        for pid in self.pids():
            try:
                total += time.clock_gettime(~pid << 3 | CPUCLOCK_SCHED)
            except OSError:
                if pid == self.popen.pid:
                    raise
        return total

    def rss_kib(self, kind="VmRSS"):
        """KIND: VmRSS all that is resident, RssAnon its own memory, RssFile what it maps of files."""
        total = 0
        for pid in self.pids():
            for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
                if line.startswith(f"{kind}:"):
                    total += int(line.split()[1])
        return total

    def wait_for(self, path, seconds=60):
        end = time.monotonic() + seconds
        while not pathlib.Path(path).exists():
            if self.popen.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"{self.popen.args[0]} does not serve {path}:\n{self.log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.02)
        return self

    def stop(self):
        pids = self.pids()
        self.popen.terminate()
        try:
            self.popen.wait(timeout=20)
        except subprocess.TimeoutExpired:
            for pid in pids:
                os.kill(pid, 9)
            self.popen.wait()


class Folder:
    """A folder for one benchmark; what was started through it is stopped when it goes."""

    def __enter__(self):
        self.path = pathlib.Path(tempfile.mkdtemp(prefix="waybill-bench-"))
        self.path.chmod(0o1777)
        self.processes = []
        return self

    def start(self, words, **options):
        name = pathlib.Path(str(words[0])).name
        self.processes.append(Process(words, self.path / f"{name}.log", **options))
        return self.processes[-1]

    def __exit__(self, *_):
        for process in reversed(self.processes):
            if process.popen.poll() is None:
                process.stop()
        shutil.rmtree(self.path, ignore_errors=True)
