"""A private Postfix: Debian's own master.cf, the shipped fragments on top, and what makes it private.

The submission services are chrooted as Debian ships them, so the sockets of policyd, milter and Dovecot are reached the
way a real installation reaches them. Mail is routed by MX records of the stack's DNS; the exchangers listen on the
sink's port.
"""

import os
import pathlib
import re
import shutil
import signal
import subprocess
import time

from .errors import StackError, tail
from .ports import HOST, free_port
from .process import plain_environment

SHIPPED = pathlib.Path(__file__).resolve().parents[2] / "postfix-conf"
SERVICES = {"submission": 587, "submissions": 465, "2525": 2525}
MX = 25  # where mail comes back


class Postfix:
    def __init__(self, name, home, log, processes, tls, dns, sink, report, ports=None):
        """PORTS maps 587, 465, 2525 and 25 to the ports to use; free ones are picked for those not given. REPORT: the
        account and the words with which pipe(8) starts waybill-report."""
        self.name, self.processes = f"{name}/postfix", processes
        self.etc, self.queue, self.data = home / "etc", home / "queue", home / "data"
        self.tls, self.dns, self.sink, self.report = tls, dns, sink, report
        self.hostname = f"{name}.relay.test"
        self.maillog = home / "maillog"
        self.start_log = log / f"{name}-postfix.log"
        self.ports = {port: (ports or {}).get(port) or free_port() for port in (*SERVICES.values(), MX)}

    def prepare(self):
        """Writes the configuration and makes the queue, so that other servers can put their sockets there."""
        for folder in (self.etc, self.queue, self.data):
            folder.mkdir(exist_ok=True)
        shutil.chown(self.data, "postfix")
        (self.etc / "master.cf").write_text(self._master_cf())
        (self.etc / "main.cf").write_text(self._main_cf())
        self._settle()
        (self.queue / "etc").mkdir(exist_ok=True)
        (self.queue / "etc" / "resolv.conf").write_text(f"nameserver {self.dns.address}\n")
        for name in ("services", "hosts", "nsswitch.conf"):
            if pathlib.Path("/etc", name).exists():
                shutil.copy(pathlib.Path("/etc", name), self.queue / "etc" / name)
        self._postfix("check")

    def start(self):
        """When it returns, the ports are open."""
        self._postfix("start")
        self.processes.adopt(self.name, int((self.queue / "pid" / "master.pid").read_text()))

    def stop(self):
        self.processes.stop(self.name, signal.SIGTERM)

    def reload(self):
        self._postfix("reload")

    def flush(self):
        """Tries deferred mail again, now."""
        subprocess.run(["postqueue", "-c", self.etc, "-f"], check=True)

    def queued(self):
        """The queue, as postqueue -p prints it."""
        return subprocess.run(["postqueue", "-c", self.etc, "-p"], check=True, capture_output=True, text=True).stdout

    def set(self, **parameters):
        """Changes main.cf while it runs, as postconf -e does."""
        words = [f"{name} = {value}" for name, value in parameters.items()]
        subprocess.run(["postconf", "-c", self.etc, "-e", *words], check=True)
        self._settle()
        self.reload()

    def _settle(self):
        """Postfix reads a main.cf of this second again and again until it has stood for one: make it older."""
        os.utime(self.etc / "main.cf", times=(time.time() - 60,) * 2)

    def _postfix(self, command):
        with open(self.start_log, "ab") as output:
            done = subprocess.run(
                ["postfix", "-c", self.etc, command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=plain_environment(),
            )
        if done.returncode:
            raise StackError(f"postfix {command} failed: {tail(self.start_log)}{tail(self.maillog)}")

    def _master_cf(self):
        """Debian's entries, then ours, on this stack's ports."""
        debian = pathlib.Path("/usr/share/postfix/master.cf.dist").read_text()
        ours = (SHIPPED / "master.cf").read_text()
        for service, port in SERVICES.items():
            ours, count = re.subn(rf"(?m)^{service} inet", f"{HOST}:{self.ports[port]} inet", ours)
            if count != 1:
                raise StackError(f"postfix-conf/master.cf has no service {service}")
        account, words = self.report
        ours, count = re.subn(r"user=waybill_report argv=\S+", f"user={account} argv={' '.join(map(str, words))}", ours)
        if count != 1:
            raise StackError("postfix-conf/master.cf has no waybill-report")
        return re.sub(r"(?m)^smtp +inet", f"{HOST}:{self.ports[MX]} inet", debian) + ours

    def _main_cf(self):
        fragment = (SHIPPED / "main.cf").read_text()
        own = _MAIN.format(
            etc=self.etc,
            queue=self.queue,
            data=self.data,
            maillog=self.maillog,
            home=self.etc.parent,
            hostname=self.hostname,
            tls=self.tls.chain,
            sink_port=self.sink.port,
        )
        if not self.dns.address:
            own += _NO_DNS.format(address=self.sink.address, port=self.sink.port)
        # Of a parameter that is given twice Postfix takes the last, with a warning: ours may only replace maillog_file.
        return re.sub(r"(?m)^maillog_file = .*\n", "", fragment) + own


_MAIN = """
# What makes this Postfix a private one.
compatibility_level = 3.6
queue_directory = {queue}
data_directory = {data}
maillog_file_prefixes = {home}
maillog_file = {maillog}
syslog_name = postfix
myhostname = {hostname}
mydomain = relay.test
myorigin = relay.test
mydestination =
local_transport = error:no local delivery
local_recipient_maps =
alias_maps =
alias_database =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.1/32
smtpd_peername_lookup = no
smtpd_tls_security_level = may
smtpd_tls_chain_files = {tls}
smtp_tls_security_level = none
smtp_tcp_port = {sink_port}
smtp_connect_timeout = 5s
biff = no

# Tests retry by flushing the queue, and may come in great numbers from one address.
minimal_backoff_time = 300s
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
in_flow_delay = 0
"""
_NO_DNS = """
smtp_dns_support_level = disabled
relayhost = [{address}]:{port}
"""
