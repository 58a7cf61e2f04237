"""DNS: unbound with local data alone, on port 53 of the stack's own loopback address (resolv.conf knows no other port).

What is not listed does not exist (NXDOMAIN). Records come and go while it runs.
"""

import subprocess

import dns.exception
import dns.message
import dns.query

from .errors import StackError


class Dns:
    def __init__(self, home, processes, address):
        self.folder, self.processes, self.address = home / "dns", processes, address
        self.conf, self.control, self.log = (
            self.folder / "unbound.conf",
            self.folder / "control",
            home / "log" / "unbound.log",
        )
        self.records = []

    def start(self):
        self.folder.mkdir(exist_ok=True)
        quoted = "".join(f"  local-data: '{record}'\n" for record in self.records)
        self.conf.write_text(
            _CONF.format(folder=self.folder, address=self.address, control=self.control, records=quoted)
        )
        self.processes.start("unbound", ["unbound", "-d", "-c", self.conf], self.log)
        self.processes.ready("unbound", self._answers, self.log)

    def stop(self):
        self.processes.stop("unbound")

    def add(self, *records):
        """Adds records in zone-file form, 'name. TTL IN TYPE data'; TXT strings of at most 255 bytes, quoted."""
        self.records += records
        if self.processes.pid("unbound"):
            self._control("local_datas", "".join(f"{record}\n" for record in records))

    def remove(self, name):
        """Removes all records of a name."""
        name = name.rstrip(".") + "."
        self.records = [record for record in self.records if record.split()[0] != name]
        self._control("local_data_remove", "", name)

    def txt(self, name, value):
        """Adds a TXT record, however long: pieces of 255 bytes, as RFC 6376 section 3.6.2.2 wants them joined."""
        pieces = " ".join(f'"{value[at:at + 255]}"' for at in range(0, len(value), 255))
        self.add(f"{name.rstrip('.')}. 60 IN TXT {pieces}")

    def query(self, name, kind, timeout=2):
        """The answers to a question, as texts."""
        answer = dns.query.udp_with_fallback(dns.message.make_query(name, kind), self.address, timeout=timeout)[0]
        return [item.to_text() for record in answer.answer for item in record]

    def lookup_txt(self, name, timeout=2):
        """For dkimpy's dnsfunc: the joined TXT value in bytes, None when there is none."""
        query = dns.message.make_query(name.decode() if isinstance(name, bytes) else name, "TXT")
        answer = dns.query.udp_with_fallback(query, self.address, timeout=timeout)[0]
        return next((b"".join(item.strings) for record in answer.answer for item in record), None)

    def _answers(self):
        try:
            self.query("relay.test.", "A", timeout=0.1)
            return True
        except (dns.exception.DNSException, OSError):
            return False

    def _control(self, command, text, *words):
        done = subprocess.run(
            ["unbound-control", "-c", self.conf, command, *words], input=text, text=True, capture_output=True
        )
        if done.returncode or "error" in done.stdout:
            raise StackError(f"unbound-control {command}: {done.stdout}{done.stderr}")


_CONF = """\
server:
  interface: {address}@53
  port: 53
  username: "unbound"
  chroot: ""
  directory: "{folder}"
  pidfile: ""
  use-syslog: no
  logfile: ""
  do-ip6: no
  access-control: 127.0.0.0/8 allow
  local-zone: "." static
{records}remote-control:
  control-enable: yes
  control-interface: {control}
  control-use-cert: no
"""
