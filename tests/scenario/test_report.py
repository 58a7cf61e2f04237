"""Mail that comes back, through real Postfix and pipe(8): a message leaves with a return path, and bounces, complaints,
answers and requests to that address become events, suppressions and webhooks. What is not proved changes nothing."""

import email.message
import email.policy
import json
import pathlib
import shutil
import smtplib
import subprocess

import pytest

from tests.stack.client import compose, submit
from tests.stack.customers import Login, add_domain, add_endpoint, add_login
from tests.stack.ports import HOST
from tests.stack.wait import wait_for

DOMAIN, RETURN = "mailer.test", "return.relay.test"
GOLDEN = pathlib.Path(__file__).resolve().parents[1] / "golden" / "formats"
FORMATS = ("waybill", "sendgrid", "mailgun", "postmark", "ses")


class Mailer:
    """A customer whose mail has return paths, one endpoint in each format, and what comes back to it."""

    def __init__(self, stack, login):
        self.stack, self.login, self.number = stack, login, 0

    def send(self, *recipients):
        """A message that was delivered: what the sink has."""
        self.number += 1
        message_id = f"{self.number}@{DOMAIN}"
        reply = submit(self.stack.node, self.login, f"app@{DOMAIN}", list(recipients),
                       compose(f"app@{DOMAIN}", list(recipients), "Paid", message_id))
        assert reply.accepted, reply
        found = wait_for("the message at the sink", lambda: self.stack.sink.find(message_id))[0]
        wait_for("its log in the database", lambda: len(self.rows(
            "SELECT 1 FROM waybill.events WHERE message_id = %s AND type = 'message.delivered'", message_id)) == len(recipients))
        return Sent(message_id, found["mail_from"], found["bytes"])

    def rows(self, sql, *parameters):
        return self.stack.postgres.execute(sql, parameters)

    def events(self, sent, kind=None):
        return self.rows("SELECT * FROM waybill.events WHERE message_id = %s AND source_kind NOT IN ('log', 'spool') "
                         "AND type = coalesce(%s, type) ORDER BY seq", sent.message_id, kind)

    def event(self, sent, kind):
        """The one event that a report made."""
        [event] = wait_for(kind, lambda: self.events(sent, kind))
        return event

    def set_aside(self, address):
        return self.rows("SELECT * FROM support.unverified_reports WHERE report ->> 'sent_to' = %s ORDER BY id", address)

    def suppression(self, recipient):
        return {row["recipient"]: row["reason"] for row in self.rows(
            "SELECT recipient, reason FROM waybill.suppressions WHERE customer = 'mailer' AND recipient = %s", recipient)}

    def posted(self, sent, kind, example):
        """The native webhook of an event, of the shape that doc/webhooks.md shows under EXAMPLE's name."""
        def look():
            posts = [(post, json.loads(post["body"])) for post in self.stack.receiver.deliveries("/waybill")]
            return [(post, body) for post, body in posts
                    if body["type"] == kind and body["data"]["message_id"] == sent.message_id]
        [(post, body)] = wait_for(f"the webhook of {kind}", look)
        assert post["verified"], post["error"]
        check_as_documented(body, example)
        return body


def check_as_documented(body, example):
    """The examples in doc/webhooks.md are the golden files (webhookd/test_docs.py): the same keys have something to say."""
    shown = json.loads((GOLDEN / f"{example}.waybill.json").read_text())["data"]
    found = body["data"]
    assert set(found) == set(shown)
    for key in ("smtp", "remote", "delays", "bounce", "suppression", "detail"):
        assert set(found[key] or ()) == set(shown[key] or ()), key
    assert found["source"] == shown["source"]


class Sent:
    def __init__(self, message_id, return_path, content):
        self.message_id, self.return_path, self.content = message_id, return_path, content
        self.token = return_path.partition("@")[0][2:]


def deliver(stack, recipient, content, sender=""):
    """As a stranger's server does, at port 25."""
    if not isinstance(content, bytes):
        content = content.as_bytes(policy=email.policy.SMTP)
    with smtplib.SMTP(HOST, stack.node.postfix.ports[25], local_hostname="mx.dest.test", timeout=60) as client:
        client.sendmail(sender, [recipient], content)


