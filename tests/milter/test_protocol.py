"""The milter process over its socket: what Postfix would see. Signatures are verified by dkimpy."""

import base64
import hashlib
import hmac
import json
import os
import re
import signal
import socket
import stat
import string

import dkim
import pytest

from conftest import DIRECTORY, ED, RSA, Daemon, public
from messages import header, metrics_page, spooled, verify
from protocol import ALL_ACTIONS, ALL_STEPS, NO_REPLY, NO_STEP, Milter


def test_negotiation_waives_what_waits_for_the_end(milter):
    for letter in "MRLB":
        assert milter.steps & NO_REPLY[letter]
    for letter in "CHN":
        assert milter.steps & NO_STEP[letter]
    assert milter.symbols == {2: ["{mail_addr}", "{auth_authen}"], 3: ["i"], 5: ["i", "{auth_authen}", "{client_addr}"]}


def test_a_message_is_signed(daemon, milter):
    answer = milter.message(header())
    assert answer.accepted
    verify(answer, header())
    signature = answer.inserted("DKIM-Signature")[0]
    tags = dict(tag.strip().split("=", 1) for tag in signature.split(";"))
    assert (tags["d"], tags["s"], tags["a"], tags["c"]) == ("example.com", "rsa", "rsa-sha256", "relaxed/relaxed")
    assert int(tags["x"]) == int(tags["t"]) + 7 * 86400
    assert "l" not in tags and "i" not in tags
    daemon.wait_for_log("4F1C2A: customer=acme, login=app, from=alice@example.com, domain=example.com, selector=rsa, "
                        "action=signed")


def test_both_algorithms(milter):
    headers = header("a@both.test")
    answer = milter.message(headers)
    verify(answer, headers, count=2)
    assert ["a=rsa" in value for value in reversed(answer.inserted("DKIM-Signature"))] == [True, False]


def test_a_server_that_waives_nothing(daemon):
    milter = daemon.connect(steps=0)
    for _ in range(3):
        verify(milter.message(header()), header())
    milter.close()


def test_a_server_that_offers_too_little_is_refused(daemon):
    with pytest.raises((AssertionError, EOFError)):
        daemon.connect(actions=1)
    daemon.wait_for_log("milter_protocol = 6")


def test_messages_of_one_session_do_not_mix(milter):
    first = header("a@example.com", ("X-Big", "x" * 100000))
    verify(milter.message(first, b"one\r\n" * 50000), first, b"one\r\n" * 50000)
    verify(milter.message(header("b@both.test"), b""), header("b@both.test"), b"", count=2)
    assert milter.message([("Subject", "no author")]).text.startswith("550 5.6.0")
    verify(milter.message(header()), header())


def test_aborts_leave_nothing_behind(milter):
    milter.begin("bulk", "x@globex.test", ["y@example.net"])
    milter.abort()
    milter.begin("bulk", "x@globex.test", ["y@example.net"])
    milter.content(header("x@globex.test"), b"never ended\r\n")
    milter.abort()
    verify(milter.message(header()), header())


def test_mail_without_a_login_is_left_alone(daemon, milter):
    answer = milter.message(header("anyone@anywhere.test"), login=None, queue_id="0FF")
    assert answer.accepted and not answer.changes
    milter.message(header(), queue_id="100")
    daemon.wait_for_log("100: customer=acme")
    assert "0FF:" not in daemon.log()


@pytest.mark.parametrize("sender, reply, reason", [
    ("a@elsewhere.test", "550 5.7.1", "from-not-owned"),
    ("a@globex.test", "550 5.7.1", "from-foreign"),
    ("a@news.globex.test", "550 5.7.1", "from-foreign"),
    ("a@example.com, b@example.com", "550 5.6.0", "from-malformed"),
    ("Team: a@example.com;", "550 5.6.0", "from-malformed"),
])
def test_from_must_be_owned(daemon, milter, sender, reply, reason):
    answer = milter.message(header(sender))
    assert answer.letter == "y" and answer.text.startswith(reply) and f"[{reason}]" in answer.text
    assert "app" in answer.text
    daemon.wait_for_log(f"action=reject, reason={reason}")


