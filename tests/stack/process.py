"""Processes: started detached with their output in a file, remembered on disk by pid and start time, ended by pid."""

import json
import os
import pathlib
import pwd
import signal
import subprocess
import time

from .errors import StackError, tail


def started_at(pid):
    """When the process started (clock ticks since boot), None when there is none. A zombie is none: init may take
    seconds to reap one."""
    try:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (OSError, ValueError):
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def wait_until(check, seconds=10, every=0.02):
    """Waits until CHECK() is true and returns its value; None when SECONDS have passed."""
    end = time.monotonic() + seconds
    while True:
        value = check()
        if value:
            return value
        if time.monotonic() > end:
            return None
        time.sleep(every)


class Processes:
    """The processes of one stack, in the order of their start. The ledger file lets another program end them."""

    def __init__(self, ledger):
        self.ledger = pathlib.Path(ledger)
        self.children = {}
        self.known = json.loads(self.ledger.read_text()) if self.ledger.exists() else {}

    def start(self, name, argv, log, account=None, env=None, cwd="/"):
        """Starts ARGV in a session of its own, output appended to LOG, as ACCOUNT; returns its pid. The environment is
        ENV and a few plain variables."""
        options = {}
        if account:
            entry = pwd.getpwnam(account)
            options = {
                "user": entry.pw_uid,
                "group": entry.pw_gid,
                "extra_groups": os.getgrouplist(account, entry.pw_gid),
            }
        with open(log, "ab") as output:
            child = subprocess.Popen(
                [str(word) for word in argv],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=cwd,
                env={**plain_environment(), **(env or {})},
                start_new_session=True,
                **options,
            )
        self.children[name] = child
        self.adopt(name, child.pid)
        return child.pid

    def adopt(self, name, pid):
        """Remembers a process that made itself a daemon."""
        started = started_at(pid)
        if started is not None:
            self.known[name] = [pid, started]
            self._save()

    def pid(self, name):
        """Its pid while it runs, else None."""
        pid, started = self.known.get(name, (0, None))
        return pid if started is not None and started_at(pid) == started else None

    def status(self, name):
        """The exit status of a child that has ended, else None."""
        child = self.children.get(name)
        return child.poll() if child else None

    def ready(self, name, check, log, seconds=20):
        """Waits until CHECK() is true; a server that ends or stays silent is an error that shows LOG."""

        def look():
            return check() or self.pid(name) is None

        if not wait_until(look, seconds) or not check():
            why = "ended" if self.pid(name) is None else f"is not ready after {seconds} s"
            raise StackError(f"{name} {why}; {log} ends:{tail(log)}")

    def kill(self, name, number):
        """Sends a signal to it, when it runs."""
        pid = self.pid(name)
        if pid:
            os.kill(pid, number)

    def stop(self, name, number=signal.SIGTERM, seconds=10):
        """Ends it: NUMBER, and after SECONDS SIGKILL. True when it ended by itself in time."""
        in_time = True
        pid = self.pid(name)
        if pid:
            os.kill(pid, number)
            in_time = bool(self._gone(name, seconds))
            if not in_time:
                os.kill(pid, signal.SIGKILL)
                self._gone(name, 5)
        self.known.pop(name, None)
        self._save()
        return in_time

    def stop_all(self):
        """Ends them all, the last started first."""
        for name in reversed(list(self.known)):
            self.stop(name, STOP_SIGNALS.get(name.rpartition("/")[2], signal.SIGTERM))

    def _gone(self, name, seconds):
        def look():
            self.status(name)  # reaps a child
            return self.pid(name) is None

        return wait_until(look, seconds)

    def _save(self):
        self.ledger.write_text(json.dumps(self.known))


# PostgreSQL's fast shutdown (pg_ctl's -m fast): it does not wait for clients.
STOP_SIGNALS = {"postgres": signal.SIGINT}


def plain_environment():
    """What a service manager would hand to a daemon: nothing of the caller's."""
    return {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "TZ": "UTC"}
