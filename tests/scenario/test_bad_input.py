"""Wrong settings, servers that are away, nonsense on the policy socket: each is said once and harms nobody else."""

import re
import socket
import subprocess
import time

import pytest

from tests.stack.client import Client, compose, submit
from tests.stack.customers import set_up
from tests.stack.dovecot import CACHE_SECONDS
from tests.stack.node import DAEMONS, SANITIZER_OPTIONS
from tests.stack.process import plain_environment
from tests.stack.wait import wait_for

EX_CONFIG = 78  # sysexits.h


@pytest.fixture(scope="module")
def customers(stack):
    """Both, and their logins have been seen by Dovecot."""
    both = set_up(stack)
    for customer in both:
        with Client(stack.node, 587) as client:
            assert client.auth_plain(customer.app.name, customer.app.password)[0] == 235
    return both


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
    "an unknown section": ("\n[commno]\nnode = mx1\n", 2),
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
    """Logins that Dovecot has seen go on, also when their entry in its cache has expired; no event is lost."""
    acme, _ = customers
    deliver(stack, acme.app, "before@dest.test", "Postgres is there")
    stack.postgres.stop()
    time.sleep(CACHE_SECONDS + 1)
    message_id = deliver(stack, acme.app, "during@dest.test", "Postgres is away")
    stack.postgres.start()
    wait_for(
        "the event of the message sent meanwhile",
        lambda: stack.postgres.execute(
            "SELECT 1 FROM waybill.events WHERE message_id = %s AND type = 'message.delivered'", [message_id]
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
            "SELECT 1 FROM waybill.events WHERE message_id = %s AND type = 'message.delivered'", [message_id]
        ),
    )
    wait_for("its webhook", lambda: [d for d in stack.receiver.deliveries(acme.path) if message_id in d["body"]])
    assert len(complaint) == 1, complaint


def send_news(stack, login):
    message = compose("news@globex.test", "reader@other.test", "Is Redis there?")
    return submit(stack.node, login, "news@globex.test", "reader@other.test", message)


@pytest.fixture
def daemon_without_redis(stack, request):
    """The daemon alone has lost Redis: the socket that its configuration names is not there yet. The fixture's value is
    the daemon, what it has logged since its start, and a function that brings Redis."""
    daemon, later = request.param, stack.redis.folder / "later.sock"
    stack.node.write_conf({"redis": {"socket": later}})
    said = len(stack.node.log_text(daemon))
    stack.node.restart(daemon)
    yield daemon, lambda: stack.node.log_text(daemon)[said:], lambda: later.symlink_to(stack.redis.socket)
    later.unlink(missing_ok=True)
    stack.node.write_conf({})
    stack.node.restart(daemon)


@pytest.mark.parametrize("daemon_without_redis", ["policyd", "milter"], indirect=True)
def test_starts_without_redis_says_so_once_and_retries(stack, customers, daemon_without_redis):
    daemon, log, bring_redis = daemon_without_redis
    login = customers[1].app
    replies = [send_news(stack, login) for _ in range(4)]
    assert all(reply.code < 500 for reply in replies), f"own trouble is never a 5xx: {replies}"
    complaints = [line for line in log().splitlines() if "redis" in line.lower() and "warning" in line]
    assert len(complaints) == 1, complaints
    bring_redis()
    wait_for(f"{daemon} to find Redis", lambda: send_news(stack, login).accepted)


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
    """The action line but for the refusal's own id, empty when policyd hangs up."""
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
    return re.sub(rb"=\w+\n\n$", b"\n\n", answer)


@pytest.mark.parametrize("what", NONSENSE)
def test_nonsense_closes_its_connection_alone(stack, what):
    with connect(stack) as good, connect(stack) as bad:
        before = ask(good)
        assert before.startswith(b"action=") and before.endswith(b"\n\n")
        assert ask(bad, NONSENSE[what]) == b""
        assert ask(good) == before