def test_two_from_fields(milter):
    answer = milter.message(header("a@example.com", ("from", "b@example.com")))
    assert answer.text.startswith("550 5.6.0") and "[from-several]" in answer.text


def test_sender_must_be_owned(milter):
    assert "[sender-foreign]" in milter.message(header("a@example.com", ("Sender", "b@globex.test"))).text
    assert "[sender-not-owned]" in milter.message(header("a@example.com", ("Sender", "b@elsewhere.test"))).text
    assert "[sender-several]" in milter.message(header("a@example.com", *[("Sender", "b@example.com")] * 2)).text
    headers = header("a@example.com", ("Sender", "b@both.test"))
    verify(milter.message(headers), headers)


def test_a_sub_domain_needs_a_right_of_its_own(milter):
    assert "[from-not-owned]" in milter.message(header("a@sub.example.com")).text


def test_a_sub_domain_is_signed_by_its_parent(milter):
    headers = header("a@news.parent.test")
    answer = milter.message(headers, login="sub")
    verify(answer, headers)
    assert " d=parent.test;" in answer.inserted("DKIM-Signature")[0]


def test_header_from_log_lets_it_pass_and_says_so(daemon, milter):
    answer = milter.message(header("a@elsewhere.test"), login="bulk")
    assert answer.accepted and not answer.changes
    daemon.wait_for_log("action=unsigned, noted=from-not-owned")


def test_header_from_off_lets_it_pass_and_says_nothing(daemon):
    milter = daemon.connect()
    answer = milter.message(header("a@elsewhere.test", ("Sender", "b@elsewhere.test")), login="loose", queue_id="0FF1")
    assert answer.accepted and not answer.changes
    daemon.wait_for_log("0FF1: customer=loose, login=loose, from=a@elsewhere.test, action=unsigned\n")
    assert "[from-foreign]" in milter.message(header("a@globex.test"), login="loose").text
    assert "[sender-foreign]" in milter.message(header("a@elsewhere.test", ("Sender", "b@globex.test")), login="loose").text
    milter.close()


def test_an_allowed_address_of_no_registered_domain_goes_unsigned(daemon, milter):
    answer = milter.message(header("partner@elsewhere.test"))
    assert answer.accepted and not answer.changes
    assert milter.message(header("a@unsigned.test")).accepted


@pytest.mark.parametrize("login, reply, reason", [
    ("nobody", "450 4.7.1", "login-unknown"),
    ("off", "525 5.7.13", "login-disabled"),
    ("stolen", "525 5.7.13", "login-suspended"),
    ("old", "525 5.7.13", "login-expired"),
    ("gone", "525 5.7.13", "customer-suspended"),
])
def test_logins_that_may_not(milter, login, reply, reason):
    answer = milter.message(header(), login=login)
    assert answer.text.startswith(reply) and f"[{reason}]" in answer.text and login in answer.text


@pytest.mark.parametrize("domain", ["pending.test", "broken.test", "mismatch.test"])
def test_never_unsigned_and_only_that_domain_suffers(daemon, milter, domain):
    for _ in range(3):
        answer = milter.message(header(f"a@{domain}"))
        assert answer.text.startswith("451 4.7.5") and "[no-key]" in answer.text and domain in answer.text
        assert not answer.changes
    verify(milter.message(header()), header())


def test_the_last_good_key_stays(own_daemon, own_milter):
    verify(own_milter.message(header()), header())
    own_daemon.write_directory(DIRECTORY.replace(f"{RSA} {public('rsa')}\ndomain both", f"{RSA} {public('rsa')} spoilt\ndomain both"))
    for _ in range(2):
        verify(own_milter.message(header()), header())
    own_daemon.wait_for_log("the one before it goes on signing")
    assert own_daemon.log().count("the one before it goes on signing") == 1


