#!/usr/bin/python3
"""Makes postfix-short.log and postfix-long.log anew: what a real Postfix writes about every daemon and every outcome, once with
short and once with long queue ids. As root, in the project's folder:

    /usr/bin/python3 -m tests.golden.bouncer.make_postfix_logs

Two instances write one log: "postfix" takes mail in, "postfix-out" is its content filter's other side and the next hop with
TLS. Nothing is changed but the temporary folder's name. What was added or lost shows in the difference of the
.events (README.md)."""

import asyncio
import base64
import pathlib
import re
import shutil
import smtplib
import socket
import struct
import subprocess
import threading
import time

from tests.stack.paths import make_home
from tests.stack.ports import free_port
from tests.stack.process import plain_environment, wait_until
from tests.stack.tls import Tls

HERE = pathlib.Path(__file__).resolve().parent
REPLIES = {  # of the exchanger, by local part: (at RCPT, at the end of DATA)
    "gone": ("550 5.1.1 <{to}>: Recipient address rejected: User unknown in virtual mailbox table", None),
    "busy": ("450 4.2.0 <{to}>: Greylisted, see http://example.org/grey", None),
    "full": ("452 4.2.2 The email account that you tried to reach is over quota", None),
    "spam": (None, "554 5.7.1 Message content rejected, status=sent (250 ok) to=<x@y>, relay=none"),
    "later": (None, "451 4.3.0 Temporary local problem"),
}
MASTER = """
127.0.0.1:{smtp} inet n - n - - smtpd
127.0.0.1:{filtered} inet n - n - - smtpd -o content_filter=smtp:[127.0.0.1]:{out}
127.0.0.1:{verified} inet n - n - - smtpd -o {{smtpd_recipient_restrictions=reject_unverified_recipient, permit}}
127.0.0.1:{milted} inet n - n - - smtpd -o smtpd_milters=inet:127.0.0.1:{milter}
127.0.0.1:{orphaned} inet n - n - - smtpd -o smtpd_milters=inet:127.0.0.1:{nobody} -o milter_default_action=tempfail
pickup unix n - n 3 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
tls unix - - n - - smtp -o smtp_tls_security_level=encrypt
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
local unix - n n - - local
virtual unix - n n - - virtual
lmtp unix - - n - - lmtp
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
good unix - n n - - pipe user=nobody argv=/bin/true
bad unix - n n - - pipe user=nobody argv=/bin/false
tired unix - n n - - pipe user=nobody argv={home}/tired
"""
MAIN = """
compatibility_level = 3.6
queue_directory = {home}/{name}/queue
data_directory = {home}/{name}/data
maillog_file_prefixes = {home}
maillog_file = {home}/maillog
syslog_name = {syslog}
myhostname = mx1.relay.example
myorigin = relay.example
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
enable_long_queue_ids = {long}
mynetworks = 127.0.0.0/8 192.0.2.0/24
smtpd_reject_unlisted_recipient = no
smtpd_peername_lookup = no
smtp_dns_support_level = disabled
smtp_host_lookup = native
smtpd_authorized_xclient_hosts = 127.0.0.0/8
smtpd_authorized_xforward_hosts = 127.0.0.0/8
smtp_send_xforward_command = yes
smtpd_tls_chain_files = {chain}
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = inet:127.0.0.1:{sasl}
smtpd_tls_security_level = may
smtpd_tls_loglevel = 1
smtp_tls_loglevel = 1
minimal_backoff_time = 1000s
maximal_backoff_time = 1000s
in_flow_delay = 0
mailbox_size_limit = 0
message_size_limit = 20000
local_recipient_maps =
mydestination = {mydestination}
alias_maps = inline:{{ {{crowd = nobody, gone@mx.example}} }}
alias_database =
mail_spool_directory = {home}/mail/
virtual_mailbox_domains = virtual.example
virtual_mailbox_maps = inline:{{ box@virtual.example=box/ }}
virtual_mailbox_base = {home}/mail
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
virtual_alias_maps = inline:{{ alias@acme.example=jane@mx.example }}
transport_maps = inline:{{ {transports} }}
smtpd_recipient_restrictions = check_recipient_access inline:{{ {{no@mx.example=554 5.7.1 Not here}} {{held@mx.example=HOLD on a whim}} {{lost@mx.example=DISCARD}} {{warn@mx.example=permit}} }}, warn_if_reject reject_unlisted_recipient, permit
smtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination
header_checks = regexp:{home}/header_checks
"""
TRANSPORTS = ("lmtp.example=lmtp:inet:127.0.0.1:{lmtp}", "good.example=good:", "bad.example=bad:", "tired.example=tired:",
              "discard.example=discard:thrown_away", "error.example=error:5.7.1_no_mail_here", "retry.example=retry:4.3.0_not_today",
              "mx.example=smtp:[127.0.0.1]:{mx}", "acme.example=smtp:[127.0.0.1]:{mx}", "relay.example=smtp:[127.0.0.1]:{mx}", "tls.example=tls:[127.0.0.1]:{out}", "closed.example=smtp:[127.0.0.1]:{nobody}",
              "nowhere.example=smtp:[nowhere.invalid]")


