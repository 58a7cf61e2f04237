"""Every type of event that doc/webhooks.md lists arrives at a customer's endpoint, from what really happens to mail."""

import email
import json
import pathlib
import re
import subprocess

import pytest

from tests.stack.customers import set_up
from tests.stack.story import Story
from tests.stack.wait import wait_for

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = (ROOT / "doc" / "webhooks.md").read_text()


@pytest.fixture(scope="module")
def story(stack):
    story = Story(stack)
    story.acme, story.globex = set_up(stack)
    return story


@pytest.fixture
def arrived(stack, story):
    """arrived(TYPE): waits until acme's endpoint has received one, verified; returns its data."""
    def wait(kind):
        def found():
            return [item["body"] for item in stack.receiver.deliveries(story.acme.path)
                    if item["verified"] and as_json(item["body"])["type"] == kind]
        return as_json(wait_for(f"{kind} at the endpoint", found)[-1])["data"]
    return wait


def as_json(body):
    return json.loads(body) if isinstance(body, str) else body


def send(story, recipient, outcome="delivered", login=None, sender="billing@acme.test"):
    return story._send(login or story.acme.app, sender, recipient, "Types", 587, outcome)


def test_accepted_and_delivered(story, arrived):
    sent = send(story, "types@dest.test")
    assert arrived("message.accepted")["message_id"] == sent.message_id
    assert arrived("message.delivered")["smtp"]["code"] == 250


def test_deferred(story, arrived):
    send(story, "busy@dest.test", "delivered later")
    assert arrived("message.deferred")["bounce"]["class"] == "soft"


def test_bounced_and_suppression(stack, story, arrived):
    send(story, "unknown@dest.test", "bounced")
    assert arrived("message.bounced")["suppression"]["action"] == "added"
    assert arrived("suppression.created")["recipient"] == "unknown@dest.test"
    stack.node.waybill("suppress", "remove", "acme", "unknown@dest.test")
    assert arrived("suppression.deleted")["recipient"] == "unknown@dest.test"


def test_rejected(story, arrived):
    send(story, "x@dest.test", "refused", sender="ceo@globex.test")
    assert arrived("message.rejected")["sasl_username"] == "acme-app"


def test_held_released_and_dropped(stack, story, arrived):
    queue = stack.node.postfix
    sent = send(story, "busy+held@dest.test", "delivered later")
    wait_for("it is deferred", lambda: sent.reply.queue_id in queue.queued())

    def postsuper(flag):
        subprocess.run(["postsuper", "-c", queue.etc, flag, sent.reply.queue_id], check=True, capture_output=True)
    postsuper("-h")
    assert arrived("message.held")["queue_id"] == sent.reply.queue_id
    postsuper("-H")
    assert arrived("message.released")["queue_id"] == sent.reply.queue_id
    postsuper("-d")
    assert arrived("message.dropped")["queue_id"] == sent.reply.queue_id


def test_limit_warning(story, arrived):
    for number in range(story.acme.bulk_limit):
        send(story, f"limit{number}@dest.test", login=story.acme.bulk, sender="offers@acme.test")
    assert arrived("limit.warning")["detail"]


def test_dns_broken(stack, story, arrived):
    stack.node.waybill("domain", "check", "acme.test", ok=False)
    [record] = stack.node.waybill_json("domain", "records", "acme.test")[:1]
    stack.dns.remove(record["name"])
    stack.node.waybill("domain", "check", "acme.test", ok=False)
    assert arrived("domain.dns_broken")["detail"]["domain"] == "acme.test"


def test_signature_failing(stack, story, arrived):
    """The milter verifies what it has signed; somebody has published another domain's key under the name of acme's."""
    def records(domain):
        return [row for row in stack.node.waybill_json("domain", "records", domain) if "._domainkey." in row["name"]]
    [other] = records("globex.test")
    published = stack.home / "published"
    published.write_text("".join(f"{own['name']} {other['value']}\n" for own in records("acme.test")))
    published.chmod(0o644)
    stack.node.write_conf({"milter": {"self_check": 1, "self_check_program": stack.node.bin / "waybill-dkim-check",
                                      "self_check_keys": published}})
    stack.node.restart("milter")
    sent = send(story, "types@dest.test")
    detail = arrived("domain.signature_failing")["detail"]
    assert (detail["domain"], detail["mail"]) == ("acme.test", "signed")
    assert any(detail["selector"] == own["name"].split(".")[0] for own in records("acme.test"))
    assert f"{sent.reply.queue_id}: self-check=failed" in stack.node.log_text("milter")
    stack.node.write_conf({})
    stack.node.restart("milter")