@pytest.mark.parametrize("second", ["bulk", None])
def test_a_session_has_one_login(daemon, milter, second):
    assert not milter.message(header(), login=None).changes
    verify(milter.message(header()), header())
    queue_id = "C0" + ("1" if second else "2")
    answer = milter.message(header(), login=second, queue_id=queue_id)
    assert answer.text.startswith("451 4.3.0") and "[login-changed]" in answer.text and not answer.changes
    [entry] = spooled(daemon, queue_id)
    assert (entry["type"], entry["reason"], entry["action"]) == ("policy.refused", "login-changed", "defer")
    assert answer.text.endswith(f"[login-changed] id={entry['id']}") and entry.get("customer", "") == ("globex" if second else "")
    assert re.search(r'milter_refusals_total{reason="login-changed"} [1-9]', metrics_page(daemon))
    daemon.wait_for_log("action=defer, reason=login-changed, was=app")
    verify(milter.message(header()), header())


def test_forged_fields_are_taken_out(milter):
    headers = header("a@example.com", ("X-Waybill-Event", "1"), ("X-Other", "2"), ("x-waybill-event", "3"),
                     ("X-WAYBILL-Customer", "globex"))
    answer = milter.message(headers)
    assert b"waybill" not in answer.apply(headers, b"Hello\r\n").lower().split(b"dkim-signature")[0].replace(b"\r\n", b"")
    verify(answer, headers)
    left = answer.apply(headers, b"")
    assert b"X-Other" in left and b"aybill-" not in left and b"AYBILL" not in left


def test_forged_fields_of_mail_without_a_login_are_taken_out(milter):
    headers = header("anyone@anywhere.test", ("X-Waybill-Tag", "1"), ("X-Other", "2"), ("X-Waybill-Tag", "3"))
    answer = milter.message(headers, login=None)
    assert answer.accepted and sorted(change[:3] for change in answer.changes) == [("m", 1, "X-Waybill-Tag"), ("m", 2, "X-Waybill-Tag")]
    assert b"X-Other" in answer.apply(headers, b"") and b"aybill" not in answer.apply(headers, b"")


def test_what_is_missing_is_added_before_signing(milter):
    headers = [("From", "a@example.com"), ("Content-Type", "text/plain")]
    answer = milter.message(headers)
    assert [name for kind, _, name, _ in answer.changes if kind == "h"] == ["Date", "Message-ID", "MIME-Version"]
    verify(answer, headers)
    signature = answer.inserted("DKIM-Signature")[0].replace("\n\t", "")
    assert "date:date:" in signature and "message-id:message-id:mime-version:mime-version" in signature


def test_long_header_lines_are_folded_before_signing(milter):
    long = "x" * 900
    headers = header("a@example.com", ("References", f"<{long}> <{long}>"), ("X-Waybill-Long", long * 2), ("references", long * 2),
                     ("Cc", f"{long}@example.net,{long}@example.net"))
    answer = milter.message(headers)
    assert [change[:3] for change in answer.changes if change[0] == "m"][:3] == [
        ("m", 1, "References"), ("m", 2, "references"), ("m", 1, "Cc")]
    verify(answer, headers)
    assert max(len(line) for line in answer.apply(headers, b"").split(b"\r\n")) <= 998


def test_unsafe_lines_are_reported(daemon, milter):
    body = b"fine\r\n" + b"x" * 999 + b"\r\n"
    verify(milter.message(header(), body, queue_id="F1"), header(), body)
    daemon.wait_for_log("F1: customer=acme, login=app, from=alice@example.com, domain=example.com, selector=rsa, "
                        "action=signed, unsafe=long-line/line2")


