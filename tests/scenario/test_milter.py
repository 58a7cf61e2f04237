"""The milter behind a real Postfix: sessions with several messages, aborts, pipelining, BDAT, SMTPUTF8, and death under
load. Whatever the sink receives is verified by python3-dkim."""

import contextlib
import email.policy
import signal
import threading
import time

import pytest

from tests.stack import dkim_check
from tests.stack.client import Client, compose, submit
from tests.stack.customers import add_domain, add_login
from tests.stack.wait import wait_for

DOMAIN = "milter.test"
SENDER = f"app@{DOMAIN}"


@pytest.fixture(scope="module")
def login(stack):
    stack.node.waybill("customer", "add", "milter")
    add_domain(stack, "milter", DOMAIN)
    login = add_login(stack, "milter", "milter-app")
    wait_for("the login in the snapshot", lambda: submit(stack.node, login, SENDER, "first@dest.test",
                                                         compose(SENDER, "first@dest.test", "first")).accepted)
    return login


@pytest.fixture
def client(stack, login):
    with Client(stack.node, 587) as client:
        assert client.auth_plain(login.name, login.password)[0] == 235
        yield client


def message(message_id, sender=SENDER, text="Hello"):
    return compose(sender, "b@dest.test", text, message_id=message_id).as_bytes(policy=email.policy.SMTP)


def arrives_signed(stack, message_id):
    """The one message with this id at the sink, with a right signature of our domain."""
    [found] = wait_for(f"<{message_id}> at the sink", lambda: stack.sink.find(message_id))
    signatures = dkim_check.verify(found["bytes"], stack.dns)
    assert [(domain, right) for domain, _, _, right in signatures] == [(DOMAIN, True)], found["bytes"].decode(errors="replace")
    return found


def begin(client, sender=SENDER):
    assert client.mail(sender)[0] == 250
    assert client.rcpt("b@dest.test")[0] == 250


def test_several_messages_in_one_session(stack, client):
    for number in range(3):
        begin(client)
        assert client.data(message(f"session-{number}@{DOMAIN}"))[0] == 250
    begin(client)
    code, text = client.data(message("session-forged@elsewhere.test", "ceo@elsewhere.test"))
    assert code == 550 and b"5.7.1" in text and b"[from-not-owned]" in text and b"milter-app" in text
    begin(client)
    client.rset()
    begin(client)
    assert client.data(message(f"session-last@{DOMAIN}"))[0] == 250
    for name in (0, 1, 2, "last"):
        arrives_signed(stack, f"session-{name}@{DOMAIN}")
    assert not stack.sink.find("session-forged@elsewhere.test")


def test_a_broken_connection_leaves_nothing_behind(stack, login, client):
    with Client(stack.node, 587) as broken:
        broken.auth_plain(login.name, login.password)
        begin(broken)
        broken.docmd("DATA")
        broken.send(message(f"broken@{DOMAIN}")[:200])
        broken.close()
    begin(client)
    assert client.data(message(f"after-broken@{DOMAIN}"))[0] == 250
    arrives_signed(stack, f"after-broken@{DOMAIN}")
    assert not stack.sink.find(f"broken@{DOMAIN}")


def test_pipelining(stack, client):
    assert client.has_extn("pipelining")
    client.send(f"MAIL FROM:<{SENDER}>\r\nRCPT TO:<b@dest.test>\r\nRCPT TO:<c@other.test>\r\nDATA\r\n".encode())
    assert [client.getreply()[0] for _ in range(4)] == [250, 250, 250, 354]
    client.send(message(f"pipelined@{DOMAIN}") + b".\r\n")
    assert client.getreply()[0] == 250
    wait_for("both copies", lambda: {recipient for found in stack.sink.find(f"pipelined@{DOMAIN}")
                                     for recipient in found["rcpt_to"]} == {"b@dest.test", "c@other.test"})
    for found in stack.sink.find(f"pipelined@{DOMAIN}"):
        assert all(right for *_, right in dkim_check.verify(found["bytes"], stack.dns))


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_bdat(stack, client, size):
    assert client.has_extn("chunking")
    content = message(f"bdat-{size}@{DOMAIN}", text="In chunks")
    content = content[:-2] + b" \r\n\r\n\r\n"
    begin(client)
    chunks = [content[at:at + size] for at in range(0, len(content), size)] if size > 1 else [content]
    for number, chunk in enumerate(chunks):
        last = " LAST" if number == len(chunks) - 1 else ""
        client.send(f"BDAT {len(chunk)}{last}\r\n".encode() + chunk)
        assert client.getreply()[0] == 250
    arrives_signed(stack, f"bdat-{size}@{DOMAIN}")


