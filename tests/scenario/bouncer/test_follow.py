"""Every line accounted for: whatever happens to the log, the database or the process, each event stands there once."""

import json
import random
import signal
import subprocess
import time

import pytest

from tests.stack.process import wait_until

COUNT = "SELECT count(*), count(DISTINCT event_id) AS ids, coalesce(max(seq), 0) FROM waybill.events WHERE customer = 'acme'"
DELIVERED = "SELECT count(DISTINCT recipient) FROM waybill.events WHERE type = 'message.delivered'"


def check(bench, messages):
    """One acceptance and one delivery each, numbers without a gap, nothing left open, nothing lost."""
    expected = [2 * messages, 2 * messages, 2 * messages]
    assert wait_until(lambda: bench.one(COUNT) == expected, seconds=60), (bench.one(COUNT), expected)
    assert bench.one(DELIVERED) == [messages]
    assert bench.one("SELECT count(*) FROM waybill.events WHERE type = 'log.gap'") == [0]
    assert bench.one("SELECT count(*) FROM waybill.open_messages") == [0]


@pytest.mark.seconds(240)
def test_killed_at_any_moment(bench):
    """kill -9 again and again while the log grows and rotates."""
    for round_number in range(15):
        bench.bouncer()
        lines = list(bench.log.interleaved(60))
        for at in range(0, len(lines), 20):
            bench.log.write(lines[at:at + 20])
            time.sleep(random.random() / 50)
        if round_number % 4 == 3:
            bench.log.rotate()
        time.sleep(random.random() / 10)
        bench.end(signal.SIGKILL)
    bench.bouncer()
    check(bench, 15 * 60)


@pytest.mark.seconds(240)
def test_postgres_comes_and_goes(bench):
    """Stopped and killed under load, with rotations meanwhile: the log is the queue."""
    bench.bouncer()
    bench.log.write(bench.log.interleaved(1))
    check(bench, 1)
    for number in (signal.SIGINT, signal.SIGKILL, signal.SIGINT):
        bench.log.write(bench.log.interleaved(50))
        bench.postgres.stop(number)
        bench.log.write(bench.log.interleaved(50))
        bench.log.rotate()
        bench.log.write(bench.log.interleaved(50))
        bench.postgres.start()
    check(bench, 3 * 150 + 1)
    said = bench.output.read_text()
    assert "mail flows on" in said and "postgres answers again" in said


def test_started_before_postgres_and_log(bench):
    bench.log.path.unlink()
    bench.postgres.stop()
    bench.bouncer()
    assert wait_until(lambda: "mail flows on" in bench.output.read_text())
    bench.postgres.start()
    assert wait_until(lambda: "waiting for it" in bench.output.read_text())
    bench.log.file = open(bench.log.path, "ab", buffering=0)
    bench.log.write(bench.log.interleaved(3))
    check(bench, 3)


def test_terminated(bench):
    """TERM commits what was read and ends with 0; the next start goes on there."""
    bench.bouncer()
    lines = bench.log.message()
    bench.log.write(lines[:2])
    assert wait_until(lambda: bench.one("SELECT count(*) FROM waybill.open_messages") == [1])
    bench.end()
    bench.log.write(lines[2:])
    bench.bouncer()
    check(bench, 1)
    assert "1 messages open" in bench.output.read_text()


def test_a_truncated_log_is_a_gap(bench):
    """What was not read when somebody emptied the file is lost; that it is must be known, once."""
    gaps = "SELECT string_agg(host || ' ' || (detail ->> 'kind'), ', ' ORDER BY recorded_at) FROM waybill.events WHERE type = 'log.gap'"

    def empty():
        bench.log.write(bench.log.interleaved(3))
        bench.log.file.truncate(0)
        bench.log.write(bench.log.interleaved(1))

    bench.bouncer()
    bench.log.write(bench.log.interleaved(20))
    check(bench, 20)
    bench.processes.kill("bouncer", signal.SIGSTOP)
    empty()
    bench.processes.kill("bouncer", signal.SIGCONT)
    assert wait_until(lambda: bench.one(DELIVERED) == [21]), bench.one(DELIVERED)
    assert wait_until(lambda: bench.one(gaps) == ["mx1 truncated"]), bench.one(gaps)
    bench.end()
    empty()
    bench.bouncer()
    assert wait_until(lambda: bench.one(DELIVERED) == [22]), bench.one(DELIVERED)
    assert wait_until(lambda: bench.one(gaps) == ["mx1 truncated, mx1 position-lost"]), bench.one(gaps)
    bench.end(signal.SIGKILL)
    bench.bouncer()
    bench.log.write(bench.log.interleaved(1))
    assert wait_until(lambda: bench.one(DELIVERED) == [23]), bench.one(DELIVERED)
    assert bench.one(gaps) == ["mx1 truncated, mx1 position-lost"]