def test_everything_on(make_daemon):
    daemon = make_daemon("fix = no\nunsafe = refuse\nrelay_domain = both.test\nfeedback_id = relay\ncfbl_address = fbl@both.test")
    daemon.write_directory()
    daemon.start()
    milter = daemon.connect()
    answer = milter.message(header(), b"fine\r\n" + b"x" * 999 + b"\r\n")
    assert answer.text.startswith("550 5.6.0 Line 2 of the body is longer than 998 bytes") and "[unsafe]" in answer.text
    assert "Header field 6 (X-Long) is longer" in milter.message(header("a@example.com", ("X-Long", "x" * 999))).text
    answer = milter.message(header())
    verify(answer, header(), count=3)
    tops = [value.replace("\n\t", " ") for value in reversed(answer.inserted("DKIM-Signature"))]
    assert ["d=example.com" in top for top in tops] == [True, False, False]
    assert [(name, value) for kind, _, name, value in answer.changes if kind == "h"] == [
        ("Feedback-ID", "app:acme:relay"), ("CFBL-Address", "fbl@both.test; report=arf")]
    assert all("feedback-id:cfbl-address" in top.replace(" ", "") for top in tops)
    daemon.wait_for_log("relay=both.test")
    headers = header("partner@elsewhere.test")
    answer = milter.message(headers)
    verify(answer, headers, count=2)
    assert all("d=both.test" in value.replace("\n\t", " ") for value in answer.inserted("DKIM-Signature"))
    milter.close()


def test_mail_that_the_relay_alone_signs_is_completed_too(make_daemon):
    daemon = make_daemon("relay_domain = both.test\nfeedback_id = relay\ncfbl_address = fbl@both.test")
    daemon.write_directory()
    daemon.start()
    milter = daemon.connect()
    headers = [("From", "partner@elsewhere.test"), ("Content-Type", "text/plain")]
    answer = milter.message(headers)
    verify(answer, headers, count=2)
    added = {name: value for kind, _, name, value in answer.changes if kind == "h"}
    assert list(added) == ["Date", "Message-ID", "MIME-Version", "Feedback-ID", "CFBL-Address"]
    assert added["Message-ID"].endswith("@elsewhere.test>") and added["Feedback-ID"] == "app:acme:relay"
    milter.close()


@pytest.fixture(scope="module")
def refusing(request):
    daemon = Daemon(request.config.getoption("--build-dir"), "unsafe = refuse")
    daemon.write_directory()
    daemon.start()
    yield daemon
    daemon.clean()


EIGHT_BIT = "fine\r\ngr\u00fcn\r\n".encode()


@pytest.mark.parametrize("field", [("X-Other", "1"), ("X-Other", "gr\u00fcn"), ("Content-Transfer-Encoding", "8bit")])
def test_eight_bit_text_must_be_announced(refusing, field):
    milter = refusing.connect()
    headers = header("a@example.com", ("MIME-Version", "1.0"), field)
    answer = milter.message(headers, EIGHT_BIT)
    assert answer.text.startswith("550 5.6.0 Line 2 of the body has 8-bit text") and "[unsafe]" in answer.text
    verify(milter.message(headers, EIGHT_BIT, parameters=["SIZE=100", "body=8bitmime"]), headers, EIGHT_BIT)
    assert "[unsafe]" in milter.message(headers, EIGHT_BIT).text
    milter.close()


def test_eight_bit_text_stands_in_the_log(daemon, milter):
    headers = header("a@example.com", ("MIME-Version", "1.0"), ("Content-Transfer-Encoding", "8bit"))
    verify(milter.message(headers, EIGHT_BIT, queue_id="8B17", parameters=["BODY=8BITMIME"]), headers, EIGHT_BIT)
    daemon.wait_for_log("8B17: customer=acme, login=app, from=a@example.com, domain=example.com, selector=rsa, action=signed, "
                        "unsafe=8bit/line2")


def test_what_bears_no_signature_cannot_break_one(refusing):
    milter = refusing.connect()
    for sender in ("a@unsigned.test", "partner@elsewhere.test"):
        answer = milter.message(header(sender, ("X-Long", "x" * 500 + " " + "x" * 800)), b"x" * 999 + b"\r\n")
        assert answer.accepted and not answer.changes
    milter.close()


