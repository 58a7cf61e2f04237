"""Keys that cannot be used and signatures that do not verify: whom it harms, and the events that tell of it."""

import json

from conftest import DIRECTORY, GOLDEN, RSA, public
from messages import header, metrics_page, verify


def alarms(daemon, domain):
    lines = (daemon.folder / "spool" / "milter.jsonl").read_text().splitlines()
    return [entry for entry in map(json.loads, lines) if entry["type"].startswith("domain.") and entry["domain"] == domain]


def test_an_unusable_key_is_told_once_and_harms_its_domain_alone(own_daemon, own_milter):
    for number in range(3):
        answer = own_milter.message(header("a@broken.test"), queue_id=f"F{number}")
        assert answer.text.startswith("451 4.7.5") and "[no-key]" in answer.text
        verify(own_milter.message(header()), header())
    [alarm] = alarms(own_daemon, "broken.test")
    assert (alarm["type"], alarm["customer"], alarm["host"]) == ("domain.key_unusable", "acme", "mx1")
    assert (alarm["selector"], alarm["queue_id"], alarm["mail"]) == ("rsa", "F0", "deferred") and alarm["why"]
    own_milter.message(header("a@mismatch.test"))
    own_milter.message(header("a@pending.test"))
    assert "does not fit" in alarms(own_daemon, "mismatch.test")[0]["why"]
    assert alarms(own_daemon, "pending.test")[0]["why"] == "none of its keys is active"
    assert 'waybill_milter_refusals_total{reason="no-key"} 5' in metrics_page(own_daemon)


ROTATED = DIRECTORY + f"""
domain rotated.test acme
key old rsa-sha256 retiring {RSA} {public("rsa")}
key rsa rsa-sha256 active {RSA} {public("rsa")} spoilt
domain before.test acme
key old rsa-sha256 retiring {RSA} {public("rsa")}
domain second.test acme
key rsa rsa-sha256 active {RSA} {public("rsa")}
key ed ed25519-sha256 active AAAA
"""


def test_the_key_before_stands_in_while_it_retires(own_daemon, own_milter):
    own_daemon.write_directory(ROTATED)
    answer = own_milter.message(header("a@rotated.test"))
    [signature] = answer.inserted("DKIM-Signature")
    assert answer.accepted and "s=old;" in signature
    [alarm] = alarms(own_daemon, "rotated.test")
    assert (alarm["selector"], alarm["mail"]) == ("rsa", "signed")
    assert own_milter.message(header("a@before.test")).text.startswith("451 4.7.5")
    own_daemon.wait_for_log("DKIM key rsa of rotated.test cannot be used")


def test_a_second_signature_may_be_missing(own_daemon, own_milter):
    own_daemon.write_directory(ROTATED)
    answer = own_milter.message(header("a@second.test"))
    assert answer.accepted and len(answer.inserted("DKIM-Signature")) == 1
    [alarm] = alarms(own_daemon, "second.test")
    assert (alarm["selector"], alarm["mail"]) == ("ed", "without")


def test_a_worse_key_is_told_of_after_a_bad_one(own_daemon, own_milter):
    """A day's silence about one key hides no other, and what becomes worse is news."""
    both = f'domain second.test acme\nkey rsa rsa-sha256 active {RSA} {public("rsa")}'
    own_daemon.write_directory(ROTATED)
    assert own_milter.message(header("a@second.test")).accepted
    own_daemon.write_directory(ROTATED.replace(both, both + " spoilt"))
    assert own_milter.message(header("a@second.test")).accepted
    own_daemon.write_directory(ROTATED.replace(both, both.replace("key rsa", "key new") + " spoilt"))
    for _ in range(2):
        assert own_milter.message(header("a@second.test")).text.startswith("451 4.7.5")
    assert [(alarm["selector"], alarm["mail"]) for alarm in alarms(own_daemon, "second.test")] == [
        ("ed", "without"), ("rsa", "signed"), ("new", "deferred"), ("ed", "deferred")]
    assert own_daemon.log().count("DKIM key new of second.test cannot be used") == 1


