"""The whole stack: what an installation shares, and its relay hosts."""

import os
import pathlib
import shutil
import subprocess
import sys

from .errors import StackError
from .node import Node
from .paths import make_home, reachable_programs, remove_home
from .ports import free_port, own_address
from .postgres import Postgres
from .process import Processes
from .receiver import Receiver
from .redis_server import Redis
from .sink import Sink
from .tls import Tls
from .unbound import Dns

ROOT = pathlib.Path(__file__).resolve().parents[2]
# The world that the relay sends to: an exchanger that answers by recipient (sink.py), and domains with a flaw.
ZONES = (
    "relay.test. 60 IN MX 10 mx.dest.test.",
    "relay.test. 60 IN A 127.0.0.1",
    "dest.test. 60 IN MX 10 mx.dest.test.",
    "mx.dest.test. 60 IN A {sink}",
    "other.test. 60 IN MX 10 mx.dest.test.",
    "nullmx.test. 60 IN MX 0 .",
    "closed.test. 60 IN MX 10 closed.dest.test.",
    "closed.dest.test. 60 IN A {closed}",
)


class Stack:
    """Use it as a context manager, or call start() and stop()."""

    def __init__(self, bin_dir, home=None, ports=None, settings=None):
        """BIN_DIR holds waybill's programs. HOME: where to live (paths.py), by default a fresh temporary folder."""
        if os.geteuid() != 0:
            raise StackError("needs root: Postfix's and Dovecot's masters do")
        self.wanted, self.home = home, make_home(home)
        (self.home / "log").mkdir()
        self.processes = Processes(self.home / "processes.json")
        address = own_address()
        octets = address.rpartition(".")
        self.tls = Tls(self.home / "tls")
        self.dns = Dns(self.home, self.processes, address)
        self.redis = Redis(self.home, self.processes)
        self.postgres = Postgres(self.home, self.processes)
        self.sink = Sink(self.home, self.processes, address, free_port(address))
        self.receiver = Receiver(self.home, self.processes, self.tls)
        self.dns.records += [zone.format(sink=address, closed=f"{octets[0]}.255") for zone in ZONES]
        self.node = Node(self, "mx1", reachable_programs(bin_dir, self.home), ports, settings)
        self.nodes = [self.node]
        self.guard = None

    def start(self):
        """Starts everything; stops all again when something does not come up."""
        self.guard = Guard(self.processes.ledger)
        try:
            self.start_servers()
            self.start_waybill()
        except BaseException:
            self.stop()
            raise
        return self

    def start_servers(self):
        """What is not ours."""
        self.tls.make()
        for server in (self.dns, self.redis, self.postgres, self.sink, self.receiver):
            server.start()
        self.node.prepare()

    def start_waybill(self):
        """Schema, keys, daemons: what an administrator does on the first day. Dovecot asks the schema for logins."""
        self.node.waybill("db", "migrate")
        self.node.waybill("seal", "init")
        self.node.start_mail()
        self.node.start()

    def add_node(self, name, settings=None):
        """One more relay host, running; it shares Redis, Postgres, DNS and the sink with the others."""
        node = Node(self, name, self.node.bin, settings=settings)
        self.nodes.append(node)
        node.prepare()
        node.start_mail()
        node.start()
        return node

    def leave(self):
        """The stack outlives this process; what stands in its ledger can be stopped by another."""
        self.guard.dismiss()

    def stop(self):
        """Stops everything. Postfix first: without its connections the daemons need not drain."""
        for node in self.nodes:
            self.processes.stop(node.postfix.name)
        self.processes.stop_all()
        if self.guard:
            self.guard.dismiss()

    def remove(self):
        """Removes the stopped stack's files."""
        if self.wanted:
            remove_home(self.wanted)
        else:
            shutil.rmtree(self.home, ignore_errors=True)

    def sanitizer_reports(self):
        return [report for node in self.nodes for report in node.sanitizer_reports()]

    def __enter__(self):
        return self.start()

    def __exit__(self, *exc):
        self.stop()


class Guard:
    """Ends the stack's processes when its starter dies without doing so: a small process that waits for the end of a
    pipe."""

    def __init__(self, ledger):
        read, self.write = os.pipe()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.stack.guard", str(ledger)],
            cwd=ROOT,
            stdin=read,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(read)

    def dismiss(self):
        """The stack may outlive its starter, or has ended."""
        if self.process:
            os.write(self.write, b"x")
            os.close(self.write)
            self.process.wait()
            self.process = None
