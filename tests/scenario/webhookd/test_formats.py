"""Signatures of the formats that receivers written for other providers verify, by their recipes and their libraries."""

import base64
import hashlib
import hmac
import json
import re
import shutil
import subprocess

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from tests.stack import verifier

from .conftest import ROOT
from .test_endpoint_commands import verified, waybill  # noqa: F401: a fixture

SENDGRID = "@sendgrid/eventwebhook@8.0.0"
BOUNCE = {"type": "message.bounced", "message_id": "1@acme.example", "sender": "billing@acme.example", "smtp_code": 550,
          "enhanced_code": "5.1.1", "response": "550 5.1.1 User unknown \u00e9", "bounce_class": "hard",
          "bounce_category": "bad-mailbox", "bounce_scope": "recipient", "tag": "invoice"}


def received(relay, waybill, format, *words, fail_first=False):  # noqa: F811
    """An endpoint of that format with one bounce posted to it; the secret, its public keys, and the POSTs."""
    server = relay.server()
    behaviour = "status/500" if fail_first else "ok"
    [added] = waybill("endpoint", "add", "acme", server.url(behaviour, format), "--format", format, *words)
    [keys] = waybill("endpoint", "public-key", added["endpoint"])
    relay.run()
    event_id = relay.event(added["endpoint"], **BOUNCE)
    relay.until("the first POST", lambda: relay.attempts(added["endpoint"], event_id))
    if fail_first:
        server.answer[format] = "ok"
        relay.due_now(added["endpoint"])
        relay.until("the second POST", lambda: len(relay.attempts(added["endpoint"], event_id)) == 2)
    posts = server.posts(format)
    assert all(verified(post, added["secret"]) for post in posts)  # Standard Webhooks, whatever the format
    return added["secret"], keys, posts


def test_sendgrid(relay, waybill):  # noqa: F811
    _, keys, [first, second] = received(relay, waybill, "sendgrid", fail_first=True)
    assert first.body == second.body
    [event] = json.loads(first.body)
    assert (event["event"], event["type"], event["bounce_classification"]) == ("bounce", "bounce", "Invalid Address")
    public = serialization.load_der_public_key(base64.b64decode(keys["sendgrid"]))
    for post in first, second:
        timestamp = post.headers["x-twilio-email-event-webhook-timestamp"]
        signature = base64.b64decode(post.headers["x-twilio-email-event-webhook-signature"])
        public.verify(signature, timestamp.encode() + post.body, ec.ECDSA(hashes.SHA256()))
        with pytest.raises(InvalidSignature):
            public.verify(signature, timestamp.encode() + post.body + b" ", ec.ECDSA(hashes.SHA256()))


def test_sendgrid_by_its_own_library(relay, waybill):  # noqa: F811
    folder = ROOT / "build" / "npm-sendgrid"
    if not (folder / "node_modules" / "@sendgrid" / "eventwebhook").exists():
        if not shutil.which("npm"):
            pytest.skip("npm is not installed")
        folder.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(["npm", "install", "--no-save", "--no-package-lock", "--prefix", folder, SENDGRID], cwd=folder,
                              capture_output=True, text=True, timeout=100)
        if done.returncode:
            pytest.skip(f"npm install {SENDGRID}: {done.stderr[-200:]}")
    _, keys, [post] = received(relay, waybill, "sendgrid")
    script = """
        const { EventWebhook } = require('@sendgrid/eventwebhook');
        const { key, body, signature, timestamp } = JSON.parse(require('fs').readFileSync(0, 'utf8'));
        const hook = new EventWebhook();
        const check = payload => hook.verifySignature(hook.convertPublicKeyToECDSA(key), payload, signature, timestamp);
        console.log(check(body), check(body + ' '));
    """
    words = {"key": keys["sendgrid"], "body": post.body.decode(),
             "signature": post.headers["x-twilio-email-event-webhook-signature"],
             "timestamp": post.headers["x-twilio-email-event-webhook-timestamp"]}
    done = subprocess.run(["node", "-e", script], input=json.dumps(words), capture_output=True, text=True, cwd=folder)
    assert done.stdout.split() == ["true", "false"], done.stdout + done.stderr


