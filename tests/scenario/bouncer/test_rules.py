"""The rules by which a running bouncer judges: files of one's own, a reload, a fault in them, the database's many functions."""

import os
import signal

from tests.stack.process import wait_until

OURS = """rule ours/closed
category inactive-mailbox
words the shop is closed
match 550 5.1.1 The shop is closed
miss 550 5.1.1 The shop is open
"""


def bounce(bench):
    bench.log.write(bench.log.message("bounced", "host mx.ex.net[203.0.113.9] said: 550 5.1.1 The shop is closed (in reply to "
                                      "RCPT TO command)", "5.1.1"))


def rules_used(bench):
    return bench.one("SELECT string_agg(bounce_rule, ' ' ORDER BY seq) FROM waybill.events WHERE type = 'message.bounced'")[0]


def reload(bench, says):
    before = bench.output.read_text().count(says)
    pid = bench.processes.pid("bouncer")
    os.kill(pid, signal.SIGHUP)
    assert wait_until(lambda: bench.output.read_text().count(says) > before), bench.output.read_text()[-2000:]


def test_rules_are_read_again_and_a_fault_keeps_the_old(bench):
    file = bench.home / "ours.rules"
    file.write_text(OURS)
    file.chmod(0o644)
    bench.bouncer()
    bounce(bench)
    assert wait_until(lambda: rules_used(bench) == "std/x.1.1"), "the built-in rules"
    bench.conf.write_text(bench.conf.read_text().replace("[bouncer]\n", f"[bouncer]\nrules = {file}\n"))
    reload(bench, "1 bounce rules")
    bounce(bench)
    assert wait_until(lambda: rules_used(bench) == "std/x.1.1 ours/closed")
    file.write_text(OURS + "\nrule other\ncategory vires\n")
    reload(bench, f"{file}:8:10: there is no such category; bounces are judged by the rules before")
    bounce(bench)
    assert wait_until(lambda: rules_used(bench) == "std/x.1.1 ours/closed ours/closed")
    file.write_text(OURS.replace("ours/closed", "ours/shut"))
    reload(bench, "1 bounce rules")
    bounce(bench)
    assert wait_until(lambda: rules_used(bench) == "std/x.1.1 ours/closed ours/closed ours/shut")


def test_a_refusal_suppresses_and_counts(bench):
    """From a line of the log to what support sees."""
    bench.bouncer()
    bench.log.write(bench.log.interleaved(3))
    bench.log.write(bench.log.message("bounced", "host mx.ex.net[203.0.113.9] said: 550 5.1.1 <r3@ex.net>: User unknown (in "
                                      "reply to RCPT TO command)", "5.1.1"))
    assert wait_until(lambda: bench.one("SELECT count(*) FROM waybill.suppressions") == [1])
    assert bench.one("SELECT recipient, reason, rule, remote_mx, expires_at FROM support.suppressions") == \
        ["r3@ex.net", "hard-bounce", "text/unknown-user", "mx.ex.net", None]
    assert bench.one("SELECT suppression FROM waybill.events WHERE type = 'message.bounced'") == ["added"]
    assert bench.one("SELECT sum(events) FROM support.rollups WHERE type = 'message.delivered'") == [3]
    assert bench.one("SELECT category, bounces FROM support.bounces_by_provider") == ["bad-mailbox", 1]
    assert bench.one("SELECT detail ->> 'by' FROM waybill.events WHERE type = 'suppression.created'") == ["waybill_bouncer"]


def test_a_provider_that_refuses_everybody_is_told_of(bench):
    """The brake, from lines of the log: those beyond it are spared, and the bouncer's log says why, once."""
    bench.bouncer()
    bench.one("UPDATE waybill.brake_policy SET least = 10, percent = 30 RETURNING least")
    for number in range(20):
        bench.log.write(bench.log.message("bounced", f"host mx.ex.net[203.0.113.9] said: 550 5.1.1 <b{number}@ex.net>: User unknown (in "
                                          "reply to RCPT TO command)", "5.1.1"))
    assert wait_until(lambda: bench.one("SELECT count(*) FROM waybill.events WHERE type = 'message.bounced'") == [20])
    spared = bench.one("SELECT count(*) FROM waybill.events WHERE suppression = 'frozen'")[0]
    assert spared and bench.one("SELECT spared FROM support.brakes") == [spared]
    assert bench.one("SELECT count(*) FROM waybill.suppressions") == [20 - spared]
    assert bench.output.read_text().count("suppression is frozen for ") == 1
