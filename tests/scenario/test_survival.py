"""What Postfix changes of a message that has been signed, and whether the milter knew: a signature that will not hold is
either made to hold by folding before it, or reported. The next hop's copy is verified by python3-dkim."""

import re

import pytest

from tests.stack import dkim_check
from tests.stack.client import compose, submit
from tests.stack.customers import add_domain, add_login
from tests.stack.wait import wait_for

DOMAIN = "survival.test"
SENDER = f"app@{DOMAIN}"
LONGEST = 998  # smtp_line_length_limit: Postfix sends it whole, and breaks the next one
CUT = 60000  # of a header field, its name and line ends included, where there are milters


@pytest.fixture(scope="module")
def login(stack):
    stack.node.waybill("customer", "add", "survival")
    add_domain(stack, "survival", DOMAIN)
    login = add_login(stack, "survival", "survival-app")
    wait_for("the login in the snapshot", lambda: submit(stack.node, login, SENDER, "first@dest.test", compose(
        SENDER, "first@dest.test", "first")).accepted)
    return login


def deliver(stack, login, name, header=b"", body=b"body\r\n"):
    """The message at the next hop, whether its signature holds there, and what the milter reported."""
    message_id = f"{name}@{DOMAIN}"
    content = (f"From: {SENDER}\r\nTo: b@dest.test\r\nDate: Sat, 21 Nov 2026 10:00:00 +0000\r\nMessage-ID: <{message_id}>\r\n"
               ).encode() + header + b"\r\n" + body
    reply = submit(stack.node, login, SENDER, "b@dest.test", content)
    assert reply.accepted, reply
    [found] = wait_for(f"{name} at the sink", lambda: stack.sink.find(message_id))
    [signature] = dkim_check.verify(found["bytes"], stack.dns)
    [line] = [line for line in stack.node.log_text("milter").splitlines() if reply.queue_id in line]
    reported = re.findall("unsafe=([^,]+)", line)
    return found["bytes"], signature[3], reported


def field(length, kind):
    """A Subject whose first line has LENGTH bytes: of words, of a list, or of one word that cannot be folded well."""
    room = length - len("Subject: ")
    value = {"words": "word " * (room // 5 + 1), "list": "item," * (room // 5 + 1), "solid": "x" * room}[kind][:room]
    return f"Subject: {value[:-1]}.\r\n".encode()


@pytest.mark.parametrize("kind", ["words", "list", "solid"])
@pytest.mark.parametrize("length", [LONGEST, LONGEST + 1, 2 * LONGEST, 2048, 2049, 10000, CUT - 200])
def test_a_long_header_line_arrives_as_it_was_signed(stack, login, length, kind):
    content, holds, reported = deliver(stack, login, f"{kind}-{length}", field(length, kind))
    assert holds and not reported, content
    assert max(map(len, content.split(b"\r\n"))) <= LONGEST
    whole = b"\r\n".join([field(length, kind).rstrip(), b""])
    assert (whole in content) == (length <= LONGEST)


def test_a_field_that_folding_would_make_too_large_is_reported(stack, login):
    content, holds, reported = deliver(stack, login, "cut", field(CUT + 100, "solid"))
    assert not holds and reported == ["long-line/field5"]


def test_a_folded_field_that_postfix_cuts_holds(stack, login):
    content, holds, reported = deliver(stack, login, "references", b"References: " + b"\r\n ".join(
        b"<" + b"r" * 60 + b"@a.test>" for _ in range(1500)) + b"\r\n")
    assert holds and not reported and len(content) < CUT + 2000


# What Postfix does before the milter sees it cannot harm the signature.
HEADERS = {
    "a blank line of a fold": b"Subject: a\r\n \r\n b\r\n",
    "blanks at line ends": b"Subject: a  \r\n\t b \r\n",
    "a blank before the colon": b"Subject : a\r\n",
    "an address that Postfix completes": b"Cc: alice, \"Bob\" <bob>\r\n",
    "many addresses": b"Cc: " + b",".join(b"user%d@dest.test" % i for i in range(400)) + b"\r\n",
    "no text": b"Subject:\r\nCc: \r\n",
    "bare CR": b"Subject: a\rb\r\n",
    "NUL": b"Subject: a\0b\r\n",
    "8-bit": b"Subject: J\xc3\xb6rg\r\n",
}


@pytest.mark.parametrize("what", HEADERS)
def test_odd_headers_hold(stack, login, what):
    content, holds, _ = deliver(stack, login, re.sub("[^a-z]", "-", what.lower()), HEADERS[what])
    assert holds, content


@pytest.mark.parametrize("length", [LONGEST - 1, LONGEST, LONGEST + 1, 2048, 2049])
def test_body_lines_hold_or_are_reported(stack, login, length):
    content, holds, reported = deliver(stack, login, f"body-{length}", body=b"one\r\n" + b"y" * length + b"\r\n")
    assert holds == (length <= LONGEST)
    assert reported == ([] if holds else ["long-line/line2"])


def test_a_leading_dot_does_not_count(stack, login):
    content, holds, reported = deliver(stack, login, "dot", body=b"." + b"y" * (LONGEST - 1) + b"\r\n")
    assert holds and not reported
