"""The systemd journal as a source: real journal files, read by the real journalctl as the bouncer's child."""

import os
import pathlib
import signal
import subprocess

import pytest

from tests.stack.process import wait_until

from .journal import Journal
from .test_follow import check

pytestmark = pytest.mark.skipif(not Journal.is_possible(), reason="systemd-journal-remote is not installed")
EVENTS = "SELECT string_agg(type || ' ' || queue_id, ', ' ORDER BY occurred_at, seq) FROM waybill.events"
GAPS = "SELECT coalesce(string_agg(detail ->> 'kind' || coalesce(' ' || (detail ->> 'lines'), ''), ', '), '') " \
       "FROM waybill.events WHERE type = 'log.gap'"
SOURCES = "SELECT count(*) FROM support.lag WHERE source ~ 'maillog|journal|other'"


@pytest.fixture
def journal(bench):
    made = Journal(bench.home / "journal").open()
    follow(bench, f"journal:{made.folder}")
    yield made
    made.close()


def follow(bench, *logs):
    lines = bench.conf.read_text().splitlines()
    bench.conf.write_text("\n".join(f"log = {', '.join(map(str, logs))}" if line.startswith("log =") else line for line in lines) + "\n")


def children(bench):
    """The processes of journalctl that the bouncer started."""
    pid = bench.processes.pid("bouncer")
    found = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in found if pathlib.Path(f"/proc/{child}/comm").read_text().strip() == "journalctl"]


def settled(bench, messages, gaps=""):
    wanted = [2 * messages, 2 * messages]
    count = "SELECT count(*), count(DISTINCT event_id) AS ids FROM waybill.events WHERE customer = 'acme'"
    assert wait_until(lambda: bench.one(count) == wanted, seconds=60), (bench.one(count), wanted, bench.output.read_text())
    assert bench.one(GAPS) == [gaps]


def test_an_entry_is_a_line(bench, journal):
    """What is there already, and what comes; the cursor stands with the events, so that a restart goes on behind it."""
    journal.write(bench.log.interleaved(20))
    bench.bouncer()
    check(bench, 20)
    journal.write(bench.log.interleaved(5))
    check(bench, 25)
    assert bench.one("SELECT position ->> 'cursor' ~ '^s=' FROM waybill.log_positions WHERE source ~ 'journal'") == [True]
    bench.end()
    journal.write(bench.log.interleaved(5))
    bench.bouncer()
    check(bench, 30)
    assert "going on" in bench.output.read_text()


@pytest.mark.seconds(240)
def test_killed_and_rotated(bench, journal):
    """The bouncer and its journalctl are killed at any moment, the journal goes on in other files."""
    for round_number in range(8):
        bench.bouncer()
        journal.write(bench.log.interleaved(40))
        assert wait_until(lambda: children(bench))
        if round_number % 2:
            for child in children(bench):
                os.kill(child, signal.SIGKILL)
            journal.open()
        journal.write(bench.log.interleaved(40))
        before = children(bench)
        bench.end(signal.SIGKILL)
        assert wait_until(lambda: not any(pathlib.Path(f"/proc/{child}").exists() for child in before)), "journalctl outlives us"
    bench.bouncer()
    check(bench, 8 * 80)
    assert "was ended by signal 9" in bench.output.read_text()


def test_a_lost_cursor_is_a_gap(bench, journal):
    """Vacuumed away while nobody looked: said once, and what is there is told."""
    journal.write(bench.log.interleaved(3))
    bench.bouncer()
    check(bench, 3)
    bench.end()
    old = journal.path()
    journal.open()
    old.unlink()
    journal.write(bench.log.interleaved(2))
    bench.bouncer()
    settled(bench, 5, "position-lost")
    bench.end()
    bench.bouncer()
    journal.write(bench.log.interleaved(1))
    settled(bench, 6, "position-lost")


