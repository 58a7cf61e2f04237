"""waybill-policyd's life, and what crosses it and the milter: systemd's sockets, reloading, counting without Redis, what is
given back, ports told apart."""

import json
import os
import signal
import socket
import subprocess

import pytest

from tests.stack.client import Client, compose, submit
from tests.stack.customers import add_login, set_up
from tests.stack.node import READY, SANITIZER_OPTIONS
from tests.stack.process import plain_environment
from tests.stack.wait import wait_for

SENDER, RECIPIENT = "news@acme.test", "reader@dest.test"
QUESTION = (
    b"request=smtpd_access_policy\nprotocol_state=RCPT\nsasl_username=LOGIN\nencryption_protocol=TLSv1.3\n"
    b"sender=news@acme.test\nrecipient=reader@dest.test\nclient_address=127.0.0.1\ninstance=1.1\n\n"
)


@pytest.fixture(scope="module")
def acme(stack):
    customer = set_up(stack)[0]
    wait_for("the first message", lambda: send(stack, customer.app).accepted)
    return customer


def send(stack, login, sender=SENDER, message=None):
    return submit(stack.node, login, sender, RECIPIENT, message or compose(SENDER, RECIPIENT, "News"))


def limited(stack, unit, spec, number=[0]):
    """A login with one limit, in force on the node."""
    number[0] += 1
    login = add_login(stack, "acme", f"limited-{number[0]}")
    stack.node.waybill("limit", "set", login.name, "login", unit, spec, "--login", login.name)
    last = f"last-{number[0]}@dest.test"
    stack.node.waybill("suppress", "add", "acme", last)

    def known():
        with Client(stack.node, 587) as client:
            client.auth_plain(login.name, login.password)
            client.mail(SENDER)
            return b"[recipient-suppressed]" in client.rcpt(last)[1]

    wait_for(login.name, known)
    return login


def used(stack, login):
    """What Redis has counted of a login's day quota."""
    redis = stack.redis.client()
    return sum(int(redis.get(key)) for key in redis.scan_iter(f"wb:{{acme}}:l:{login.name}:*"))


def answer_of(path, question):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(str(path))
        connection.sendall(question)
        return connection.recv(4096)


# ---- its life


@pytest.mark.parametrize("names", ["waybill-policyd.socket:socketmap", "socketmap:unknown", "unknown"])
def test_systemd_hands_over_the_sockets(stack, acme, tmp_path, names):
    """Both in any order, or the policy service's alone; nothing is bound, and nothing of systemd's is removed."""
    paths = {name == "socketmap": tmp_path / f"{name}.sock" for name in names.split(":")}
    listening = [socket.socket(socket.AF_UNIX) for _ in names.split(":")]
    for name, one in zip(names.split(":"), listening):
        one.bind(str(tmp_path / f"{name}.sock"))
        one.listen()
    own = tmp_path / "waybill.conf"
    own.write_text(stack.node.conf.read_text().replace(f"unix:{stack.node.sockets}/policyd", f"unix:{tmp_path}/own.sock"))
    log = tmp_path / "log"

    def take_descriptors():
        copies = [os.dup(one.fileno()) for one in listening]
        for number, copy in enumerate(copies, 3):
            os.dup2(copy, number)

    process = subprocess.Popen(
        ["sh", "-c", 'LISTEN_PID=$$ exec "$0" "$@"', stack.node.bin / "waybill-policyd", "-c", own],
        env={**plain_environment(), **SANITIZER_OPTIONS, "LISTEN_FDS": str(len(listening)), "LISTEN_FDNAMES": names},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=open(log, "wb"),
        close_fds=False,
        preexec_fn=take_descriptors,
    )
    try:
        wait_for("policyd", lambda: READY in log.read_text())
        question = QUESTION.replace(b"LOGIN", acme.app.name.encode())
        assert answer_of(paths[False], question) == b"action=DUNNO\n\n"
        if True in paths:
            logins = b"OK " + ",".join([acme.app.name, acme.bulk.name]).encode()
            assert answer_of(paths[True], b"25:sender-logins x@acme.test,") == b"%d:%s," % (len(logins), logins)
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0, log.read_text()
    assert paths[False].exists() and not (tmp_path / "own.sock").exists()


def test_a_socketmap_that_cannot_be_had_stops_no_other_mail(stack, acme):
    node, before = stack.node, stack.node.settings
    node.write_conf({**before, "policyd": {**before.get("policyd", {}), "socketmap": "unix:/proc/nowhere/socketmap"}})
    try:
        node.restart("policyd")
        assert "socketmap tables are not answered" in node.log_text("policyd")
        assert send(stack, acme.app).accepted
    finally:
        node.write_conf(before)
        node.restart("policyd")


