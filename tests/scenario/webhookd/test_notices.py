"""Mail about endpoints in trouble: written down with the failure, sent once each by waybill notice send. That a real Postfix
takes them is in tests/scenario/test_event_types.py."""

import email
import subprocess

import pytest

from .test_endpoint_commands import waybill  # noqa: F401

# Keeps what it is given, as sendmail would; "hang", "fail": how it takes it.
SENDMAIL = """#!/bin/sh
printf '%s ' "$@" >> {folder}/words
echo >> {folder}/words
[ ! -e {folder}/hang ] || exec sleep 60
[ ! -e {folder}/fail ] || exit 75
for refused in "$@"; do [ ! -e "{folder}/refuse.$refused" ] || exit 75; done
cat > {folder}/mail.$(printf %04d $(ls {folder} | grep -c ^mail))
"""


@pytest.fixture
def notices(relay, tmp_path):
    """Runs waybill notice send as its own role; .mails are those it handed over."""
    tmp_path.chmod(0o755)
    relay.sql("UPDATE waybill.notices SET settled_at = now(), outcome = 'over' WHERE settled_at IS NULL")
    program = tmp_path / "sendmail"
    program.write_text(SENDMAIL.format(folder=tmp_path))
    program.chmod(0o755)
    conf = relay.home / "notices.conf"

    def send(status=0, **settings):
        values = {"notice_postgres": relay.postgres.conninfo("waybill_notices"), "sendmail": program,
                  "notice_sender": "relay@relay.example", **settings}
        conf.write_text("[ctl]\n" + "".join(f"{key} = {value}\n" for key, value in values.items()))
        done = subprocess.run([relay.bin / "waybill", "-c", conf, "notice", "send"], capture_output=True, text=True)
        assert done.returncode == status, f"{done.returncode}\n{done.stdout}{done.stderr}"
        return done.stderr

    send.folder = tmp_path
    send.mails = lambda: [email.message_from_bytes(path.read_bytes()) for path in sorted(tmp_path.glob("mail.*"), key=str)]
    send.words = lambda: (tmp_path / "words").read_text().splitlines() if (tmp_path / "words").exists() else []
    return send


def trouble(relay, customer, hours, url="https://hooks.example/in?token=SECRET"):
    """An endpoint whose next failure is recorded after so many hours of them."""
    endpoint, _ = relay.endpoint(url, customer=customer, failures=7)
    relay.sql("UPDATE waybill.endpoints SET failing_since = now() - %s * interval '1 hour' WHERE endpoint = %s", hours, endpoint)
    relay.sql("UPDATE waybill.endpoints SET failures = failures + 1 WHERE endpoint = %s", endpoint)
    return endpoint


def outcomes(relay, endpoint):
    return [row["outcome"] for row in relay.sql(
        "SELECT outcome FROM waybill.notices WHERE endpoint = %s ORDER BY id", endpoint)]


def test_after_1_24_72_hours_and_at_the_end(relay, waybill, notices):  # noqa: F811
    """By webhookd itself, whose failures write them down; a mail each to the contact and to the postmaster."""
    relay.customer("told")
    waybill("customer", "set", "told", "--contact", "Ops+hooks@Told.Example")
    assert waybill("customer", "show", "told")[0]["contact"] == "Ops+hooks@told.example"
    server = relay.server()
    down, _ = relay.endpoint(server.url("status/500", "down-and-told"), customer="told")
    relay.run()
    event_id = relay.event(down, customer="told")
    relay.until("the first failure", lambda: relay.attempts(down, event_id))
    notices(notice_postmaster="postmaster@relay.example")
    assert notices.words() == []
    for attempt, hours in enumerate((2, 25, 73, 121), 2):
        relay.sql("UPDATE waybill.endpoints SET failing_since = now() - %s * interval '1 hour' WHERE endpoint = %s", hours, down)
        relay.due_now(down)
        relay.until("the attempt", lambda: len(relay.attempts(down, event_id)) == attempt)
        for _ in range(2):  # once each
            notices(notice_postmaster="postmaster@relay.example")
        assert len(notices.mails()) == 2 * (attempt - 1)
    assert notices.words() == [f"-i -f relay@relay.example -- {to} " for _ in range(4)
                               for to in ("Ops+hooks@told.example", "postmaster@relay.example")]
    first, last = notices.mails()[0], notices.mails()[-2]
    assert first["Subject"] == f"Webhook endpoint {down} of told is failing"
    assert last["Subject"] == f"Webhook endpoint {down} of told is disabled"
    assert (first["From"], first["To"], first["Auto-Submitted"]) == ("relay@relay.example", "Ops+hooks@told.example", "auto-generated")
    assert first["Date"] and first["Message-ID"] and len({mail["Message-ID"] for mail in notices.mails()}) == 8
    assert "five days" in last.get_payload() and f"waybill endpoint resume {down}" in last.get_payload()
    assert "/status/500/down-and-told" in first.get_payload() and "2 in a row" in first.get_payload()
    listed = waybill("notice", "list", "--customer", "told")
    assert [row["outcome"] for row in listed] == ["sent"] * 4