def test_a_bad_key_of_the_relay_harms_nobody(make_daemon):
    daemon = make_daemon("relay_domain = relay.test")
    daemon.write_directory(DIRECTORY + f"""
customer relay
domain relay.test relay
key rsa rsa-sha256 active {RSA} {public("rsa")} spoilt
""")
    daemon.start()
    milter = daemon.connect()
    for _ in range(2):
        verify(milter.message(header()), header())
    [alarm] = alarms(daemon, "relay.test")
    assert (alarm["customer"], alarm["mail"]) == ("relay", "without")
    milter.close()


def self_checking(daemon, keys, program=None):
    """A daemon that checks every message it can against KEYS, a text."""
    (daemon.folder / "keys").write_text(keys)
    daemon.write_conf(f"self_check = 1\nself_check_program = {program or daemon.build / 'bin' / 'waybill-dkim-check'}\n"
                      f"self_check_keys = {daemon.folder}/keys")
    daemon.write_directory()
    daemon.start()
    return daemon


def test_self_check_passes_what_is_right(make_daemon):
    records = (GOLDEN / "keys").read_text()
    daemon = self_checking(make_daemon(), records + records.replace("example.com", "both.test"))
    milter = daemon.connect()
    milter.message(header("a@both.test", ("X-Waybill-Gone", "1")), b"A body \r\n\r\n\r\n")
    daemon.wait(lambda: 'self_checks_total{result="passed"} 1' in metrics_page(daemon), "a passed self-check")
    milter.message(header("Alice\n\t<a@example.com>"), b"")
    daemon.wait(lambda: 'self_checks_total{result="passed"} 2' in metrics_page(daemon), "another one")
    assert "self-check" not in daemon.log()
    milter.close()


def test_self_check_judges_no_signature_that_the_client_brought(make_daemon):
    """A forged one of somebody else's domain would take that customer's one alarm of the day."""
    forged = "v=1; a=rsa-sha256; d=globex.test; s=rsa; h=from; bh=AAAA; b=AAAA"
    daemon = self_checking(make_daemon(), (GOLDEN / "keys").read_text())
    milter = daemon.connect()
    headers = header("a@example.com", ("DKIM-Signature", forged), ("dkim-signature", "no tags"))
    verify(milter.message(headers), headers)
    daemon.wait(lambda: 'self_checks_total{result="passed"} 1' in metrics_page(daemon), "a passed self-check")
    assert "self-check" not in daemon.log() and not list(daemon.folder.glob("spool/*.jsonl"))
    milter.close()


def test_self_check_finds_a_wrong_record(make_daemon):
    records = (GOLDEN / "keys").read_text()
    start = "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA"
    daemon = self_checking(make_daemon(), records.replace(start + "w", start + "x"))
    milter = daemon.connect()
    assert milter.message(header(), queue_id="5E1F").accepted
    daemon.wait_for_log("5E1F: self-check=failed, the message just signed does not verify: rsa._domainkey.example.com: ")
    milter.close()


def test_self_check_without_its_program(make_daemon):
    daemon = self_checking(make_daemon(), "", program="/nonexistent")
    milter = daemon.connect()
    assert milter.message(header(), queue_id="5E2F").accepted
    daemon.wait_for_log("5E2F: self-check=unknown, the program cannot be started")
    milter.close()


def test_a_failed_self_check_is_an_event_once(make_daemon):
    """No record at all, as when somebody has tidied up DNS."""
    records = (GOLDEN / "keys").read_text()
    daemon = self_checking(make_daemon(), records.replace("rsa._domainkey", "gone._domainkey"))
    milter = daemon.connect()
    for number in range(1, 4):
        assert milter.message(header(), queue_id=f"5E{number}").accepted
        daemon.wait(lambda: f'self_checks_total{{result="failed"}} {number}' in metrics_page(daemon), "a failed self-check")
    [alarm] = alarms(daemon, "example.com")
    assert (alarm["type"], alarm["customer"], alarm["selector"]) == ("domain.signature_failing", "acme", "rsa")
    assert (alarm["queue_id"], alarm["mail"]) == ("5E1", "signed") and alarm["why"]
    milter.close()