def report_mail(kind, parts, **fields):
    """A multipart/report of PARTS, each (type, text)."""
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in {
        "From": "Mail Delivery System <MAILER-DAEMON@mx.dest.test>", "Subject": "Report", **fields}.items()]
    lines += ["MIME-Version: 1.0", f'Content-Type: multipart/report; report-type={kind}; boundary="=-"', ""]
    for part, text in parts:
        lines += ["--=-", f"Content-Type: {part}", "", text]
    return "\r\n".join([*lines, "--=---", ""]).replace("\r\n", "\n").replace("\n", "\r\n").encode()


def dsn(recipient, status="5.1.1", said="550 5.1.1 User unknown", action="failed", returned="Subject: Paid\n"):
    return report_mail("delivery-status", [
        ("text/plain", "It could not be delivered.\n"),
        ("message/delivery-status", f"Reporting-MTA: dns; mx.dest.test\n\nFinal-Recipient: rfc822; {recipient}\n"
         f"Action: {action}\nStatus: {status}\nRemote-MTA: dns; inner.dest.test\nDiagnostic-Code: smtp; {said}\n"),
        ("text/rfc822-headers", returned)])


def arf(returned, kind="abuse", more=""):
    return report_mail("feedback-report", [
        ("text/plain", "This is spam.\n"),
        ("message/feedback-report", f"Feedback-Type: {kind}\nUser-Agent: Loop/1\nVersion: 1\n{more}"),
        ("message/rfc822", returned)], From="fbl@dest.test")


def returned(sent, recipient):
    """The message as its recipient's server has it."""
    return f"Return-Path: <{sent.return_path}>\nDelivered-To: {recipient}\n{sent.content.decode()}"


def plain(subject, sender, text="I am away.\n", **fields):
    message = email.message.EmailMessage()
    message["From"], message["Subject"] = sender, subject
    for name, value in fields.items():
        message[name.replace("_", "-")] = value
    message.set_content(text)
    return message


@pytest.fixture(scope="module")
def mailer(stack):
    node = stack.node
    key = stack.home / "return-path.key"
    key.write_text("5a" * 32 + "\n")
    key.chmod(0o640)
    shutil.chown(key, "root", "nogroup")
    # The relay's own signature vouches for the address of complaints (RFC 9477).
    node.waybill("customer", "add", "relay")
    add_domain(stack, "relay", RETURN)
    node.write_conf({"milter": {"return_path_host": RETURN, "return_path_key": key, "relay_domain": RETURN,
                                "cfbl_address": f"complaints@{RETURN}"}})
    node.restart("milter")
    node.waybill("customer", "add", "mailer", "--return-path", "on")
    add_domain(stack, "mailer", DOMAIN)
    login = add_login(stack, "mailer", "mailer-app")
    for name in FORMATS:
        add_endpoint(stack, "mailer", f"/{name}", "--format", name)
    wait_for("the login in the snapshot", lambda: submit(node, login, f"app@{DOMAIN}", "first@dest.test", compose(
        f"app@{DOMAIN}", "first@dest.test", "first")).accepted)
    return Mailer(stack, Login(login.name, login.password))


def refused(mailer, recipient):
    reply = submit(mailer.stack.node, mailer.login, f"app@{DOMAIN}", [recipient], compose(f"app@{DOMAIN}", recipient, "Again"))
    return reply if reply.code >= 500 else None


def test_bounce(stack, mailer):
    sent = mailer.send("gone@dest.test")
    assert sent.return_path.startswith("b+") and sent.return_path.endswith(f"@{RETURN}")
    deliver(stack, sent.return_path, dsn("gone@dest.test"))
    event = mailer.event(sent, "message.bounced")
    log = mailer.rows("SELECT * FROM waybill.events WHERE message_id = %s AND type = 'message.delivered'", sent.message_id)[0]
    same = ("customer", "host", "queue_id", "sender", "recipient", "recipient_domain", "sasl_username", "client_ip", "size")
    assert {key: event[key] for key in same} == {key: log[key] for key in same}
    assert (event["bounce_class"], event["bounce_category"], event["bounce_scope"], event["bounce_async"]) == \
        ("hard", "bad-mailbox", "recipient", True)
    assert (event["smtp_code"], event["enhanced_code"], event["remote_mx"], event["source_kind"], event["suppression"]) == \
        (550, "5.1.1", "inner.dest.test", "dsn", "added")
    assert mailer.suppression("gone@dest.test") == {"gone@dest.test": "hard-bounce"}
    body = mailer.posted(sent, "message.bounced", "asynchronous")
    assert body["data"]["bounce"]["async"] is True and body["data"]["source"]["kind"] == "dsn"
    assert body["data"]["suppression"]["action"] == "added"
    wait_for("the next mail refused", lambda: refused(mailer, "gone@dest.test"))
    # The same again, and another about the same: nothing more happens.
    deliver(stack, sent.return_path, dsn("gone@dest.test"))
    deliver(stack, sent.return_path, dsn("gone@dest.test", said="550 5.1.1 Still unknown"))
    wait_for("the queue empty", lambda: "is empty" in stack.node.postfix.queued())
    assert len(mailer.events(sent)) == 1