def test_one_mail_a_customer(relay, notices):
    """A network of the relay's own that fails takes all endpoints with it: nobody is flooded."""
    relay.customer("many")
    relay.sql("UPDATE waybill.customers SET contact = 'many@many.example' WHERE customer = 'many'")
    endpoints = [trouble(relay, "many", 2) for _ in range(30)]
    notices()
    [mail] = notices.mails()
    assert mail["Subject"] == "30 webhook endpoints are failing or disabled"
    assert all(endpoint in mail.get_payload() for endpoint in endpoints) and "SECRET" not in mail.get_payload()
    assert "https://hooks.example/in\n" in mail.get_payload()


def test_nobody_to_tell_and_nothing_to_say(relay, notices):
    relay.customer("alone")
    alone = trouble(relay, "alone", 2)
    notices()
    assert notices.words() == [] and outcomes(relay, alone) == ["nobody"]
    relay.sql("UPDATE waybill.customers SET contact = 'a@alone.example' WHERE customer = 'alone'")
    well, old = trouble(relay, "alone", 2), trouble(relay, "alone", 2)
    relay.sql("UPDATE waybill.endpoints SET failures = 0, failing_since = NULL WHERE endpoint = %s", well)
    relay.sql("UPDATE waybill.notices SET created_at = now() - interval '25 hours' WHERE endpoint = %s", old)
    notices()
    assert notices.words() == [] and (outcomes(relay, well), outcomes(relay, old)) == (["over"], ["failed"])
    # The same person is customer's contact and postmaster: one mail.
    trouble(relay, "alone", 2)
    notices(notice_postmaster="a@alone.example")
    assert len(notices.mails()) == 1


def test_what_cannot_be_sent_is_sent_later(relay, notices):
    relay.customer("later")
    relay.sql("UPDATE waybill.customers SET contact = 'l@later.example' WHERE customer = 'later'")
    endpoint = trouble(relay, "later", 2)

    def again():
        relay.sql("UPDATE waybill.notices SET taken_at = taken_at - interval '11 minutes' WHERE endpoint = %s", endpoint)

    assert "cannot be run" in notices(status=75, sendmail="/nonexistent/sendmail")
    notices()  # not at once
    assert notices.words() == []
    again()
    (notices.folder / "fail").touch()
    assert "ended with status 75" in notices(status=75)
    (notices.folder / "fail").unlink()
    again()
    notices()
    again()
    notices()
    assert len(notices.mails()) == 1 and outcomes(relay, endpoint) == ["sent"]
    # And not for ever.
    hopeless = trouble(relay, "later", 2)
    relay.sql("UPDATE waybill.notices SET tries = 5, taken_at = now() - interval '11 minutes' WHERE endpoint = %s", hopeless)
    notices()
    assert len(notices.mails()) == 1 and outcomes(relay, hopeless) == ["failed"]


