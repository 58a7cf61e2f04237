"""One truth in three outputs: what the database has, what the webhooks said, and what the accounting files hold are the same
events, with the same numbers. Through real Postfix, with delivered, deferred, bounced and refused mail."""

import json
import pathlib
import shutil
import tempfile

import pytest

from tests.stack.client import compose, submit
from tests.stack.customers import add_domain, add_endpoint, add_login
from tests.stack.wait import wait_for

SENDER = "news@three.test"


@pytest.fixture(scope="module")
def login(stack):
    stack.node.waybill("customer", "add", "three")
    add_domain(stack, "three", "three.test")
    add_endpoint(stack, "three", "/three")
    made = add_login(stack, "three", "three-app")
    wait_for("the login in the snapshot", lambda: send(stack, made, "first@dest.test").accepted)
    return made


def send(stack, login, recipient):
    return submit(stack.node, login, SENDER, recipient, compose(SENDER, recipient, "News"))


def stored(stack):
    return {row["event_id"]: row for row in stack.postgres.execute(
        "SELECT event_id, seq, type, recipient, category FROM support.events WHERE customer = 'three'", user="waybill_support")}


def posted(stack):
    bodies = [json.loads(delivery["body"]) for delivery in stack.receiver.deliveries("/three")]
    return {body["data"]["event_id"]: body for body in bodies}


@pytest.fixture
def folder():
    made = pathlib.Path(tempfile.mkdtemp(prefix="waybill-three-", dir="/tmp"))
    yield made
    shutil.rmtree(made)


def test_database_webhooks_and_files_agree(stack, login, folder):
    for recipient in ("reader@dest.test", "unknown@dest.test", "busy@other.test", "reader@nullmx.test", "other@dest.test"):
        assert send(stack, login, recipient).accepted, recipient
    wanted = {"message.accepted", "message.delivered", "message.bounced", "message.deferred", "suppression.created"}
    wait_for("every kind of event", lambda: {row["type"] for row in stored(stack).values()} >= wanted)
    wait_for("a webhook for each", lambda: set(posted(stack)) >= set(stored(stack)))

    stack.node.waybill("accounting", "write", str(folder), "--customer", "three", "--until", "2100-01-01")
    assert stack.node.waybill("accounting", "verify", str(folder)).stdout == ""
    lines = [json.loads(line) for file in sorted((folder / "three").glob("*.jsonl")) for line in file.read_text().splitlines()]
    written = {line["event_id"]: line for line in lines}
    manifests = [json.loads(file.read_text()) for file in sorted((folder / "three").glob("*.manifest.json"))]
    last = manifests[-1]["last_seq"]
    rows = {key: row for key, row in stored(stack).items() if row["seq"] <= last}

    assert len(lines) == len(written) == sum(manifest["events"] for manifest in manifests) == last
    assert set(written) == set(rows), "the files hold what the database holds, each event once"
    hooks = posted(stack)
    for key, row in rows.items():
        line, body = written[key], hooks[key]
        assert (line["seq"], line["type"], line["recipient"]) == (row["seq"], row["type"], row["recipient"])
        assert (body["data"]["seq"], body["type"], body["data"]["recipient"]) == (row["seq"], row["type"], row["recipient"])
        if row["type"] == "message.bounced":
            assert body["data"]["bounce"]["category"] == line["category"] == row["category"]
    assert sorted(row["seq"] for row in rows.values()) == list(range(1, last + 1)), "no number is missing"