def test_events_name_the_sender_that_the_application_gave(stack, mailer):
    """Its return path is the relay's own matter; whoever looks for the address finds the message."""
    sent = mailer.send("sender@dest.test")
    assert sent.return_path.endswith(f"@{RETURN}")
    assert {row["sender"] for row in mailer.rows("SELECT sender FROM waybill.events WHERE message_id = %s", sent.message_id)} == {
        f"app@{DOMAIN}"}
    assert mailer.posted(sent, "message.delivered", "delivered")["data"]["sender"] == f"app@{DOMAIN}"
    assert sent.message_id in stack.node.waybill("gdpr", "export", f"app@{DOMAIN}", "--json").stdout


def test_the_relays_own_notice_is_no_news(stack, mailer):
    """What the next hop refuses stands in the log; Postfix's notice to the return path says it a second time."""
    reply = submit(stack.node, mailer.login, f"app@{DOMAIN}", ["unknown-own@dest.test"],
                   compose(f"app@{DOMAIN}", "unknown-own@dest.test", "Paid", f"own@{DOMAIN}"))
    assert reply.accepted, reply
    maillog = stack.node.postfix.maillog
    wait_for("the notice", lambda: f"{reply.queue_id}: sender non-delivery notification" in maillog.read_text())
    wait_for("the queue empty", lambda: "is empty" in stack.node.postfix.queued())
    found = mailer.rows("SELECT type, bounce_async FROM waybill.events WHERE queue_id = %s AND type = 'message.bounced'", reply.queue_id)
    assert [(row["type"], row["bounce_async"]) for row in found] == [("message.bounced", False)]
    assert not mailer.rows("SELECT 1 FROM support.unverified_reports WHERE queue_id = %s", reply.queue_id)


def test_what_is_about_us_suppresses_nobody(stack, mailer):
    sent = mailer.send("strict@dest.test")
    deliver(stack, sent.return_path, dsn("strict@dest.test", "5.7.1", "550 5.7.1 Your IP address is blacklisted"))
    assert mailer.event(sent, "message.bounced")["bounce_category"] == "ip-blocked"
    assert not mailer.suppression("strict@dest.test")


@pytest.mark.parametrize("action", ["delayed", "delivered", "relayed"])
def test_no_bounce(stack, mailer, action):
    sent = mailer.send("slow@dest.test")
    deliver(stack, sent.return_path, dsn("slow@dest.test", "4.4.1" if action == "delayed" else "2.0.0", "no answer", action))
    wait_for("the queue empty", lambda: "is empty" in stack.node.postfix.queued())
    assert not mailer.events(sent) and not mailer.set_aside(sent.return_path)


def test_only_those_of_the_message(stack, mailer):
    """A report names whom it likes; a forwarded address is the one that we wrote to."""
    sent = mailer.send("alias@dest.test")
    deliver(stack, sent.return_path, dsn("behind@forwarded.test"))
    assert mailer.event(sent, "message.bounced")["recipient"] == "alias@dest.test"
    assert not mailer.suppression("behind@forwarded.test")
    sent = mailer.send("one@dest.test", "two@other.test")
    deliver(stack, sent.return_path, dsn("victim@dest.test"))
    [kept] = wait_for("the account", lambda: mailer.set_aside(sent.return_path))
    assert kept["customer"] == "mailer" and "nobody whom the message went to" in kept["why"]
    deliver(stack, sent.return_path, dsn("two@other.test"))
    assert mailer.event(sent, "message.bounced")["recipient"] == "two@other.test"
    assert not mailer.suppression("victim@dest.test") and not mailer.suppression("one@dest.test")


