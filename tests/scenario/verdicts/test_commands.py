"""What people ask the rules: classify and its reasons, rules check, reclassify over what is stored."""

import json
import subprocess

from .conftest import BLOCKED, DAY, HARD, WAYBILL

OURS = """rule ours/closed
category inactive-mailbox
words the shop is closed
match 550 5.1.1 The shop is closed
miss 550 5.1.1 The shop is open
"""


def classify(world, *words):
    done = subprocess.run([WAYBILL, "-c", world.conf, "classify", *words], capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


def test_classify_answers_with_the_rule_and_its_reasons(world):
    code, out, said = classify(world, "--json", "--explain", "--stage", "RCPT TO",
                               "550 5.2.1 Mailbox unavailable. Your IP 192.0.2.1 is blacklisted")
    verdict = json.loads(out)
    assert code == 0 and (verdict["category"], verdict["rule"], verdict["suppresses"]) == ("ip-blocked", "safe/block-list", False)
    assert "text: mailbox unavailable. your ip <ip> is blacklisted" in said and "safe/block-list" in said and "speaks" in said
    code, out, said = classify(world, "--json", "--explain", "--stage", "RCPT TO", "550 5.7.1 <a@b.example>: User unknown")
    assert json.loads(out)["category"] == "recipient-filtered" and "text/unknown-user-filtered" in said
    assert json.loads(classify(world, "--json", "--deferred", "450 4.2.1 user unknown")[1])["consequence"] == "none", "it is tried again"
    assert classify(world, "--code", "x", "no")[0] == 64


def test_classify_reads_many(world):
    lines = '{"text": "user unknown", "code": 550, "enhanced": "5.1.1"}\n{"text": "mailbox full", "enhanced": "4.2.2", "deferred": true}\n'
    out = world.run("classify", "--json", "-", stdin=lines)
    assert [json.loads(line)["category"] for line in out.splitlines()] == ["bad-mailbox", "quota-issues"]
    world.run("classify", "-", stdin="[1]\n", code=65)


def test_rules_check_names_line_and_column(world, tmp_path):
    file = tmp_path / "ours.rules"
    file.write_text(OURS)
    assert world.run("rules", "check", str(file)) == ""
    assert "a remark" not in world.run("rules", "check"), "the built-in ones have nothing to be said of"
    for text, place in ((OURS + "rule b\ncategory vires\n", ":7:10: there is no such category"),
                        (OURS + "rule b\ncategory virus\nwords a(b\n", ":8:10: missing closing")):
        file.write_text(text)
        done = subprocess.run([WAYBILL, "-c", world.conf, "rules", "check", file], capture_output=True, text=True)
        assert done.returncode == 65 and f"{file}{place}" in done.stderr, done.stderr
    file.write_text(OURS + "rule b\ncategory virus\nwords the shop is closed for good.\nmatch 550 the shop is closed for good.\nmiss 550 x\n")
    said = world.run("rules", "check", str(file), code=65)
    assert f"{file}:8:7: b: is never reached" in said and f"{file}:8:34: b: a dot without backslash" in said
    assert f"{file}:9:7: b: does not speak for its example, ours/closed does" in said


def test_reclassify_lists_and_changes_nothing(world, tmp_path):
    customer = world.customer("again-judged")
    old = dict(HARD, bounce_rule="was/one", smtp_code=550, enhanced_code="5.1.1", stage="RCPT TO")
    world.record(world.event(customer, "bounced", "a@judged.example", response="550 5.1.1 The shop is closed", **old),
                 world.event(customer, "bounced", "b@judged.example", response="550 5.1.1 User unknown", **old),
                 world.event(customer, "delivered", "c@judged.example"),
                 world.event(customer, "bounced", "d@judged.example", response="550 5.7.1 blocked using bl.example.org",
                             smtp_code=550, enhanced_code="5.7.1", **BLOCKED))
    before = world.rows("SELECT event_id, bounce_category, bounce_rule FROM waybill.events WHERE customer = %s ORDER BY seq", customer)
    assert world.run("reclassify", "--dry-run", "--customer", customer, "--json") == "", "the built-in rules agree with what is stored"
    file = tmp_path / "ours.rules"
    file.write_text(OURS)
    rows = [json.loads(line) for line in world.run("reclassify", "--dry-run", "--customer", customer, "--rules", str(file), "--json").splitlines()]
    assert {(row["recipient"], row["was"], row["is"], row["is_rule"]) for row in rows} == {
        ("a@judged.example", "bad-mailbox", "inactive-mailbox", "ours/closed"),
        ("b@judged.example", "bad-mailbox", "undetermined", "undetermined"), ("d@judged.example", "ip-blocked", "undetermined", "undetermined")}
    # The category alone is not the verdict: who it is about, and whether it is final, decide what follows.
    file.write_text(OURS + "rule ours/unknown\ncategory bad-mailbox\nscope sender_ip\nwords user unknown\n"
                    "rule ours/blocked\ncategory ip-blocked\nclass soft\nwords blocked using\n")
    rows = [json.loads(line) for line in world.run("reclassify", "--dry-run", "--customer", customer, "--rules", str(file), "--json").splitlines()]
    assert {(row["recipient"], row["was_class"], row["is_class"], row["was_scope"], row["is_scope"]) for row in rows if row["was"] == row["is"]} == {
        ("b@judged.example", "hard", "hard", "recipient", "sender_ip"), ("d@judged.example", "hard", "soft", "sender_ip", "sender_ip")}
    later = (DAY.replace(day=DAY.day + 1)).isoformat()
    assert world.run("reclassify", "--dry-run", "--customer", customer, "--since", later, "--rules", str(file), "--json") == ""
    assert world.rows("SELECT event_id, bounce_category, bounce_rule FROM waybill.events WHERE customer = %s ORDER BY seq", customer) == before
    world.run("reclassify", code=64)
    file.write_text("rule a\n")
    world.run("reclassify", "--dry-run", "--rules", str(file), code=65)
