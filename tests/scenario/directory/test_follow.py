"""The snapshot: two nodes follow, a follower dies at any moment, Postgres goes away while mail flows."""

import os
import random
import signal
import subprocess
import time

import pytest

from tests.stack import customers
from tests.stack.client import compose, submit
from tests.stack.process import wait_until


@pytest.fixture(scope="module")
def acme(stack):
    return customers.set_up(stack)[0]


@pytest.fixture(scope="module")
def second(stack, acme):
    return stack.add_node("mx2")


def state_of(node):
    return node.waybill_json("directory", "status")[0]


def in_force(node, seq):
    """Has the node's snapshot come to this change?"""
    return state_of(node)["seq"] >= seq


def last_change(stack):
    return stack.postgres.execute("SELECT max(seq) AS seq FROM waybill.changes")[0]["seq"]


def entries(node):
    return node.waybill_json("directory", "verify")[0]["entries"]


def expected_entries(stack):
    """What must stand in a snapshot: an entry for each thing, the senders' of domains and customers, the relay's, and the
    state."""
    return stack.postgres.execute(
        "SELECT (SELECT count(*) FROM waybill.customers) + (SELECT count(*) FROM waybill.logins) + "
        "(SELECT count(*) FROM waybill.domains) + (SELECT count(*) FROM waybill.suppressions) + "
        "(SELECT count(*) FROM waybill.senders) + (SELECT count(*) FROM waybill.return_paths) + 2 AS n"
    )[0]["n"]


def agree(stack, *nodes):
    seq = last_change(stack)
    for node in nodes:
        assert wait_until(lambda: in_force(node, seq)), f"{node.name} stays behind change {seq}: {state_of(node)}"
        assert entries(node) == expected_entries(stack)


def test_a_change_is_in_force_on_both_nodes(stack, acme, second):
    stack.node.waybill("suppress", "add", "acme", "gone@dest.test")
    agree(stack, stack.node, second)
    stack.node.waybill("suppress", "remove", "acme", "gone@dest.test")
    agree(stack, stack.node, second)


def test_status_shows_every_node(stack, acme, second):
    rows = stack.node.waybill_json("directory", "status")[1:]
    assert {row["node"] for row in rows} >= {stack.node.name, "mx2"}


def test_direct_sql_needs_no_notification(stack, acme, second):
    stack.postgres.execute("UPDATE waybill.customers SET title = 'by hand' WHERE customer = 'acme'")
    agree(stack, stack.node, second)


def test_a_transaction_that_commits_late_is_not_missed(stack, acme, second):
    """Its changes have lower numbers than others that were committed, and applied, before; those are another customer's,
    because events of one customer are numbered without gaps and so wait for one another."""
    late = stack.postgres.connect()
    late.autocommit = False
    cursor = late.cursor()
    cursor.execute("INSERT INTO waybill.suppressions (customer, recipient, reason) VALUES ('acme', 'late@dest.test', 'manual')")
    stack.node.waybill("suppress", "add", "globex", "early@dest.test")
    agree_seq = last_change(stack)
    assert wait_until(lambda: in_force(stack.node, agree_seq)), "an open transaction must not hold up the others"
    late.commit()
    late.close()
    count = expected_entries(stack)
    for node in (stack.node, second):
        assert wait_until(lambda: entries(node) == count)


def test_a_follower_killed_at_any_moment_goes_on(stack, acme, second):
    number = random.Random(3)
    for i in range(12):
        stack.postgres.execute(
            "INSERT INTO waybill.suppressions (customer, recipient, reason) "
            "SELECT 'acme', 'kill-' || %s || '-' || n || '@dest.test', 'manual' FROM generate_series(1, 200) AS n", (i,))
        time.sleep(number.random() * 0.15)  # any moment of its work
        stack.node.stop("follow", number=signal.SIGKILL)
        assert entries(stack.node) > 0  # readers see a whole snapshot, old or new
        stack.node.start("follow")
    agree(stack, stack.node, second)
    stack.postgres.execute("DELETE FROM waybill.suppressions WHERE recipient LIKE 'kill-%%'")
    agree(stack, stack.node, second)


def test_a_removed_or_damaged_file_is_built_anew(stack, acme, second):
    path = second.state / "directory.mdb"
    path.unlink()
    assert wait_until(path.exists)
    agree(stack, second)
    damaged = path.with_suffix(".damaged")
    damaged.write_bytes(os.urandom(1 << 16))
    damaged.rename(path)
    assert wait_until(lambda: second.waybill("directory", "verify", ok=False).returncode == 0)
    agree(stack, second)


def test_a_reader_needs_no_right_to_write(stack, acme, second):
    """Another account, which may read the file and nothing else, looks an entry up through the command line."""
    path = stack.node.state / "directory.mdb"
    conf = stack.home / "reader.conf"
    conf.write_text(f"[common]\ndirectory = {path}\n")
    folder = stack.node.state
    assert not folder.stat().st_mode & 0o002
    before = sorted(os.listdir(folder))
    path.chmod(0o644)
    done = subprocess.run([stack.node.bin / "waybill", "-c", conf, "directory", "verify"], user="daemon", group="daemon",
                          extra_groups=[], capture_output=True, text=True, cwd="/")
    assert done.returncode == 0, done.stderr
    assert sorted(os.listdir(folder)) == before


def test_only_one_follower_writes_a_snapshot(stack, acme):
    done = stack.node.waybill("directory", "follow", "--once", ok=False)
    assert done.returncode == 69
    assert "another process writes" in done.stderr


def test_mail_flows_while_postgres_is_away(stack, acme, second):
    """policyd and the milter go on from the snapshot; Dovecot from its cache; the follower says so once and comes back."""
    send(stack, acme, "before")
    seen = stack.node.log_text("follow").count("Postgres does not answer")
    stack.postgres.stop()
    assert wait_until(lambda: stack.node.log_text("follow").count("Postgres does not answer") > seen)
    try:
        for i in range(3):
            send(stack, acme, f"away-{i}")
        time.sleep(1.5)  # long enough for several vain attempts
        assert stack.node.log_text("follow").count("Postgres does not answer") == seen + 1
        assert stack.node.waybill("customer", "list", ok=False).returncode == 75
        # A follower that starts now serves the old snapshot.
        stack.node.restart("follow")
        send(stack, acme, "restarted")
    finally:
        stack.postgres.start()
    stack.node.waybill("customer", "set", "acme", "--title", "back")
    agree(stack, stack.node, second)


def send(stack, customer, subject):
    message = compose("news@acme.test", "reader@dest.test", subject)
    reply = submit(stack.node, customer.app, "news@acme.test", "reader@dest.test", message)
    assert reply.accepted, reply