def test_forged(stack, mailer):
    """Nothing but an account of it, whatever the address looks like; the sender is told nothing."""
    sent = mailer.send("safe@dest.test")
    other = "a" if sent.token[20] != "a" else "b"
    forged = [f"b+{sent.token[:20]}{other}{sent.token[21:]}@{RETURN}", f"b+{sent.token[:-8]}@{RETURN}", f"complaints@{RETURN}",
              f"b+{'a' * 61}@{RETURN}", f"u+{sent.token[::-1]}@{RETURN}"]
    for address in forged:
        deliver(stack, address, dsn("safe@dest.test"))
    for address in forged:
        [kept] = wait_for(f"the account of {address}", lambda address=address: mailer.set_aside(address))
        assert kept["customer"] is None and kept["kind"] == "bounce" and kept["report"]["said"][0]["recipient"] == "safe@dest.test"
    assert not mailer.events(sent) and not mailer.suppression("safe@dest.test")


def test_an_address_is_taken_out_of_accounts(stack, mailer):
    address = f"b+{'e' * 48}@{RETURN}"
    for recipient in ("Erased@dest.test", "kept@dest.test"):
        deliver(stack, address, dsn(recipient))
    wait_for("both accounts", lambda: len(mailer.set_aside(address)) == 2)
    stack.node.waybill("gdpr", "erase", "erased@dest.test", "--yes")
    assert [kept["report"]["said"][0]["recipient"] for kept in mailer.set_aside(address)] == ["kept@dest.test"]


def test_complaint(stack, mailer):
    """At the address for complaints; the token is in what it returns. The recipient's name may be missing."""
    sent = mailer.send("cross@dest.test")
    deliver(stack, f"complaints@{RETURN}", arf(returned(sent, "redacted@invalid")), "fbl@dest.test")
    event = mailer.event(sent, "message.complained")
    assert event["recipient"] == "cross@dest.test" and event["detail"]["feedback_type"] == "abuse" and event["source_kind"] == "arf"
    assert mailer.suppression("cross@dest.test") == {"cross@dest.test": "complaint"}
    assert mailer.posted(sent, "message.complained", "complained")["data"]["suppression"]["action"] == "added"
    wait_for("the next mail refused", lambda: refused(mailer, "cross@dest.test"))


def test_a_complaint_outlives_the_bounce(stack, mailer):
    """Bounces are undone by their cause when a provider had a fault; what the recipient asked for stays."""
    sent = mailer.send("both@dest.test")
    deliver(stack, sent.return_path, dsn("both@dest.test"))
    mailer.event(sent, "message.bounced")
    assert mailer.suppression("both@dest.test") == {"both@dest.test": "hard-bounce"}
    deliver(stack, sent.return_path, arf(returned(sent, "both@dest.test")))
    mailer.event(sent, "message.complained")
    stack.node.waybill("suppress", "revert", "--customer", "mailer", "--remote", "inner.dest.test")
    assert mailer.suppression("both@dest.test") == {"both@dest.test": "complaint"}


def test_a_complaint_that_returns_two_fields(stack, mailer):
    """RFC 9477: the id that the milter gave, and the Message-ID; nothing of anybody's address."""
    sent = mailer.send("private@dest.test")
    kept = email.message_from_bytes(sent.content, policy=email.policy.SMTP)["CFBL-Feedback-ID"].strip()
    deliver(stack, f"complaints@{RETURN}", arf(f"CFBL-Feedback-ID: {kept}\nMessage-ID: <{sent.message_id}>\n\n"))
    assert mailer.event(sent, "message.complained")["recipient"] == "private@dest.test"
    assert mailer.suppression("private@dest.test") == {"private@dest.test": "complaint"}


@pytest.mark.parametrize("kind", ["not-spam", "auth-failure"])
def test_no_complaint(stack, mailer, kind):
    sent = mailer.send("content@dest.test")
    deliver(stack, sent.return_path, arf(returned(sent, "content@dest.test"), kind))
    wait_for("the queue empty", lambda: "is empty" in stack.node.postfix.queued())
    assert not mailer.events(sent) and not mailer.suppression("content@dest.test")


def test_complaint_without_a_token(stack, mailer):
    sent = mailer.send("quiet@dest.test")
    deliver(stack, f"complaints@{RETURN}", arf(f"From: app@{DOMAIN}\nTo: quiet@dest.test\nMessage-ID: <{sent.message_id}>\n\nx\n"))
    wait_for("the account", lambda: [k for k in mailer.set_aside(f"complaints@{RETURN}") if k["kind"] == "complaint"])
    assert not mailer.events(sent) and not mailer.suppression("quiet@dest.test")