def test_eight_bit_and_utf8_names(stack, client):
    content = message(f"utf8@{DOMAIN}").replace(b"From: " + SENDER.encode(), f"From: Jörg Grün <{SENDER}>".encode())
    assert client.has_extn("smtputf8")
    assert client.mail(SENDER, ["SMTPUTF8", "BODY=8BITMIME"])[0] == 250
    assert client.rcpt("b@dest.test")[0] == 250
    assert client.data(content)[0] == 250
    assert "Jörg Grün".encode() in arrives_signed(stack, f"utf8@{DOMAIN}")["bytes"]


def test_utf8_addresses(stack, client):
    sender = f"jörg@{DOMAIN}"
    content = message(f"utf8-address@{DOMAIN}").replace(b"From: " + SENDER.encode(), f"From: <{sender}>".encode())
    assert client.mail(sender, ["SMTPUTF8"])[0] == 250
    assert client.rcpt("küche@dest.test")[0] == 250
    assert client.data(content)[0] == 250
    assert arrives_signed(stack, f"utf8-address@{DOMAIN}")["mail_from"] == sender
    assert client.mail(sender, ["SMTPUTF8"])[0] == 250
    assert client.rcpt("b@dest.test")[0] == 250
    code, text = client.data(content.replace(sender.encode(), "jörg@bücher.example".encode()))
    assert code == 550 and b"[from-not-owned]" in text


def test_bodies_of_many_shapes(stack, client):
    bodies = {"empty": b"", "blank": b"\r\n\r\n \r\n", "dots": b".\r\n..\r\n.x\r\n", "spaces": b"a  \t b \r\n\t\r\n\r\n",
              "large": b"A line of text that is repeated often.\r\n" * 20000}
    for name, body in bodies.items():
        header = message(f"{name}@{DOMAIN}").split(b"\r\n\r\n")[0]
        begin(client)
        assert client.data(header + b"\r\n\r\n" + body)[0] == 250
    for name in bodies:
        arrives_signed(stack, f"{name}@{DOMAIN}")


def test_bytes_of_a_network_are_settled(stack, login, client):
    """What was not claimed in MAIL is charged at the end, to the counter that policyd asks before the next message."""

    def send(name, more=b""):
        begin(client)
        assert client.data(message(f"{name}@{DOMAIN}") + more)[0] == 250
        return "limit=milter-net" in stack.node.log_text("milter")

    stack.node.waybill("limit", "set", "milter-net", "network", "bytes", "40k/day", "--login", login.name)
    wait_for("the limit in the snapshot", lambda: send("network-wait"))
    for number in range(2):
        send(f"network-{number}", b"A line of text.\r\n" * 1000)
    assert client.mail(SENDER, ["SIZE=20000"])[0] == 250
    assert client.rcpt("b@dest.test")[0] == 250
    code, text = client.docmd("DATA")
    assert code in (450, 550) and b"milter-net" in text
    client.rset()
    stack.node.waybill("limit", "remove", "milter-net")


class Load(threading.Thread):
    """Submits until told to stop; keeps the ids that were accepted and the codes that were not."""

    def __init__(self, node, login, name):
        super().__init__()
        self.node, self.login, self.prefix, self.accepted, self.refused, self.ending = node, login, name, [], [], False

    def run(self):
        number = 0
        while not self.ending:
            number += 1
            name = f"{self.prefix}-{number}@{DOMAIN}"
            try:
                reply = submit(self.node, self.login, SENDER, "b@dest.test", compose(SENDER, "b@dest.test", "load", name))
            except OSError:
                continue
            if reply.accepted:
                self.accepted.append(name)
            else:
                self.refused.append(reply)


@contextlib.contextmanager
def under_load(stack, login, name):
    """Four clients submit all the while; yields them, and ends them."""
    loads = [Load(stack.node, login, f"{name}{i}") for i in range(4)]
    for load in loads:
        load.start()
    try:
        yield loads
    finally:
        for load in loads:
            load.ending = True
        for load in loads:
            load.join()