MAILERS = DIRECTORY + f"""
customer mailer
return-path
unsubscribe https://u.example/{{token}}?t={{token}}
login mail mailer
allow *@owned
domain mailer.test mailer
key rsa rsa-sha256 active {RSA} {public("rsa")}
key ed ed25519-sha256 active {ED} {public("ed")}
signatures 1
domain bare.test mailer
key rsa rsa-sha256 active {RSA} {public("rsa")}
signatures 0
domain edonly.test mailer
key ed ed25519-sha256 active {ED} {public("ed")}
signatures 1
customer fixed
unsubscribe https://u.example/all
login fixed fixed
allow *@owned
domain fixed.test fixed
key rsa rsa-sha256 active {RSA} {public("rsa")}
"""


@pytest.fixture(scope="module")
def mailer(request):
    daemon = Daemon(request.config.getoption("--build-dir"))
    key = daemon.folder / "return-path.key"
    key.write_text("# the present one, the former one\n" + "11" * 32 + "\n" + "22" * 32 + "\n")
    key.chmod(0o600)
    daemon.write_conf(f"return_path_host = return.test\nreturn_path_key = {key}\nunauthenticated_login = fixed")
    daemon.write_directory(MAILERS)
    daemon.start_redis()
    daemon.start()
    yield daemon
    daemon.clean()


@pytest.fixture
def mailing(mailer):
    milter = mailer.connect()
    yield milter
    milter.close()


def new_sender(answer):
    return [value for kind, _, _, value in answer.changes if kind == "e"]