class Exchanger(threading.Thread):
    """The next hop: SMTP and LMTP that answer by recipient."""

    def __init__(self, ports):
        super().__init__(daemon=True)
        self.ports, self.kind = ports, {}
        self.start()

    def run(self):
        from aiosmtpd.lmtp import LMTP
        from aiosmtpd.smtp import SMTP
        loop = asyncio.new_event_loop()
        for name, protocol in (("mx", SMTP), ("lmtp", LMTP)):
            made = loop.create_server(lambda protocol=protocol: protocol(self, hostname="mx.example", loop=loop), "127.0.0.1", self.ports[name])
            loop.run_until_complete(made)
        loop.run_forever()

    def reply(self, address, stage):
        local = address.split("@")[0]
        said = REPLIES.get(self.kind.get(local, local), (None, None))[stage]
        return said.format(to=address) if said else None

    async def handle_RCPT(self, server, session, envelope, address, options):
        said = self.reply(address, 0)
        if not said:
            envelope.rcpt_tos.append(address)
        return said or "250 2.1.5 Ok"

    async def handle_DATA(self, server, session, envelope):
        return next((said for said in (self.reply(to, 1) for to in envelope.rcpt_tos) if said), "250 2.0.0 Ok: queued as 4bXyZ12mN2z1vTc")


class Server(threading.Thread):
    """Serves each connection on a thread of its own."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", port))
        self.start()

    def run(self):
        while True:
            threading.Thread(target=self.serve, args=(self.listener.accept()[0],), daemon=True).start()


class Accounts(Server):
    """The least of Dovecot's authentication: every password is right."""

    def serve(self, connection):
        connection.sendall(b"VERSION\t1\t2\nMECH\tPLAIN\tplaintext\nSPID\t1\nCUID\t1\nCOOKIE\tx\nDONE\n")
        for line in connection.makefile("rb"):
            words = line.strip().split(b"\t")
            if words[0] == b"AUTH":
                said = next(base64.b64decode(word[5:]) for word in words if word.startswith(b"resp="))
                connection.sendall(b"OK\t" + words[1] + b"\tuser=" + said.split(b"\0")[1] + b"\n")


class Milter(Server):
    """The least of a milter: the header field X-Milter says what becomes of the message."""

    ANSWERS = {"reject": b"y554 5.7.1 Not with this subject\0", "tempfail": b"t", "discard": b"d", "hold": b"qon a whim\0"}

    def serve(self, connection):
        answer, stream = b"", connection.makefile("rb")
        while head := stream.read(4):
            packet = stream.read(struct.unpack("!I", head)[0])
            if packet[:1] in b"DAQK":  # macros, abort, quit: no reply
                answer = b"" if packet[:1] != b"D" else answer
                continue
            if packet[:1] == b"L" and packet.lower().startswith(b"lx-milter\0"):
                answer = self.ANSWERS[packet.split(b"\0")[1].strip().decode()]
            reply = b"c"
            if packet[:1] == b"O":  # all that is offered: actions 0x3f, every step
                reply = b"O" + struct.pack("!III", 6, 0x3F, 0)
            elif packet[:1] == b"E" and answer:
                reply = answer
                if answer[:1] == b"q":
                    connection.sendall(struct.pack("!I", len(answer)) + answer)
                    reply = b"c"
            connection.sendall(struct.pack("!I", len(reply)) + reply)