def test_a_wrong_configuration_changes_nothing(stack, acme):
    """HUP with a mistake: the old one stays in force; without it, what may change while it runs does."""
    node, pid = stack.node, stack.processes.pid(f"{stack.node.name}/policyd")
    good = node.conf.read_text()
    try:
        node.conf.write_text(good.replace("[policyd]\n", "[policyd]\nmax_connections = many\n"))
        os.kill(pid, signal.SIGHUP)
        wait_for("the complaint", lambda: "the old configuration stays in force" in node.log_text("policyd"))
        assert send(stack, acme.app).accepted
        node.conf.write_text(good.replace("[common]\n", "[common]\nlog_level = debug\n"))
        os.kill(pid, signal.SIGHUP)
        wait_for("the reload", lambda: "the configuration was read again" in node.log_text("policyd"))
        assert send(stack, acme.app).accepted
        wait_for("a line at debug level", lambda: "reason=allowed, from=<news@acme.test>, to=<reader@dest.test>" in node.log_text("policyd"))
    finally:
        node.conf.write_text(good)
        os.kill(pid, signal.SIGHUP)
    assert stack.processes.pid(f"{node.name}/policyd") == pid


# ---- what is counted


def test_without_redis_at_all_the_limit_is_exact_and_outlives_the_daemons(stack, acme):
    """[redis] counters = local: nobody asks Redis, and what was counted stays."""
    stack.node.write_conf({"redis": {"counters": "local", "socket": f"{stack.home}/no-redis.sock"}})
    stack.node.restart("policyd", "milter")
    try:
        login = limited(stack, "messages", "5/day")
        first = [send(stack, login).code for _ in range(3)]
        stack.node.restart("policyd", "milter", number=signal.SIGKILL)
        wait_for("the daemons", lambda: send(stack, acme.app).accepted)
        second = [send(stack, login).code for _ in range(4)]
        assert first + second == [250] * 5 + [450] * 2
    finally:
        stack.node.write_conf({})
        stack.node.restart("policyd", "milter")


def test_what_the_milter_refuses_is_given_back(stack, acme):
    login = limited(stack, "messages", "10/day")
    assert send(stack, login).accepted
    assert used(stack, login) == 1
    foreign = compose("news@globex.test", RECIPIENT, "Not mine")
    reply = send(stack, login, message=foreign)
    assert reply.code == 550, reply
    wait_for("the refund", lambda: used(stack, login) == 1)
    assert send(stack, login).accepted
    assert used(stack, login) == 2


def test_bytes_are_counted_as_they_were_in_the_end(stack, acme):
    """The client claims too little, or nothing; what was really sent is charged at the end of the message."""
    login = limited(stack, "bytes", "1M/day")
    message = compose(SENDER, RECIPIENT, "x" * 20000).as_bytes()
    size = len(message)
    for claim in ("", " SIZE=100"):
        before = used(stack, login)
        with Client(stack.node, 587) as client:
            client.auth_plain(login.name, login.password)
            assert client.docmd(f"MAIL FROM:<{SENDER}>{claim}")[0] == 250
            assert client.rcpt(RECIPIENT)[0] == 250
            assert client.data(message)[0] == 250
        wait_for("the real size", lambda: used(stack, login) - before > size * 0.9)
        assert used(stack, login) - before < size * 1.1


def warnings_of(stack, login):
    """Share and usage that limit.warning has told of a login, whichever daemon told it."""
    lines = [line for spool in (stack.node.state / "spool").glob("*.jsonl") for line in spool.read_text().splitlines()]
    events = [event for event in map(json.loads, lines) if event["type"] == "limit.warning" and event["login"] == login.name]
    return [(event["threshold"], event["limits"][0]["used"]) for event in events]


def test_bytes_warn_once_with_the_real_size_whatever_the_client_claims(stack, acme):
    login = limited(stack, "bytes", "27k/day")
    message = compose(SENDER, RECIPIENT, "x" * 10000).as_bytes()
    assert send(stack, login, message=message).accepted
    [(share, bytes_used)] = wait_for("the warning", lambda: warnings_of(stack, login))
    assert share == 80 and bytes_used == used(stack, login)


def test_a_charge_that_jumps_over_the_mark_is_told_of_once(stack, acme):
    login = limited(stack, "recipients", "10/day")
    people = [f"reader{i}@dest.test" for i in range(4)]
    for recipients, code in ((people, 250), (people[:3], 250), (people, 450), (people, 450)):
        assert submit(stack.node, login, SENDER, recipients, compose(SENDER, RECIPIENT, "News")).code == code
    assert warnings_of(stack, login) == [(100, 7)]


# ---- what it is told


def test_a_login_that_the_snapshot_has_not_seen_comes_again(stack, acme):
    """Dovecot reads Postgres, policyd the snapshot: when that is behind, the client is asked to wait."""
    stack.node.stop("follow")
    try:
        login = add_login(stack, "acme", "acme-newest")
        reply = send(stack, login)
        assert reply.code == 450 and "[login-unknown]" in reply.text, reply
    finally:
        stack.node.start("follow")
    wait_for("the login", lambda: send(stack, login).accepted)


def test_each_port_has_its_name(stack, acme):
    stack.node.postfix.set(
        waybill_recipient_restrictions="check_policy_service { unix:waybill/policyd, policy_context=bulk },"
        " permit_sasl_authenticated, reject"
    )
    replies = []

    def reloaded():
        replies.append(send(stack, acme.app, sender="news@globex.test"))
        return "context=bulk" in stack.node.log_text("policyd")

    wait_for("Postfix to have reloaded", reloaded)
    assert replies[-1].code == 553
    [told] = stack.node.waybill_json("explain", replies[-1].text.rpartition("id=")[2].split()[0])
    assert json.dumps(told).count("bulk")