def token(customer, node, queue_id, key=b"\x11" * 32):
    """By the words of common/return_path.h, not by its code."""
    letters = string.digits + string.ascii_uppercase + string.ascii_lowercase
    bits = "".join(f"{letters.index(c) + 1:06b}" for c in queue_id)
    packed = int(bits.ljust((len(bits) + 7) // 8 * 8, "0"), 2).to_bytes((len(bits) + 7) // 8, "big")
    said = b"\1" + hashlib.sha256(customer).digest()[:6] + hashlib.sha256(node).digest()[:3] + packed
    whole = said + hmac.new(key, said, "sha256").digest()[:10]
    return base64.b32encode(whole).decode().rstrip("=").lower()


def test_the_return_path_is_made(mailer, mailing):
    headers = header("a@mailer.test", ("List-Unsubscribe", "<mailto:own@mailer.test>"))
    answer = mailing.message(headers, login="mail", sender="app@mailer.test", queue_id="4bX3yZ1abczz9vQ")
    [sender] = new_sender(answer)
    assert sender == f"<b+{token(b'mailer', b'mx1', '4bX3yZ1abczz9vQ')}@return.test>"
    assert len(sender.strip("<>").split("@")[0]) <= 64
    verify(answer, headers)
    assert [name for kind, _, name, _ in answer.changes if kind == "h"] == []
    [entry] = spooled(mailer, "4bX3yZ1abczz9vQ")
    assert (entry["type"], entry["sender"]) == ("message.annotated", "app@mailer.test")
    mailer.wait_for_log("4bX3yZ1abczz9vQ: customer=mailer, login=mail, from=a@mailer.test, domain=mailer.test, selector=rsa, "
                        "sender=app@mailer.test, action=signed")


def test_the_null_sender_stays(mailing):
    assert new_sender(mailing.message(header("a@mailer.test"), login="mail", sender="")) == []
    assert new_sender(mailing.message(header("a@mailer.test"), login="mail", queue_id="4F-x")) == []


def test_other_customers_senders_stay(mailing):
    assert new_sender(mailing.message(header())) == []


def test_without_a_key_no_return_path_is_made(own_daemon):
    own_daemon.write_directory(MAILERS)
    milter = own_daemon.connect()
    assert not milter.actions & 0x40
    answer = milter.message(header("a@mailer.test"), login="mail")
    assert new_sender(answer) == [] and [name for kind, _, name, _ in answer.changes if kind == "h"] == []
    verify(answer, header("a@mailer.test"))
    milter.close()


def test_a_server_that_does_not_let_senders_change_is_refused(mailer):
    assert mailer.connect().actions & 0x40
    with pytest.raises((AssertionError, EOFError)):
        mailer.connect(actions=ALL_ACTIONS & ~0x40)
    mailer.wait_for_log("and change the sender; milter_protocol = 6")


def test_a_return_path_needs_its_key(make_daemon):
    daemon = make_daemon("return_path_host = return.test")
    daemon.write_directory()
    with pytest.raises(AssertionError, match="return_path_host needs return_path_key"):
        daemon.start()
    assert daemon.process.wait() == 78
    daemon.process = None


def test_complaints_need_a_signature_of_their_domain(make_daemon):
    daemon = make_daemon("relay_domain = both.test\ncfbl_address = fbl@other.test")
    daemon.write_directory()
    with pytest.raises(AssertionError, match="next: relay_domain = other.test"):
        daemon.start()
    assert daemon.process.wait() == 78
    daemon.process = None


def unsubscribe_fields(answer):
    return [(name, value) for kind, _, name, value in answer.changes if kind == "h" and name.startswith("List-")]


def test_one_click_unsubscribing_names_the_one_recipient(mailing):
    headers = header("a@mailer.test")
    answer = mailing.message(headers, login="mail", queue_id="4F1C2A")
    name = token(b"mailer", b"mx1", "4F1C2A")
    assert unsubscribe_fields(answer) == [("List-Unsubscribe", f"\n\t<https://u.example/{name}?t={name}>,\n\t"
                                           f"<mailto:u+{name}@return.test?subject=unsubscribe>"),
                                          ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click")]
    verify(answer, headers)
    assert "list-unsubscribe:list-unsubscribe-post" in answer.inserted("DKIM-Signature")[0].replace("\n\t", "")
    answer = mailing.message(headers, login="mail", recipients=["b@example.net", "c@example.net"])
    assert unsubscribe_fields(answer) == []
    verify(answer, headers)


@pytest.mark.parametrize("name", ["List-Unsubscribe", "list-unsubscribe-post"])
def test_one_click_unsubscribing_never_overrides(mailing, name):
    headers = header("a@mailer.test", (name, "<https://own.example/>"))
    answer = mailing.message(headers, login="mail")
    assert unsubscribe_fields(answer) == []
    verify(answer, headers)


def test_an_url_without_a_token_is_for_any_number_of_recipients(mailing):
    headers = header("a@fixed.test")
    answer = mailing.message(headers, login="fixed", recipients=["b@example.net", "c@example.net"])
    assert unsubscribe_fields(answer)[0] == ("List-Unsubscribe", "\n\t<https://u.example/all>")
    assert new_sender(answer) == []
    verify(answer, headers)


def test_the_number_of_signatures(mailing):
    verify(mailing.message(header("a@mailer.test"), login="mail"), header("a@mailer.test"))
    bare = mailing.message(header("a@bare.test"), login="mail")
    assert bare.accepted and bare.inserted("DKIM-Signature") == []
    only = mailing.message(header("a@edonly.test"), login="mail")
    assert only.text.startswith("451 4.7.5") and "[no-key]" in only.text


def test_mail_without_a_login_may_be_somebodys(mailer, mailing):
    headers = header("a@fixed.test")
    for _ in range(2):
        verify(mailing.message(headers, login=None, sender="a@fixed.test"), headers)
    assert "[from-foreign]" in mailing.message(header("a@example.com"), login=None, sender="a@example.com").text
    bounce = mailing.message(header("MAILER-DAEMON@mx1.test"), login=None, sender="", queue_id="0FF")
    assert bounce.accepted and not bounce.changes


def test_what_cannot_be_carried_out_is_given_back_to_whoever_paid(mailer):
    """Also when the mail came without a login. The server goes deaf: what the milter asks for reaches nobody."""
    milter = mailer.connect()
    milter.begin(None, "a@fixed.test", ["b@example.net"])
    milter.content(header("a@fixed.test"), b"Hello\r\n", "DEAF")
    milter.macros("E", i="DEAF")
    milter.socket.shutdown(socket.SHUT_RD)
    milter.send("E")
    mailer.wait_for_log("DEAF: customer=fixed, login=fixed, action=abandoned")
    milter.close()


def test_mail_without_a_login_is_whose_network_it_comes_from(make_daemon):
    daemon = make_daemon("unauthenticated_login = 127.0.0.0/8=app, 2001:db8::/32=bulk")
    daemon.write_directory()
    daemon.start()
    milter = daemon.connect()
    for client, mine, other in (("127.0.0.1", "a@example.com", "a@globex.test"), ("2001:db8::9", "a@globex.test", "a@example.com")):
        verify(milter.message(header(mine), login=None, client=client), header(mine))
        assert "[from-foreign]" in milter.message(header(other), login=None, client=client).text
    answer = milter.message(header(), login=None, client="192.0.2.1")
    assert answer.accepted and not answer.changes
    milter.close()


def test_a_wrong_list_of_submitters_stops_the_start(make_daemon):
    daemon = make_daemon("unauthenticated_login = here=app")
    daemon.write_directory()
    with pytest.raises(AssertionError, match="unauthenticated_login: an entry has something other than a network"):
        daemon.start()
    assert daemon.process.wait() == 78
    daemon.process = None


def test_tag_and_metadata_leave_the_message_for_the_event(daemon, milter):
    headers = header("a@example.com", ("X-Waybill-Tag", " invoice "),
                     ("X-Waybill-Metadata", '{"order":\n\t[1, -2.5e3, "\\u00e9"], "x": null}'))
    answer = milter.message(headers, queue_id="7A6")
    assert b"aybill" not in answer.apply(headers, b"")
    verify(answer, headers)
    [entry] = spooled(daemon, "7A6")
    assert (entry["type"], entry["customer"], entry["login"], entry["host"]) == ("message.annotated", "acme", "app", "mx1")
    assert entry["tag"] == "invoice" and entry["metadata"] == {"order": [1, -2500.0, "\u00e9"], "x": None}
    daemon.wait_for_log("7A6: customer=acme, login=app, from=a@example.com, domain=example.com, selector=rsa, tag=invoice")


@pytest.mark.parametrize("name, value, why", [
    ("X-Waybill-Tag", "x" * 129, "more than 128 bytes"),
    ("X-Waybill-Tag", "t\x01g", "not printable ASCII"),
    ("X-Waybill-Metadata", "[]", "no JSON object"),
    ("X-Waybill-Metadata", '{"a": 01}', "no JSON object"),
    ("X-Waybill-Metadata", '{"a": 1,}', "no JSON object"),
    ("X-Waybill-Metadata", '{"a": "\\x"}', "no JSON object"),
    ("X-Waybill-Metadata", '{} {}', "no JSON object"),
    ("X-Waybill-Metadata", '{"a":' * 9 + "1" + "}" * 9, "no JSON object"),
    ("X-Waybill-Metadata", '{"a": "' + "x" * 2048 + '"}', "more than 2048 bytes"),
])
def test_bad_annotations_are_refused(milter, name, value, why):
    answer = milter.message(header("a@example.com", (name, value)))
    assert answer.text.startswith("550 5.6.0") and why in answer.text and "[annotation]" in answer.text


def test_refusals_have_an_id_that_the_spool_explains(daemon, milter):
    answer = milter.message(header("a@elsewhere.test"), queue_id="1D5")
    [entry] = spooled(daemon, "1D5")
    assert answer.text.endswith(f"[from-not-owned] id={entry['id']}") and len(entry["id"]) == 8
    assert (entry["type"], entry["action"], entry["reason"], entry["from"]) == (
        "policy.refused", "reject", "from-not-owned", "a@elsewhere.test")


def test_metrics(own_daemon, own_milter):
    own_milter.message(header("a@both.test"))
    own_milter.message(header("a@elsewhere.test"))
    own_milter.message(header(), b"\0\r\n")
    page = metrics_page(own_daemon)
    for line in ('waybill_milter_messages_total{action="signed"} 2', 'waybill_milter_messages_total{action="rejected"} 1',
                 'waybill_milter_refusals_total{reason="from-not-owned"} 1', 'waybill_milter_unsafe_total{problem="nul"} 1',
                 'waybill_milter_signatures_total{algorithm="rsa-sha256"} 2',
                 'waybill_milter_signatures_total{algorithm="ed25519-sha256"} 1',
                 "waybill_milter_end_of_message_seconds_count 3"):
        assert line in page, page


def test_without_a_directory_nothing_passes(make_daemon):
    daemon = make_daemon()
    daemon.write_directory()
    daemon.snapshot.rename(daemon.folder / "aside")
    daemon.start()
    milter = daemon.connect()
    answer = milter.message(header())
    assert answer.text.startswith("451 4.3.0") and "[trouble]" in answer.text
    (daemon.folder / "aside").rename(daemon.snapshot)
    daemon.start_redis()
    for _ in range(100):
        if milter.message(header()).accepted:
            break
    verify(milter.message(header()), header())
    milter.close()


def test_reload_by_usr1_keeps_sessions(own_daemon, own_milter):
    own_milter.begin("app", "a@example.com", ["b@example.net"])
    own_daemon.write_conf("signature_lifetime = 0")
    own_daemon.process.send_signal(signal.SIGUSR1)
    own_daemon.wait_for_log("configuration")
    own_milter.content(header(), b"Hello\r\n")
    answer = own_milter.end("E1", "app")
    verify(answer, header())
    for _ in range(100):
        if "x=" not in own_milter.message(header()).inserted("DKIM-Signature")[0]:
            return
    raise AssertionError(own_daemon.log())


def test_a_reload_takes_the_seal_keys_anew(own_daemon, own_milter):
    """As after "waybill seal rotate --new-key": first the key, then what is sealed under it."""
    verify(own_milter.message(header("a@both.test")), header("a@both.test"), count=2)
    former = own_daemon.seal.read_text()
    own_daemon.seal.write_text("ab" * 32 + "\n" + former)
    own_daemon.reload()
    own_daemon.write_directory()
    verify(own_milter.message(header()), header())
    own_daemon.seal.write_text("no key\n" + former)
    own_daemon.reload()
    own_daemon.wait_for_log("the keys read before stay")
    verify(own_milter.message(header("a@both.test")), header("a@both.test"), count=2)


def test_a_bad_configuration_changes_nothing(own_daemon, own_milter):
    own_daemon.write_conf("signature_lifetime = never")
    own_daemon.process.send_signal(signal.SIGUSR1)
    own_daemon.wait_for_log("signature_lifetime")
    verify(own_milter.message(header()), header())


def test_socket_mode_and_stale_sockets(make_daemon):
    daemon = make_daemon()
    daemon.write_directory()
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(daemon.path))
    stale.close()
    daemon.start()
    daemon.wait_for_log("milter")
    daemon.wait(lambda: stat.S_IMODE(os.stat(daemon.path).st_mode) == 0o600, "the socket's mode")
    second = make_daemon()
    second.conf.write_text(daemon.conf.read_text())
    second.path = daemon.folder / "never"
    with pytest.raises(AssertionError, match="another process serves this socket"):
        second.start()
    assert second.process.wait() == 69
    second.process = None
    daemon.connect().close()


def test_term_stops(own_daemon):
    milter = own_daemon.connect()
    assert milter.message(header()).accepted
    assert own_daemon.stop() == 0
    milter.close()