def test_automatic_reply(stack, mailer):
    sent = mailer.send("away@dest.test")
    deliver(stack, sent.return_path, plain("Out of office: Paid", "Away <away@dest.test>", Auto_Submitted="auto-replied"))
    event = mailer.event(sent, "message.autoreplied")
    assert event["recipient"] == "away@dest.test" and event["detail"]["subject"] == "Out of office: Paid"
    assert not mailer.suppression("away@dest.test")
    assert mailer.posted(sent, "message.autoreplied", "autoreplied")["data"]["bounce"] is None


@pytest.mark.parametrize("address", ["b+", "u+"])
def test_unsubscribe(stack, mailer, address):
    """By its subject at the return path, by anything at the address for it."""
    recipient = f"tired{'-u' if address == 'u+' else ''}@dest.test"
    sent = mailer.send(recipient)
    deliver(stack, f"{address}{sent.token}@{RETURN}", plain("unsubscribe" if address == "b+" else "Re: Paid", recipient), recipient)
    event = mailer.event(sent, "recipient.unsubscribed")
    assert event["recipient"] == recipient and event["suppression"] == "added"
    assert mailer.suppression(recipient) == {recipient: "unsubscribe"}
    mailer.posted(sent, "recipient.unsubscribed", "unsubscribed")


def test_the_address_in_list_unsubscribe(stack, mailer):
    """What a mail program sends when its user asks for no more."""
    stack.node.waybill("customer", "set", "mailer", "--list-unsubscribe", "https://u.example/{token}")

    def named():
        sent = mailer.send("listed@dest.test")
        field = email.message_from_bytes(sent.content, policy=email.policy.SMTP)["List-Unsubscribe"]
        return (sent, field) if field else None
    sent, field = wait_for("the field", named)
    address, _, subject = field.partition("<mailto:")[2].rstrip("> ").partition("?subject=")
    assert address == f"u+{sent.token}@{RETURN}"
    deliver(stack, address, plain(subject, "listed@dest.test"), "listed@dest.test")
    assert mailer.event(sent, "recipient.unsubscribed")["recipient"] == "listed@dest.test"
    stack.node.waybill("customer", "set", "mailer", "--list-unsubscribe", "")


# Each format's name for the types that only reports make.
NAMES = {
    "sendgrid": lambda body: body[0]["event"],
    "mailgun": lambda body: body["event-data"]["event"],
    "postmark": lambda body: body["RecordType"],
    "ses": lambda body: body["eventType"],
}
WORDS = {"bounced": {"sendgrid": "bounce", "mailgun": "failed", "postmark": "Bounce", "ses": "Bounce"},
         "complained": {"sendgrid": "spamreport", "mailgun": "complained", "postmark": "SpamComplaint", "ses": "Complaint"},
         "unsubscribed": {"sendgrid": "unsubscribe", "mailgun": "unsubscribed", "postmark": "SubscriptionChange", "ses": "Subscription"}}


@pytest.mark.parametrize("kind", WORDS)
def test_formats(stack, mailer, kind):
    recipient = f"{kind}-formats@dest.test"
    sent = mailer.send(recipient)
    deliver(stack, sent.return_path, {"bounced": dsn(recipient), "complained": arf(returned(sent, recipient)),
                                      "unsubscribed": plain("unsubscribe", recipient)}[kind])
    for name, word in WORDS[kind].items():
        def look(name=name, word=word):
            return [post for post in stack.receiver.deliveries(f"/{name}")
                    if recipient in post["body"] and NAMES[name](json.loads(post["body"])) == word]
        wait_for(f"{word} in the form of {name}", look)


def test_without_postgres_postfix_keeps_the_mail(stack, mailer):
    """Neither lost nor returned; delivered later, once."""
    sent = mailer.send("later@dest.test")
    stack.postgres.stop()
    try:
        deliver(stack, sent.return_path, dsn("later@dest.test"))
        wait_for("the mail in the queue, with the reason",
                 lambda: "Postfix keeps the mail" in stack.node.postfix.maillog.read_text() and sent.return_path in stack.node.postfix.queued())
    finally:
        stack.postgres.start()
    def flushed():
        stack.node.postfix.flush()
        return mailer.events(sent)
    [event] = wait_for("the event", flushed)
    assert event["type"] == "message.bounced"
    wait_for("the queue empty", lambda: "is empty" in stack.node.postfix.queued())
    assert len(mailer.events(sent)) == 1