def check_load(stack, loads, name):
    """Every accepted message arrived, none twice, each with one right signature; the selectors that were seen."""
    accepted = [message_id for load in loads for message_id in load.accepted]
    assert accepted

    def arrived():
        return [found for found in stack.sink.messages() if found["message"].get("Message-ID", "").startswith(f"<{name}")]

    wait_for("every accepted message at the sink",
             lambda: set(accepted) <= {found["message"]["Message-ID"].strip("<>") for found in arrived()}, 60)
    selectors = set()
    for found in arrived():
        signatures = dkim_check.verify(found["bytes"], stack.dns)
        assert [right for *_, right in signatures] == [True], found["bytes"].decode(errors="replace")
        selectors.add(signatures[0][1])
    return selectors


@pytest.mark.seconds(240)
def test_killed_under_load_nothing_leaves_unsigned(stack, login):
    with under_load(stack, login, "kill") as loads:
        for _ in range(5):
            time.sleep(1)
            stack.node.stop("milter", number=signal.SIGKILL)
            time.sleep(0.3)
            stack.node.start("milter")
        time.sleep(1)
    refused = [reply for load in loads for reply in load.refused]
    assert all(400 <= reply.code < 500 for reply in refused), refused
    check_load(stack, loads, "kill")


@pytest.mark.seconds(240)
def test_keys_rotate_under_load(stack, login):
    with under_load(stack, login, "rotate") as loads:
        time.sleep(1)
        stack.node.waybill("domain", "rotate", DOMAIN)
        for record in stack.node.waybill_json("domain", "records", DOMAIN):
            stack.dns.txt(record["name"], record["value"])
        stack.node.waybill("domain", "rotate", DOMAIN, "--force")
        time.sleep(2)
    assert not [reply for load in loads for reply in load.refused]
    assert len(check_load(stack, loads, "rotate")) == 2


@pytest.fixture(scope="module")
def mailer(stack, login):
    """A login of a customer whose mail leaves with return paths, one-click unsubscribing and one signature."""
    key = stack.home / "return-path.key"
    key.write_text("5a" * 32 + "\n")
    key.chmod(0o600)
    stack.node.write_conf({"milter": {"return_path_host": "return.test", "return_path_key": key}})
    stack.node.restart("milter")
    stack.node.waybill("customer", "add", "mailer", "--return-path", "on", "--list-unsubscribe", "https://u.example/{token}")
    add_domain(stack, "mailer", "mailer.test")
    mailer = add_login(stack, "mailer", "mailer-app")
    wait_for("the login in the snapshot", lambda: submit(stack.node, mailer, "app@mailer.test", "first@dest.test", compose(
        "app@mailer.test", "first@dest.test", "first")).accepted)
    yield mailer
    stack.node.write_conf({})
    stack.node.restart("milter")


def send_one(stack, mailer, name):
    message_id = f"{name}@mailer.test"
    assert submit(stack.node, mailer, "app@mailer.test", "b@dest.test",
                  compose("app@mailer.test", "b@dest.test", "paid", message_id)).accepted
    [found] = wait_for(f"<{message_id}> at the sink", lambda: stack.sink.find(message_id))
    return found


def test_return_path_and_one_click(stack, mailer):
    found = send_one(stack, mailer, "returned")
    local, host = found["mail_from"].split("@")
    assert host == "return.test" and local.startswith("b+") and len(local) <= 64
    assert found["message"]["List-Unsubscribe"].split() == [
        f"<https://u.example/{local[2:]}>,", f"<mailto:u+{local[2:]}@return.test?subject=unsubscribe>"]
    assert found["message"]["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert [right for *_, right in dkim_check.verify(found["bytes"], stack.dns)] == [True]


def test_settings_of_customer_and_domain_are_in_force_at_once(stack, mailer):
    stack.node.waybill("domain", "set", "mailer.test", "--signatures", "0")
    stack.node.waybill("customer", "set", "mailer", "--return-path", "off", "--list-unsubscribe", "")
    numbers = iter(range(100))

    def changed():
        found = send_one(stack, mailer, f"changed-{next(numbers)}")
        return found if found["mail_from"] == "app@mailer.test" and "DKIM-Signature" not in found["message"] else None

    found = wait_for("mail as it is", changed)
    assert "List-Unsubscribe" not in found["message"]
    assert stack.node.waybill("customer", "set", "mailer", "--list-unsubscribe", "http://u.example/", ok=False).returncode == 65
    assert stack.node.waybill("domain", "set", "mailer.test", "--signatures", "3", ok=False).returncode == 65