def test_another_versions_state(bench):
    """Open messages that cannot be taken back are told of, and do not come back again and again."""
    bench.bouncer()
    lines = bench.log.message()
    bench.log.write(lines[:3])
    assert wait_until(lambda: bench.one("SELECT count(*) FROM waybill.open_messages") == [1])
    bench.end()
    bench.postgres.execute("UPDATE waybill.open_messages SET state = '\\x01'")
    bench.bouncer()
    bench.log.write(lines[3:])
    assert wait_until(lambda: bench.one(DELIVERED) == [1]), bench.one(DELIVERED)
    assert "1 of 1 open messages are not known any more (made by another version" in bench.output.read_text()
    assert wait_until(lambda: bench.one("SELECT count(*) FROM waybill.open_messages") == [0])


def test_two_bouncers_on_one_log(bench):
    """They may not; should they, nothing is lost or doubled: the slower one steps back, systemd would start it again."""
    bench.bouncer()
    bench.log.write(bench.log.interleaved(1))
    check(bench, 1)
    for _ in range(5):
        second = subprocess.Popen([bench.bin / "waybill-bouncer", "-c", bench.conf], stdin=subprocess.DEVNULL,
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(10):
            bench.log.write(bench.log.interleaved(4))
            time.sleep(random.random() / 20)
        second.kill()
        second.wait()
    bench.end()
    bench.bouncer()
    check(bench, 201)


def test_a_refusal_finds_its_customer(bench):
    """Postfix 3.7 does not log the login of a refused recipient; policyd's line in the spool has it."""
    spool = bench.home / "spool"
    spool.mkdir()
    bench.bouncer()
    bench.log.write(bench.log.interleaved(1))
    check(bench, 1)
    record = {"type": "policy.refused", "time": "2026-11-20T10:00:01Z", "host": "mx1", "customer": "acme",
              "login": "acme-app", "queue_id": "", "id": "k2x4pqmn", "action": "reject", "reason": "sender-not-owned"}
    with open(spool / "policyd.jsonl", "a", encoding="ascii") as file:
        file.write(json.dumps(record, separators=(",", ":")) + "\n")
    refused = "<x@y.example>: Sender address rejected: not yours [sender-not-owned] id="
    for refusal in ("k2x4pqmn", "aaaaaaaa"):
        bench.log.write([f"2026-11-20T10:00:01+00:00 mx1 postfix/smtpd[16]: NOQUEUE: reject: RCPT from h[192.0.2.7]: "
                         f"553 5.7.1 {refused}{refusal}; from=<x@y.example> to=<u@ex.net> proto=ESMTP helo=<me>"])
    rows = "SELECT string_agg(customer || ' ' || right(reason, 8), ', ' ORDER BY customer) FROM waybill.events " \
           "WHERE type = 'message.rejected'"
    assert wait_until(lambda: bench.one(rows) == ["- aaaaaaaa, acme k2x4pqmn"]), bench.one(rows)


def test_spools_are_sources(bench):
    """What the milter knows of a message, in its events; policyd's warnings as events; each once, across kills and faults."""
    spool = bench.home / "spool"
    spool.mkdir()
    bench.postgres.execute("INSERT INTO waybill.endpoints (customer, endpoint, url, sealed_secret, events) VALUES "
                           "('acme', 'ep_aaaaaaaaaaaaaaaa', 'https://x.example/', 'x', '{limit.warning}')")

    def say(name, **record):
        with open(spool / name, "a", encoding="ascii") as file:
            file.write(json.dumps(record, separators=(",", ":")) + "\n")

    lines = bench.log.message("deferred", "connect to mx.ex.net[203.0.113.9]:25: Connection refused", "4.4.1")[:-1]
    queue_id = lines[0].split()[3].rstrip(":")
    head = {"time": "2026-11-20T10:00:00Z", "host": "elsewhere", "customer": "acme", "login": "acme-app"}
    said = {**head, "queue_id": queue_id, "tag": "invoice", "metadata": {"order": "7"}}
    say("milter.jsonl", type="message.annotated", **said)
    say("milter.jsonl", type="message.annotated", **{**said, "customer": "other", "tag": "theirs"})
    say("policyd.jsonl", type="limit.warning", **head, queue_id="", threshold=80, limits=[])
    say("policyd.jsonl", type="limit.warning", **{**head, "customer": "gone"}, queue_id="", threshold=80, limits=[])
    say("policyd.jsonl", type="limit.warning", **{**head, "time": "never"}, queue_id="", threshold=95, limits=[])
    bench.bouncer()
    bench.log.write(lines)
    tags = "SELECT string_agg(type || ' ' || coalesce(tag, '-') || ' ' || coalesce(metadata ->> 'order', '-'), ', ' ORDER BY seq) " \
           "FROM support.events WHERE queue_id = '%s'" % queue_id
    both = "message.accepted invoice 7, message.deferred invoice 7"
    assert wait_until(lambda: bench.one(tags) == [both]), bench.one(tags)
    warnings = "SELECT string_agg(customer || ' ' || (detail ->> 'threshold') || ' ' || sasl_username, ', ') " \
               "FROM support.events WHERE type = 'limit.warning'"
    assert wait_until(lambda: bench.one(warnings) == ["acme 80 acme-app"]), bench.one(warnings)
    assert bench.one("SELECT count(*) FROM waybill.deliveries") == [1]
    assert bench.one("SELECT count(*) FROM support.dead_letters WHERE source ~ 'policyd'") == [1]

    bench.end(signal.SIGKILL)
    bench.log.write([lines[-1].replace("status=deferred", "status=sent").replace("10:00:00", "10:05:00")])
    say("policyd.jsonl", type="limit.warning", **head, queue_id="", threshold=100, limits=[])
    bench.postgres.execute("DELETE FROM waybill.log_positions WHERE source ~ 'policyd'")  # the whole spool again
    bench.bouncer()
    assert wait_until(lambda: bench.one(tags) == [both + ", message.delivered invoice 7"]), bench.one(tags)
    assert wait_until(lambda: bench.one(warnings) == ["acme 80 acme-app, acme 100 acme-app"]), bench.one(warnings)
    assert bench.one("SELECT count(*), max(seq) FROM waybill.events WHERE customer = 'acme'") == [5, 5]


def test_prometheus_sees_the_bouncer(bench):
    where = bench.home / "metrics"
    bench.conf.write_text(bench.conf.read_text().replace("[bouncer]\n", f"[bouncer]\nmetrics = {where}\n"))
    bench.bouncer()
    bench.log.write(bench.log.interleaved(3))
    bench.log.write(["2026-11-20T10:00:01+00:00 mx1 postfix/qmgr[2]: 4bXyZ12mN2VXxznjll: something new",
                     "2026-11-20T10:00:01+00:00 mx1 postfix/qmgr[2]: warning: " + 20000 * "x"])

    def seen():
        ran = subprocess.run(["curl", "-s", "--unix-socket", where, "http://localhost/metrics"], stdout=subprocess.PIPE, text=True)
        return dict(line.rsplit(" ", 1) for line in ran.stdout.splitlines() if not line.startswith("#"))

    kinds = 'waybill_bouncer_lines_total{kind="%s"}'
    assert wait_until(lambda: seen().get(kinds % "unparsed") == "1"), seen()
    now = seen()
    assert now[kinds % "taken"] == "15" and now['waybill_bouncer_events_total{type="message.delivered"}'] == "3", now
    assert now["waybill_bouncer_cut_lines_total"] == "1", now
    assert now["waybill_bouncer_open_messages"] == "0" and now["waybill_bouncer_behind_bytes"] == "0", now
    assert int(now["waybill_bouncer_batches_total"]) > 0 and now["waybill_bouncer_dead_letters_total"] == "0", now


def test_replay_tells_the_same(bench):
    """Without a database: the same ids, from plain and from compressed logs."""
    bench.log.write(bench.log.interleaved(10))
    bench.log.write(bench.log.message("bounced", "host mx.ex.net[203.0.113.9] said: 550 5.1.1 no (in reply to RCPT TO "
                                      "command)", "5.1.1"))
    bench.bouncer()
    assert wait_until(lambda: bench.one(COUNT)[0] == 23)  # and one that tells of the suppression
    packed = bench.home / "packed.gz"
    packed.write_bytes(subprocess.run(["gzip", "-c", bench.log.path], check=True, stdout=subprocess.PIPE).stdout)
    for file in (bench.log.path, packed):
        ran = subprocess.run([bench.bin / "waybill-bouncer", "--replay", file, "--json"], check=True, capture_output=True)
        told = [json.loads(line)["data"]["event_id"] for line in ran.stdout.splitlines()]
        stored = [row["event_id"] for row in bench.postgres.execute("SELECT event_id FROM waybill.events WHERE source_kind = 'log'")]
        assert sorted(told) == sorted(stored)
        assert b"lines 55, of no interest 0, not understood 0" in ran.stderr
    assert bench.one("SELECT recipient FROM waybill.suppressions") == ["r10@ex.net"]