def test_each_is_told_once_whatever_becomes_of_the_other(relay, notices):
    """A contact that cannot be mailed keeps nothing from the postmaster, nor the other way round."""
    relay.customer("apart")
    relay.sql("UPDATE waybill.customers SET contact = 'c@apart.example' WHERE customer = 'apart'")
    first = trouble(relay, "apart", 2)
    postmaster = {"notice_postmaster": "p@relay.example"}
    refuse = notices.folder / "refuse.c@apart.example"
    refuse.touch()
    assert "ended with status 75" in notices(status=75, **postmaster)
    assert [mail["To"] for mail in notices.mails()] == ["p@relay.example"] and outcomes(relay, first) == [None]
    refuse.unlink()
    second = trouble(relay, "apart", 2)
    relay.sql("UPDATE waybill.notices SET taken_at = NULL WHERE customer = 'apart'")
    notices(**postmaster)
    told = {mail["To"]: mail for mail in notices.mails()[1:]}
    assert len(notices.mails()) == 3 and outcomes(relay, first) == outcomes(relay, second) == ["sent"]
    assert first in told["c@apart.example"].get_payload() and second in told["c@apart.example"].get_payload()
    assert first not in told["p@relay.example"].get_payload() and second in told["p@relay.example"].get_payload()
    assert len({mail["Message-ID"] for mail in notices.mails()}) == 3
    # The other way round.
    third = trouble(relay, "apart", 2)
    (notices.folder / "refuse.p@relay.example").touch()
    notices(status=75, **postmaster)
    (notices.folder / "refuse.p@relay.example").unlink()
    relay.sql("UPDATE waybill.notices SET taken_at = NULL WHERE customer = 'apart'")
    notices(**postmaster)
    assert [mail["To"] for mail in notices.mails()[3:]] == ["c@apart.example", "p@relay.example"]
    assert outcomes(relay, third) == ["sent"]


def test_more_than_one_run_may_send(relay, notices):
    """What a run does not come to is as if it had not been taken."""
    customers = [f"crowd{n:03}" for n in range(130)]
    for customer in customers:
        relay.customer(customer)
        relay.sql("UPDATE waybill.customers SET contact = 'c@crowd.example' WHERE customer = %s", customer)
        trouble(relay, customer, 2)
    notices()
    left = relay.sql("SELECT customer, taken_at, tries FROM waybill.notices WHERE customer LIKE 'crowd%%' AND settled_at IS NULL")
    assert len(notices.mails()) == 100
    assert sorted(row["customer"] for row in left) == customers[100:]
    assert {(row["taken_at"], row["tries"]) for row in left} == {(None, 0)}
    notices()
    assert len(notices.mails()) == 130
    assert len({mail["Subject"] for mail in notices.mails()}) == 130


def test_a_sendmail_that_hangs_is_ended(relay, notices):
    relay.customer("hangs")
    relay.sql("UPDATE waybill.customers SET contact = 'h@hangs.example' WHERE customer = 'hangs'")
    endpoint = trouble(relay, "hangs", 2, url="https://hooks.example/" + "x" * 100_000)
    (notices.folder / "hang").touch()
    assert "did not end within 10 s" in notices(status=75)
    assert outcomes(relay, endpoint) == [None]  # it is sent again


def test_two_at_once_send_one(relay, notices):
    relay.customer("twice")
    relay.sql("UPDATE waybill.customers SET contact = 't@twice.example' WHERE customer = 'twice'")
    for _ in range(5):
        trouble(relay, "twice", 2)
    notices(sendmail="/nonexistent/sendmail", status=75)  # writes the configuration
    relay.sql("UPDATE waybill.notices SET taken_at = NULL WHERE customer = 'twice'")
    conf = relay.home / "notices.conf"
    conf.write_text(conf.read_text().replace("/nonexistent/sendmail", str(notices.folder / "sendmail")))
    running = [subprocess.Popen([relay.bin / "waybill", "-c", conf, "notice", "send"]) for _ in range(4)]
    assert [process.wait(30) for process in running] == [0] * 4
    told = "".join(mail.get_payload() for mail in notices.mails())
    assert told.count("Endpoint:") == 5


def test_its_role_may_do_nothing_else(relay):
    for sql in ("SELECT * FROM waybill.notices", "SELECT * FROM waybill.endpoints", "SELECT * FROM waybill.events",
                "UPDATE waybill.notices SET tries = 0", "SELECT waybill.replay('acme', 'ep', NULL, true, NULL, NULL)"):
        with pytest.raises(Exception, match="permission denied"):
            relay.postgres.execute(sql, (), user="waybill_notices")


def test_wrong_contact(relay, waybill):  # noqa: F811
    relay.customer("wrong")
    for contact in ("nobody", "a@b@c", "a@x.example\nBcc: all@x.example", "<a@x.example>", "a@x.example, b@x.example"):
        waybill("customer", "set", "wrong", "--contact", contact, status=65)
    assert waybill("customer", "show", "wrong")[0]["contact"] == ""
    waybill("customer", "set", "wrong", "--contact", "a@x.example")
    waybill("customer", "set", "wrong", "--contact", "")
    assert waybill("customer", "show", "wrong")[0]["contact"] == ""
    waybill("customer", "add", "contacted", "--contact", "c@x.example")
    assert waybill("customer", "show", "contacted")[0]["contact"] == "c@x.example"