class Relay:
    def __init__(self, home, long_ids):
        self.home, self.sent = home, 0
        self.log = home / "maillog"
        names = "smtp filtered verified milted orphaned milter sasl mx lmtp out nobody o1 o2 o3 o4".split()
        self.ports = {name: free_port() for name in names}
        self.exchanger = Exchanger(self.ports)
        Milter(self.ports["milter"])
        Accounts(self.ports["sasl"])
        tls = Tls(home / "tls")
        tls.make()
        (home / "tired").write_text("#!/bin/sh\necho too tired\nexit 75\n")
        (home / "tired").chmod(0o755)
        (home / "header_checks").write_text("/^Subject: bad words/ REJECT mind your language\n/^Subject: keep/ HOLD for a look\n")
        (home / "mail").mkdir()
        (home / "mail").chmod(0o1777)
        transports = " ".join("{%s}" % t.format(**self.ports).replace("_", " ") for t in TRANSPORTS)
        self.make("in", "postfix", self.ports, "local.example", transports, long_ids, tls)
        inner = dict(self.ports, smtp=self.ports["out"], **dict(zip("filtered verified milted orphaned".split(), (self.ports[n] for n in ("o1", "o2", "o3", "o4")))))
        self.make("out", "postfix-out", inner, "", f"{{mx.example=smtp:[127.0.0.1]:{inner['mx']}}} {{tls.example=discard:arrived}}", long_ids, tls)

    def make(self, name, syslog, ports, mydestination, transports, long_ids, tls):
        folder = self.home / name
        for part in ("etc", "queue", "data"):
            (folder / part).mkdir(parents=True)
        shutil.chown(folder / "data", "postfix")
        (folder / "etc" / "master.cf").write_text(MASTER.format(home=self.home, **ports))
        (folder / "etc" / "main.cf").write_text(MAIN.format(
            home=self.home, name=name, syslog=syslog, long="yes" if long_ids else "no", chain=tls.chain, mydestination=mydestination,
            transports=transports, sasl=self.ports["sasl"]))
        self.run("postfix", "start", name=name)

    def run(self, program, *words, name="in", input=None):
        environment = {**plain_environment(), "MAIL_CONFIG": str(self.home / name / "etc")}
        where = () if program == "sendmail" else ("-c", self.home / name / "etc")
        done = subprocess.run([program, *where, *words], capture_output=True, text=True, env=environment, input=input)
        if done.returncode:
            raise RuntimeError(f"{program} {words}: {done.stdout}{done.stderr}{self.log.read_text() if self.log.exists() else ''}")
        return done.stdout

    def set(self, **parameters):
        self.run("postconf", "-e", *(f"{key}={value}" for key, value in parameters.items()))
        self.run("postfix", "reload")
        time.sleep(1.5)

    def send(self, *recipients, port="smtp", sender="billing@acme.example", login="acme-app", headers="", body="Hello\r\n"):
        """One transaction; returns the queue id, or None when it was refused."""
        self.sent += 1
        text = f"From: {sender}\r\nMessage-ID: <{self.sent}@acme.example>\r\n{headers}Subject: {body.split(chr(13))[0]}\r\n\r\n{body}"
        with smtplib.SMTP("127.0.0.1", self.ports[port], local_hostname="app.acme.example", timeout=20) as smtp:
            smtp.ehlo()
            smtp.docmd("XCLIENT", "NAME=app.acme.example ADDR=192.0.2.7")
            smtp.ehlo()
            try:
                if login:
                    smtp.login(login, "secret")
                smtp.mail(sender, [f"SIZE={len(text)}"] if len(text) > 20000 else [])
                for recipient in recipients:
                    smtp.rcpt(recipient)
                code, said = smtp.data(text.encode())
            except smtplib.SMTPException:
                return None
        found = re.search(rb"queued as (\w+)", said)
        return found[1].decode() if code == 250 and found else None

    def give_up(self, how):
        """A transaction that begins and is not ended."""
        smtp = smtplib.SMTP("127.0.0.1", self.ports["smtp"], local_hostname="app.acme.example")
        smtp.ehlo()
        smtp.mail("billing@acme.example")
        smtp.rcpt("jane@mx.example")
        getattr(smtp, how)()
        smtp.close()

    def until(self, pattern, times=1):
        """Waits for a line of the log."""
        if not wait_until(lambda: len(re.findall(pattern, self.log.read_text(errors="replace"))) >= times, seconds=30):
            raise RuntimeError(f"no {pattern} in {self.log}:\n{self.log.read_text(errors='replace')[-3000:]}")

    def done(self, *queue_ids):
        for queue_id in queue_ids:
            self.until(f"{queue_id}: removed")

    def deferred(self, *recipients, **options):
        queue_id = self.send(*recipients, **options)
        self.until(f"{queue_id}: to=.*status=(deferred|SOFTBOUNCE)")
        return queue_id

    def stop(self):
        for name in ("in", "out"):
            self.run("postfix", "stop", name=name)