def test_wrong_configuration_returns_no_mail(stack, mailer):
    """A fault of ours is not the sender's."""
    sent = mailer.send("patient@dest.test")
    good = stack.node.conf.read_text()
    stack.node.conf.write_text(good + "[report]\nnonsense = 1\n")
    deliver(stack, sent.return_path, dsn("patient@dest.test"))
    wait_for("the mail in the queue", lambda: sent.return_path in stack.node.postfix.queued() and "nonsense" in
             stack.node.postfix.maillog.read_text())
    stack.node.conf.write_text(good)
    def flushed():
        stack.node.postfix.flush()
        return mailer.events(sent)
    wait_for("the event", flushed)


def test_the_log_is_behind(stack, mailer):
    """A report that is faster than the bouncer waits in the queue until its message is known."""
    stack.node.stop("bouncer")
    try:
        message_id = f"fast@{DOMAIN}"
        assert submit(stack.node, mailer.login, f"app@{DOMAIN}", ["fast@dest.test"],
                      compose(f"app@{DOMAIN}", "fast@dest.test", "Paid", message_id)).accepted
        [found] = wait_for("the message at the sink", lambda: stack.sink.find(message_id))
        sent = Sent(message_id, found["mail_from"], found["bytes"])
        deliver(stack, sent.return_path, dsn("fast@dest.test"))
        wait_for("the mail in the queue", lambda: "not read to the end" in stack.node.postfix.maillog.read_text())
    finally:
        stack.node.start("bouncer")

    def flushed():
        stack.node.postfix.flush()
        return mailer.events(sent)
    [event] = wait_for("the event", flushed)
    assert event["recipient"] == "fast@dest.test" and not mailer.set_aside(sent.return_path)


def nested(depth):
    head = "".join(f"Content-Type: multipart/mixed; boundary=b{i}\n\n--b{i}\n" for i in range(depth))
    return f"From: x@dest.test\nSubject: deep\nMIME-Version: 1.0\n{head}Content-Type: text/plain\n\nend\n".encode()


