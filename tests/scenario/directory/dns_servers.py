"""Authoritative DNS servers, several for one zone, each with a mind of its own."""

from tests.stack.ports import own_address
from tests.stack.process import Processes
from tests.stack.unbound import Dns


class Zone:
    """A zone with COUNT servers, unbounds with local data; the stack's resolver knows its NS records and shows what the
    first server shows."""

    def __init__(self, stack, name, count=2):
        self.stack, self.name, self.servers = stack, name, []
        for number in range(count):
            home = stack.home / f"{name}-ns{number}"
            (home / "log").mkdir(parents=True)
            server = Dns(home, Processes(home / "processes.json"), own_address())
            server.start()
            self.servers.append(server)
            stack.dns.add(f"{name}. 60 IN NS ns{number}.{name}.", f"ns{number}.{name}. 60 IN A {server.address}")

    def publish(self, record, servers=None):
        """Publishes a record that waybill printed with --json, at all servers or those named by number."""
        for number, server in enumerate(self.servers):
            if servers is None or number in servers:
                server.txt(record["name"], record["value"])

    def withdraw(self, name):
        for server in self.servers:
            server.remove(name)

    def stop(self):
        for server in self.servers:
            server.stop()