def deliveries(relay):
    """Each delivery agent, each way to end."""
    relay.done(relay.send("jane@mx.example"), relay.send("gone@mx.example", "Jane@MX.example"), relay.send("spam@mx.example"),
               relay.send("alias@acme.example", '"odd > one, relay=x"@mx.example'), relay.send("jane@tls.example"),
               relay.send("joe@lmtp.example", "gone@lmtp.example"), relay.send("nobody@local.example"),
               relay.send("unknown-user@local.example"), relay.send("crowd@local.example"),
               relay.send("box@virtual.example", "none@virtual.example"), relay.send("x@good.example"), relay.send("x@bad.example"),
               relay.send("x@discard.example"), relay.send("x@error.example"), relay.send("x@nowhere.example"), relay.send("jane@mx.example", sender="", login=None))


def waits(relay):
    """Deferred, and then: delivered, expired, expired by force, deleted, held, released, requeued."""
    ids = [relay.deferred(*to) for to in (["busy@mx.example", "jane@mx.example"], ["full@mx.example"], ["x@tired.example"],
                                          ["x@retry.example"], ["x@closed.example"], ["later@mx.example"])]
    relay.deferred("y@closed.example", "z@closed.example")
    relay.exchanger.kind["busy"] = "fine"
    relay.run("postqueue", "-i", ids[0])
    relay.done(ids[0])
    relay.run("postsuper", "-d", ids[1])
    relay.run("postsuper", "-e", ids[2])
    relay.run("postqueue", "-f")
    relay.done(ids[2])
    relay.run("postsuper", "-h", ids[3])
    relay.run("postsuper", "-H", ids[3])
    relay.exchanger.kind["later"] = "fine"
    relay.run("postsuper", "-r", ids[5])
    relay.until("orig_id=" + ids[5])
    relay.until(r"to=<later@mx\.example>.*status=sent")
    held = relay.send("held@mx.example")
    relay.until(f"{held}: message-id")
    relay.run("postsuper", "-H", held)
    relay.run("postqueue", "-i", held)
    relay.done(held)
    kept = relay.send("jane@mx.example", body="keep it\r\n")
    relay.until(f"{kept}: hold:")
    relay.run("postsuper", "-d", kept)
    relay.set(maximal_queue_lifetime="1s")
    relay.run("postqueue", "-f")
    relay.until("status=expired", 3)
    relay.set(maximal_queue_lifetime="5d")


def odd_ways(relay):
    """soft_bounce, probes, a content filter, refusals and transactions without an end."""
    relay.set(soft_bounce="yes")
    soft = relay.deferred("gone@mx.example")
    relay.set(soft_bounce="no")
    relay.run("postqueue", "-i", soft)
    relay.done(soft)
    relay.send("jane@mx.example", port="verified")
    relay.send("gone@mx.example", port="verified")
    relay.send("jane@mx.example", port="verified")
    relay.send("gone@mx.example", port="verified")
    filtered = relay.send("jane@mx.example", "gone@mx.example", port="filtered")
    relay.done(filtered)
    relay.until(r"postfix-out/qmgr\[\d+\]: \w+: removed")
    relay.give_up("rset")
    relay.give_up("close")
    relay.send("no@mx.example")
    relay.send("no@mx.example", "jane@mx.example")
    relay.send("lost@mx.example")
    relay.send("jane@mx.example", body="bad words\r\n")
    relay.send("jane@mx.example", body="x" * 70 + "\r\n" + "y" * 21000)
    relay.set(mynetworks="127.0.0.0/8")
    relay.send("jane@elsewhere.example", login=None)
    relay.set(mynetworks="127.0.0.0/8 192.0.2.0/24")
    for what in Milter.ANSWERS:
        relay.send("jane@mx.example", port="milted", headers=f"X-Milter: {what}\r\n")
    relay.send("jane@mx.example", port="milted")
    relay.send("jane@mx.example", port="orphaned")
    relay.run("sendmail", "-f", "cron@relay.example", "jane@mx.example", input="Subject: local\n\nhello\n")
    relay.until("from=<cron@relay.example>, size")
    time.sleep(3)


def make(name, long_ids):
    home = make_home()
    try:
        relay = Relay(home, long_ids)
        try:
            deliveries(relay)
            waits(relay)
            odd_ways(relay)
        finally:
            relay.stop()
        text = relay.log.read_text(errors="replace").replace(str(home), "/var/relay")
        (HERE / f"{name}.log").write_text(text)
        print(f"{name}.log: {text.count(chr(10))} lines")
    finally:
        shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    make("postfix-short", False)
    make("postfix-long", True)