HOSTILE = {
    "nesting": nested(5000),
    "messages in messages": b"Subject: in\n" + b"Content-Type: message/rfc822\n\n" * 5000 + b"\nend\n",
    "no header": b"\n\n\n",
    "no end of a part": b'From: MAILER-DAEMON\nContent-Type: multipart/report; boundary="x"\n\n--x\nContent-Type: message/delivery-status\n\nFinal-Recipient: rfc822; ',
    "eight bits": b"From: MAILER-DAEMON@dest.test\nSubject: Undelivered \xff\xfe\n\n\xf0\x9f\x98\x80 \xc3\x28 550 5.1.1 <\xe4@dest.test> unbekannt \x00 x\n",
    "a lying character set": b"From: MAILER-DAEMON@dest.test\nSubject: Undelivered\nContent-Type: text/plain; charset=utf-16\n\n550 5.1.1 odd\n",
    "many addresses": b"From: MAILER-DAEMON@dest.test\nSubject: Undelivered\n\n" + b"a@b.test " * 60000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_mail(stack, mailer, name):
    """It is read to an end, and the next one goes on."""
    address = f"b+{'q' * 48}@{RETURN}"
    before = len(mailer.set_aside(address))
    deliver(stack, address, HOSTILE[name])
    wait_for("the account", lambda: len(mailer.set_aside(address)) > before)
    wait_for("the queue empty", lambda: "is empty" in stack.node.postfix.queued())


def run(stack, *words, mail=b"", conf=None):
    """The program alone, as pipe(8) starts it."""
    return subprocess.run([stack.node.bin / "waybill-report", "-c", conf or stack.node.conf, *words], input=mail, capture_output=True)


def test_a_mail_that_ends_its_reader(stack, mailer):
    """Groups in groups are too deep for the library: the mail is kept with a word, not tried for days."""
    sent = mailer.send("deep@dest.test")
    done = run(stack, sent.return_path, mail=b"To: " + b"a:" * 500000 + b"\n\nx")
    assert done.returncode == 0, done.stderr[-500:]
    [kept] = mailer.set_aside(sent.return_path)
    assert kept["why"] in ("its parts cannot be read", "it says nothing that makes an event")
    assert run(stack, sent.return_path, mail=dsn("deep@dest.test")).returncode == 0
    assert mailer.event(sent, "message.bounced")["recipient"] == "deep@dest.test"


def test_the_same_at_the_same_moment(stack, mailer):
    sent = mailer.send("many@dest.test")
    starts = [subprocess.Popen([stack.node.bin / "waybill-report", "-c", stack.node.conf, sent.return_path],
                               stdin=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(6)]
    for start in starts:
        start.stdin.write(dsn("many@dest.test"))
    for start in starts:
        start.communicate()
    assert [start.returncode for start in starts] == [0] * 6
    assert len(mailer.events(sent)) == 1
    numbers = [row["seq"] for row in mailer.rows("SELECT seq FROM waybill.events WHERE customer = 'mailer' ORDER BY seq")]
    assert numbers == list(range(1, len(numbers) + 1))


def test_exit_status(stack, mailer, tmp_path):
    """Asked by a person it says what is wrong; asked by Postfix, whatever is wrong, it says "later"."""
    wrong = tmp_path / "wrong.conf"
    wrong.write_text("[report]\nnonsense = 1\n")
    empty = tmp_path / "empty.conf"
    empty.write_text("")
    assert run(stack, "-t").returncode == 0
    assert run(stack, "-t", conf=wrong).returncode == 78
    assert run(stack, "--nonsense").returncode == 64
    assert b"[report]" in run(stack, "--sample").stdout
    for words, conf in (([], wrong), ([], empty), (["--nonsense"], None), ([], tmp_path / "none.conf")):
        assert run(stack, *words, f"b+x@{RETURN}", conf=conf).returncode == 75


def test_a_mail_of_50_megabytes(stack, mailer):
    sent = mailer.send("huge@dest.test")
    stack.node.postfix.set(message_size_limit=80 << 20)
    line = "x" * 75 + "\n"
    deliver(stack, sent.return_path, dsn("huge@dest.test", returned="Subject: Paid\n\n" + line * (50 * 1024 * 1024 // len(line))))
    assert mailer.event(sent, "message.bounced")["recipient"] == "huge@dest.test"


def test_another_language(stack, mailer):
    sent = mailer.send("fremd@dest.test")
    deliver(stack, sent.return_path, report_mail("delivery-status", [
        ('text/plain; charset="iso-2022-jp"', "\x1b$B%a!<%k$O;\x1b(B\n"),
        ("message/delivery-status", "Final-Recipient: rfc822; fremd@dest.test\nAction: failed\nStatus: 5.1.1\n"
         "Diagnostic-Code: smtp; 550 5.1.1 Empf\u00e4nger unbekannt, user unknown\n")], Subject="=?utf-8?B?6YCA5L+h?="))
    event = mailer.event(sent, "message.bounced")
    assert "Empf\u00e4nger" in event["response"] and event["bounce_category"] == "bad-mailbox"


def test_accounts_are_bounded(stack, mailer):
    """Anybody can send such mail."""
    mailer.rows("SELECT count(waybill.keep_report(jsonb_build_object('why', 'x', 'kind', 'other', 'n', n))) "
                "FROM generate_series(1, 10500) AS n")
    [found] = mailer.rows("SELECT count(*) AS count, max((report ->> 'n')::integer) AS last FROM support.unverified_reports")
    assert found["count"] < 10100 and found["last"] == 10500


def test_the_role_can_do_no_more(stack, mailer):
    """What reads strangers' mail may call three functions that act for it, and read nothing."""
    rights = mailer.rows("SELECT (SELECT count(*) FROM information_schema.role_column_grants WHERE grantee = 'waybill_report') AS columns, "
                         "(SELECT array_agg(proname::text ORDER BY proname) FROM pg_proc WHERE pronamespace = 'waybill'::regnamespace "
                         "AND prosecdef AND has_function_privilege('waybill_report', oid, 'EXECUTE')) AS functions")[0]
    assert rights == {"columns": 0, "functions": ["keep_report", "record_report", "reported_message"]}


def test_nothing_was_returned(stack, mailer):
    """Of all this: Postfix delivered it or keeps it."""
    lines = [line for line in stack.node.postfix.maillog.read_text().splitlines() if "relay=waybill-report" in line]
    assert len(lines) > 40
    assert not [line for line in lines if "status=sent" not in line and "status=deferred" not in line]