def test_log_gap(stack, story, arrived):
    """A log that has lost the line about one of two recipients."""
    stamp = subprocess.run(["date", "-u", "+%b %d %H:%M:%S"], capture_output=True, text=True).stdout.strip()
    lines = ("submission/smtpd[16]: 4zzzzz0000zzzz: client=h[192.0.2.7], sasl_method=PLAIN, sasl_username=acme-app",
             "cleanup[17]: 4zzzzz0000zzzz: message-id=<gap@acme.test>",
             "qmgr[2]: 4zzzzz0000zzzz: from=<billing@acme.test>, size=100, nrcpt=2 (queue active)",
             "smtp[9]: 4zzzzz0000zzzz: to=<one@dest.test>, relay=mx.dest.test[203.0.113.9]:25, delay=1, delays=0/0/0/1, "
             "dsn=2.0.0, status=sent (250 2.0.0 OK)",
             "qmgr[2]: 4zzzzz0000zzzz: removed")
    with open(stack.node.postfix.maillog, "a") as log:
        log.write("".join(f"{stamp} mx1 postfix/{line}\n" for line in lines))
    assert arrived("log.gap")["queue_id"] == "4zzzzz0000zzzz"


def test_webhooks_own_and_their_mail(stack, story, arrived):
    """webhook.test; another endpoint that fails for an hour, then five days; the notices, by the node's own Postfix."""
    [own] = [row for row in stack.node.waybill_json("endpoint", "list", "--customer", "acme")]
    stack.node.waybill("endpoint", "test", own["endpoint"])
    arrived("webhook.test")
    [down] = stack.node.waybill_json("endpoint", "add", "acme", stack.receiver.url("/down"), "--events", "webhook.test")
    stack.receiver.fail("/down", 500)
    wrapper = stack.home / "sendmail"
    wrapper.write_text(f'#!/bin/sh\nexec /usr/sbin/sendmail -C {stack.node.postfix.etc} "$@"\n')
    wrapper.chmod(0o755)
    conf = stack.home / "notices.conf"
    conf.write_text(f"[ctl]\nnotice_postgres = {stack.postgres.conninfo('waybill_notices')}\nsendmail = {wrapper}\n"
                    "notice_sender = relay@relay.test\n")
    stack.node.waybill("customer", "set", "acme", "--contact", "ops@dest.test")

    def fails(hours):
        stack.postgres.execute("UPDATE waybill.endpoints SET failing_since = now() - %s * interval '1 hour' WHERE endpoint = %s",
                               (hours, down["endpoint"]))
        stack.postgres.execute("UPDATE waybill.deliveries SET due_at = now() WHERE endpoint = %s", (down["endpoint"],))
        stack.postgres.execute("NOTIFY waybill_deliveries")

    def mailed(word):
        subprocess.run([stack.node.bin / "waybill", "-c", conf, "notice", "send"], check=True)
        return wait_for(f"a mail that says {word}", lambda: [
            mail for path in stack.sink.folder.glob("*.eml")
            if (mail := email.message_from_bytes(path.read_bytes()))["Subject"] ==
            f"Webhook endpoint {down['endpoint']} of acme is {word}"])

    stack.node.waybill("endpoint", "test", down["endpoint"], ok=False)
    fails(2)
    assert arrived("webhook.endpoint.failing")["detail"]["endpoint"] == down["endpoint"]
    assert mailed("failing")[0]["To"] == "ops@dest.test"
    fails(121)
    assert arrived("webhook.endpoint.disabled")["detail"]["endpoint"] == down["endpoint"]
    assert len(mailed("disabled")) == 1


# Made from mail that comes back, or from what other parts watch: the scenarios that have them arrive at an endpoint.
ELSEWHERE = {"message.complained": "test_report.py", "message.autoreplied": "test_report.py",
             "recipient.unsubscribed": "test_report.py", "credential.suspected": "test_takeover.py",
             "credential.suspended": "test_takeover.py", "domain.key_unusable": "test_milter_verdicts.py"}


def test_the_other_scenarios_know_their_types():
    """They look for the type among what the receiver was posted."""
    for kind, file in ELSEWHERE.items():
        text = (pathlib.Path(__file__).parent / file).read_text()
        assert f'"{kind}"' in text and "receiver.deliveries(" in text, (kind, file)


def test_every_documented_type_arrived(stack, story):
    """Runs last: the tests above have produced what the page's table lists."""
    rows = [line.split("|")[1] for line in PAGE.splitlines() if re.match(r"\| `(?!data\.)[a-z]+\.[a-z._]+`", line)]
    listed = {kind for row in rows for kind in re.findall(r"`([a-z]+\.[a-z._]+)`", row)}
    seen = {as_json(item["body"])["type"] for item in stack.receiver.deliveries(story.acme.path)}
    assert len(listed) >= 16 and listed - set(ELSEWHERE) <= seen, listed - set(ELSEWHERE) - seen
    assert not set(ELSEWHERE) & seen, "produced here now"
    assert set(ELSEWHERE) <= listed
