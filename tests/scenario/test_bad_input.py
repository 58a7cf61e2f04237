"""Wrong settings, servers that are away, nonsense on the policy socket: each is said once and harms nobody else."""

import re
import socket
import subprocess

import pytest

from tests.stack.client import compose, submit
from tests.stack.customers import set_up
from tests.stack.node import DAEMONS, SANITIZER_OPTIONS
from tests.stack.process import plain_environment
from tests.stack.wait import wait_for

EX_CONFIG = 78  # sysexits.h


@pytest.fixture(scope="module")
def customers(stack):
    return set_up(stack)


def deliver(stack, login, recipient, subject):
    """Submits and waits for the message at the sink; returns the reply."""
    message = compose(f"billing@{login.name.partition('-')[0]}.test", recipient, subject)
    reply = submit(stack.node, login, message["From"], recipient, message)
    assert reply.accepted, reply
    message_id = message["Message-ID"].strip("<>")
    wait_for(f"{subject} at the sink", lambda: stack.sink.find(message_id))
    return message_id


# ---- settings

WRONG = {
    "a value that is none of the choices": ("[common]\nlog_level = loud\n", 2),
    "an unknown setting": ("[common]\nnode = mx1\nnoed = mx1\n", 3),
    "an unknown section": ("\n[commno]\nnode = mx1\n", 3),
    "a line that is no setting": ("[common]\nnode\n", 2),
    "a number outside its bounds": ("[redis]\n\n\ntimeout = 2h\n", 4),
}


@pytest.mark.parametrize("daemon", DAEMONS)
@pytest.mark.parametrize("what", WRONG)
def test_wrong_setting_names_file_and_line(bin_dir, tmp_path, daemon, what):
    content, line = WRONG[what]
    if content.startswith("[redis]") and daemon not in ("policyd", "milter"):
        pytest.skip("not its section")
    conf = tmp_path / "waybill.conf"
    conf.write_text(content)
    program, *words = DAEMONS[daemon]
    done = subprocess.run(
        [bin_dir / program, "-c", conf, *words],
        capture_output=True,
        text=True,
        timeout=30,
        env={**plain_environment(), **SANITIZER_OPTIONS},
    )
    assert done.returncode == EX_CONFIG, done
    complaint = done.stderr.strip().splitlines()
    assert len(complaint) == 1 and f"{conf}:{line}: " in complaint[0], done.stderr


# ---- servers that are away


def test_mail_flows_while_postgres_is_away(stack, customers):
    """Logins that Dovecot has seen go on; the events are not lost, they come when Postgres is back."""
    acme, _ = customers
    deliver(stack, acme.app, "before@dest.test", "Postgres is there")
    stack.postgres.stop()
    message_id = deliver(stack, acme.app, "during@dest.test", "Postgres is away")
    stack.postgres.start()
    wait_for(
        "the event of the message sent meanwhile",
        lambda: stack.postgres.execute(
            "SELECT FROM waybill.events WHERE message_id = %s AND type = 'message.delivered'", [message_id]
        ),
    )


@pytest.mark.parametrize("daemon", ["follow", "bouncer", "webhookd"])
def test_starts_without_postgres_says_so_once_and_retries(stack, customers, daemon):
    stack.node.stop(daemon)
    stack.postgres.stop()
    said = len(stack.node.log_text(daemon))
    stack.node.start(daemon)
    complaint = wait_for(
        f"{daemon} says that Postgres is away",
        lambda: re.findall(r"(?m)^.*[Pp]ostgres.*$", stack.node.log_text(daemon)[said:]),
    )
    assert stack.node.running(daemon)
    stack.postgres.start()
    acme, _ = customers
    message_id = deliver(stack, acme.app, "after@dest.test", f"{daemon} was without Postgres")
    wait_for(
        "its event",
        lambda: stack.postgres.execute(
            "SELECT FROM waybill.events WHERE message_id = %s AND type = 'message.delivered'", [message_id]
        ),
    )
    wait_for("its webhook", lambda: [d for d in stack.receiver.deliveries(acme.path) if message_id in d["body"]])
    assert len(complaint) == 1, complaint


@pytest.mark.parametrize("daemon", ["policyd", "milter"])
def test_starts_without_redis_says_so_once_and_retries(stack, customers, daemon):
    _, globex = customers
    stack.node.stop(daemon)
    stack.redis.stop()
    said = len(stack.node.log_text(daemon))
    stack.node.start(daemon)
    for _ in range(3):
        message = compose("news@globex.test", "reader@other.test", "Redis is away")
        reply = submit(stack.node, globex.app, "news@globex.test", "reader@other.test", message)
        assert reply.code < 500, f"own trouble is never a 5xx: {reply}"
    complaints = re.findall(r"(?m)^.*[Rr]edis.*$", stack.node.log_text(daemon)[said:])
    assert len(complaints) == 1, complaints
    stack.redis.start()

    def accepted():
        message = compose("news@globex.test", "reader@other.test", "Redis is back")
        return submit(stack.node, globex.app, "news@globex.test", "reader@other.test", message).accepted

    wait_for(f"{daemon} finds Redis again", accepted)
    assert stack.redis.client().keys("wb:{globex}:*")


# ---- nonsense on the policy socket

REQUEST = (
    b"request=smtpd_access_policy\nprotocol_state=RCPT\nsasl_username=nobody@nowhere\nencryption_protocol=TLSv1.3\n"
    b"sender=a@acme.test\nrecipient=b@dest.test\nclient_address=127.0.0.1\ninstance=1.1\n\n"
)
NONSENSE = {
    "a line without an equals sign": b"request=smtpd_access_policy\nnonsense\n\n",
    "no request": b"protocol_state=RCPT\nsender=a@acme.test\n\n",
    "another request": b"request=junk_mail\n\n",
    "a NUL": b"request=smtpd_access_policy\nsender=a\0b@acme.test\n\n",
    "an endless line": b"request=smtpd_access_policy\nsender=" + b"a" * 200000 + b"\n\n",
    "an empty request": b"\n\n",
}


def connect(stack):
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(10)
    connection.connect(str(stack.node.sockets / "policyd"))
    return connection


def ask(connection, request=REQUEST):
    """The action line, empty when policyd hangs up."""
    answer = b""
    try:
        connection.sendall(request)
        while not answer.endswith(b"\n\n"):
            more = connection.recv(4096)
            if not more:
                break
            answer += more
    except (BrokenPipeError, ConnectionResetError):
        pass
    return answer


@pytest.mark.parametrize("what", NONSENSE)
def test_nonsense_closes_its_connection_alone(stack, what):
    with connect(stack) as good, connect(stack) as bad:
        before = ask(good)
        assert before.startswith(b"action=") and before.endswith(b"\n\n")
        assert ask(bad, NONSENSE[what]) == b""
        assert ask(good) == before
