"""One relay host: Dovecot, Postfix and waybill's daemons, set up as a sysadmin would."""

import json
import re
import shutil
import signal
import subprocess

from .dovecot import Dovecot
from .errors import StackError, tail
from .postfix import Postfix
from .process import plain_environment

# waybill's daemons in the order of their start, with the words behind the program's name.
DAEMONS = {
    "follow": ("waybill", "directory", "follow"),
    "policyd": ("waybill-policyd",),
    "milter": ("waybill-milter",),
    "bouncer": ("waybill-bouncer",),
    "webhookd": ("waybill-webhookd",),
}
# The account they change to. Debian has it on every machine, and no file of the system belongs to it.
ACCOUNT = "nobody"
SANITIZER = re.compile(r"(Address|Leak|Thread|UndefinedBehavior)Sanitizer|runtime error: ")
SANITIZER_OPTIONS = {
    "ASAN_OPTIONS": "abort_on_error=0:exitcode=99:detect_stack_use_after_return=1",
    "UBSAN_OPTIONS": "print_stacktrace=1",
    "TSAN_OPTIONS": "exitcode=99",
}


class Node:
    def __init__(self, stack, name, bin_dir, ports=None, settings=None):
        """SETTINGS, {"section": {"key": value}}, stand above the ordinary ones; None takes a key out."""
        self.stack, self.name, self.bin = stack, name, bin_dir
        self.home, self.log, self.processes = stack.home / name, stack.home / "log", stack.processes
        self.conf, self.settings = self.home / "waybill.conf", settings or {}
        report = (ACCOUNT, (self.bin / "waybill-report", "-c", self.conf))
        self.postfix = Postfix(name, self.home, self.log, stack.processes, stack.tls, stack.dns, stack.sink, report, ports)
        self.dovecot = Dovecot(
            name, self.home, self.log, stack.processes, stack.postgres, self.postfix.queue / "private" / "auth"
        )

    def prepare(self):
        """Folders and configuration; then the waybill command works."""
        self.home.mkdir(exist_ok=True)
        self.postfix.prepare()
        for folder in (self.state, self.sockets):
            folder.mkdir(exist_ok=True)
            shutil.chown(folder, ACCOUNT)
        self.postfix.maillog.touch()
        self.write_conf()

    @property
    def state(self):
        """What the daemons keep on this host."""
        return self.home / "state"

    @property
    def sockets(self):
        """Where Postfix, inside its chroot, finds them."""
        return self.postfix.queue / "waybill"

    def write_conf(self, settings=None):
        """Writes waybill.conf, with SETTINGS in place of the node's own."""
        if settings is not None:
            self.settings = settings
        content = {section: {**keys, **self.settings.get(section, {})} for section, keys in self._defaults().items()}
        content.update({section: keys for section, keys in self.settings.items() if section not in content})
        self.conf.write_text("".join(_section(name, keys) for name, keys in content.items()))

    def _defaults(self):
        postgres = self.stack.postgres
        seal_key, webhook_key = self.stack.home / "seal.key", self.stack.home / "webhook.key"
        return {
            "common": {
                "user": ACCOUNT,
                "node": self.name,
                "directory": self.state / "directory.mdb",
                "spool": self.state / "spool",
            },
            "redis": {"socket": self.stack.redis.socket, "local": self.state / "counters.mdb"},
            "policyd": {"listen": f"unix:{self.sockets}/policyd", "socket_group": "postfix"},
            "milter": {"listen": f"unix:{self.sockets}/milter", "socket_group": "postfix", "seal_key": seal_key},
            "bouncer": {"log": self.postfix.maillog, "postgres": postgres.conninfo("waybill_bouncer")},
            "report": {"postgres": postgres.conninfo("waybill_report")},
            "webhookd": {
                "postgres": postgres.conninfo("waybill_webhookd"),
                "webhook_key": webhook_key,
                "ports": self.stack.receiver.port,
                "allow_networks": "127.0.0.0/8",
                "ca_file": self.stack.tls.ca,
            },
            "directory": {"postgres": postgres.conninfo("waybill_follow"), "poll": "100ms"},
            "ctl": {
                "postgres": postgres.conninfo("postgres"),
                "seal_key": seal_key,
                "webhook_key": webhook_key,
                "resolver": f"{self.stack.dns.address}:53",
            },
        }

    def start_mail(self):
        self.dovecot.start()
        self.postfix.start()

    def start(self, *names):
        """Starts waybill's daemons, all of them or those named, and waits until each says that it serves."""
        for name in names or DAEMONS:
            program, *words = DAEMONS[name]
            seen = self.log_text(name).count(READY)
            self.processes.start(
                f"{self.name}/{name}",
                [self.bin / program, "-c", self.conf, *words],
                self.log_file(name),
                env=SANITIZER_OPTIONS,
            )
            self.processes.ready(
                f"{self.name}/{name}", lambda: self.log_text(name).count(READY) > seen, self.log_file(name)
            )

    def stop(self, *names, number=signal.SIGTERM):
        """Stops waybill's daemons, all of them or those named; one that does not end in time is an error."""
        for name in names or reversed(DAEMONS):
            if not self.processes.stop(f"{self.name}/{name}", number):
                raise StackError(f"{name} did not end within 10 s; its log ends:{tail(self.log_file(name))}")

    def restart(self, *names, number=signal.SIGTERM):
        self.stop(*names, number=number)
        self.start(*names)

    def running(self, name):
        """Does the daemon run?"""
        return self.processes.pid(f"{self.name}/{name}") is not None

    def log_file(self, name):
        return self.log / f"{self.name}-{name}.log"

    def log_text(self, name):
        try:
            return self.log_file(name).read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def waybill(self, *words, ok=True, input=None):
        """Runs the waybill command as root; returns what it did. OK: a failure is an error that shows why."""
        done = subprocess.run(
            [self.bin / "waybill", "-c", self.conf, *map(str, words)],
            input=input,
            capture_output=True,
            text=True,
            env={**plain_environment(), **SANITIZER_OPTIONS},
            timeout=60,
        )
        if ok and done.returncode:
            raise StackError(f"waybill {' '.join(map(str, words))}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def waybill_json(self, *words):
        """The rows that waybill prints with --json: JSON Lines."""
        return [json.loads(line) for line in self.waybill(*words, "--json").stdout.splitlines() if line.strip()]

    def sanitizer_reports(self):
        """Logs of this node's daemons in which a sanitizer speaks."""
        return [
            f"{self.log_file(name)}:{tail(self.log_file(name), 40)}"
            for name in DAEMONS
            if SANITIZER.search(self.log_text(name))
        ]


# What daemon_ready() logs.
READY = ": ready"


def _section(name, keys):
    """A section of an INI file; a key whose value is None is left out."""
    return f"[{name}]\n" + "".join(f"{key} = {value}\n" for key, value in keys.items() if value is not None) + "\n"