def test_mailgun(relay, waybill):  # noqa: F811
    secret, _, [first, second] = received(relay, waybill, "mailgun", fail_first=True)
    assert first.body == second.body
    body = json.loads(first.body)
    signature = body["signature"]
    signing_key = secret.removeprefix("whsec_").encode()
    wanted = hmac.new(signing_key, (signature["timestamp"] + signature["token"]).encode(), hashlib.sha256).hexdigest()
    assert signature["signature"] == wanted and len(signature["token"]) == 50
    data = body["event-data"]
    assert (data["event"], data["severity"], data["delivery-status"]["code"]) == ("failed", "permanent", 550)


def test_postmark_and_ses(relay, waybill):  # noqa: F811
    _, _, [post] = received(relay, waybill, "postmark")
    body = json.loads(post.body)
    assert (body["RecordType"], body["Type"], body["TypeCode"], body["Email"]) == ("Bounce", "HardBounce", 1,
                                                                                  "jane@example.net")
    relay.end()
    _, _, [post] = received(relay, waybill, "ses")
    body = json.loads(post.body)
    assert (body["eventType"], body["bounce"]["bounceType"], body["bounce"]["bouncedRecipients"][0]["status"]) == (
        "Bounce", "Permanent", "5.1.1")


@pytest.fixture
def standardwebhooks():
    """npm's standardwebhooks, the reference library, as tests/stack/install.sh installs it."""
    if not verifier.available():
        if not shutil.which("npm"):
            pytest.skip("npm is not installed")
        wanted = re.search(r"WANTED_WEBHOOKS=[\"']?([^\"'\s]+)", (ROOT / "tests" / "stack" / "install.sh").read_text())[1]
        done = subprocess.run(["npm", "install", "--silent", "--no-save", "--no-package-lock", "--no-audit", "--no-fund",
                               "--ignore-scripts", "--prefix", verifier.MODULES, wanted], capture_output=True)
        if done.returncode or not verifier.available():
            pytest.skip("npm cannot install standardwebhooks here")
    node = verifier.NodeVerifier()
    yield lambda post, secret: node.verify(body=post.body, secret=secret, id=post.headers["webhook-id"],
                                           timestamp=post.headers["webhook-timestamp"],
                                           signature=post.headers["webhook-signature"])
    node.node.kill()


@pytest.mark.parametrize("words", [(), ("--v1a", "yes"), ("--batch", "5", "--batch-wait", "0")])
def test_standard_webhooks_by_its_own_library(relay, waybill, standardwebhooks, words):  # noqa: F811
    secret, _, [post] = received(relay, waybill, "waybill", *words)
    assert standardwebhooks(post, secret) is None
    post.body += b" "
    assert standardwebhooks(post, secret)
    post.body = post.body[:-1]
    assert standardwebhooks(post, "whsec_" + "A" * 44)


def test_v1a(relay, waybill):  # noqa: F811
    _, keys, [post] = received(relay, waybill, "waybill", "--v1a", "yes")
    versions = dict(part.split(",", 1) for part in post.headers["webhook-signature"].split(" "))
    assert set(versions) == {"v1", "v1a"} and keys["v1a"].startswith("whpk_")
    public = ed25519.Ed25519PublicKey.from_public_bytes(base64.b64decode(keys["v1a"].removeprefix("whpk_")))
    content = f"{post.headers['webhook-id']}.{post.headers['webhook-timestamp']}.".encode() + post.body
    public.verify(base64.b64decode(versions["v1a"]), content)
    with pytest.raises(InvalidSignature):
        public.verify(base64.b64decode(versions["v1a"]), content + b" ")