def test_suppressed_messages_are_a_gap(bench, journal):
    bench.bouncer()
    journal.write(["t mx1 systemd-journald[200]: Suppressed 7124 messages from postfix@-.service"], _TRANSPORT="driver",
                  _SYSTEMD_UNIT="systemd-journald.service", _UID=0)
    journal.write(["t mx1 systemd-journald[200]: Suppressed 7 messages from nginx.service"], _TRANSPORT="driver",
                  _SYSTEMD_UNIT="systemd-journald.service", _UID=0)
    journal.write(bench.log.interleaved(1))
    settled(bench, 1, "suppressed 7124")


def test_only_journald_s_own_fields_are_trusted(bench, journal):
    """A local user who speaks as Postfix through logger(1), and one who sends fields of his own, with line ends in them."""
    forged = bench.log.message()
    journal.write(forged, _SYSTEMD_UNIT="session-3.scope", _UID=1000)
    journal.write(forged, _SYSTEMD_UNIT="user@1000.service", _UID=1000, UNIT="postfix@-.service", COREDUMP_UNIT="postfix@-.service")
    for line in forged:
        journal.entry("mx1", {"_SYSTEMD_UNIT": "cron.service", "_UID": 33, "SYSLOG_IDENTIFIER": "x",
                              "MESSAGE": b"x\n\n_SYSTEMD_UNIT=postfix@-.service\nMESSAGE=" + line.encode() + b"\n"})
    bench.log.count = 0
    journal.write(bench.log.interleaved(1))
    queue_id = "A00000000000"
    journal.write([f"t mx1 postfix/postsuper[7]: {queue_id}: placed on hold"], _SYSTEMD_UNIT="session-1.scope", _UID=0)
    bench.bouncer()
    assert wait_until(lambda: bench.one(EVENTS)[0] and "held" in bench.one(EVENTS)[0]), bench.one(EVENTS)
    assert bench.one(EVENTS) == [f"message.accepted {queue_id}, message.delivered {queue_id}, message.held {queue_id}"]


def test_without_journalctl(bench, journal):
    """It is missed, said once, and waited for."""
    path = os.environ["PATH"]
    bench.processes.start("bouncer", ["env", "PATH=/nowhere", bench.bin / "waybill-bouncer", "-c", bench.conf], bench.output)
    assert wait_until(lambda: "journalctl cannot be run; waiting for it" in bench.output.read_text())
    bench.end()
    assert os.environ["PATH"] == path
    journal.write(bench.log.interleaved(1))
    bench.bouncer()
    check(bench, 1)


@pytest.mark.seconds(240)
def test_several_sources_at_once(bench, journal):
    """Two files and a journal, each with its own place; killed now and then."""
    other = bench.home / "other.log"
    follow(bench, bench.log.path, f"journal:{journal.folder}", other)
    for round_number in range(4):
        bench.bouncer()
        for lines in (bench.log.interleaved(30), bench.log.interleaved(30)):
            bench.log.write(lines)
        journal.write(bench.log.interleaved(30))
        with open(other, "ab", buffering=0) as file:
            file.write("".join(line + "\n" for line in bench.log.interleaved(30)).encode())
        # One that has never looked knows nothing of older files.
        assert wait_until(lambda: bench.one(SOURCES) == [3], seconds=60)
        if round_number % 2:
            bench.log.rotate()
        bench.end(signal.SIGKILL if round_number % 2 else signal.SIGTERM)
    bench.bouncer()
    check(bench, 4 * 120)


@pytest.mark.parametrize("log", ("mail.log", "journal:there", "/var/log/a,,journal", ""))
def test_a_wrong_name_is_an_error(bench, log):
    follow(bench, log)
    bench.output.touch()
    ran = subprocess.run([bench.bin / "waybill-bouncer", "-c", bench.conf], capture_output=True, text=True)
    assert ran.returncode == 78 and "[bouncer] log: " in ran.stderr, (ran.returncode, ran.stderr)
