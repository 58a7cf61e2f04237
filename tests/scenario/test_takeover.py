"""The takeover guard with the real stack: a stolen login comes from many networks, or meets many unknown mailboxes; its
customer's action is taken; new logins are only watched; a suspension reaches every host, and can be lifted."""

import subprocess

import pytest

from tests.stack.client import Client, compose, submit
from tests.stack.customers import add_domain, add_endpoint, add_login
from tests.stack.wait import wait_for

SENDER, RECIPIENT = "news@acme.test", "reader@dest.test"
# Small numbers, so that a test need not send hundreds: the guard acts at the seventh network, or the ninth bounce.
# And a busy machine's Redis may take its time: what it tells too late is not counted.
MARKS = {"policyd": {"takeover_networks": 8, "takeover_bounces": 10}, "redis": {"timeout": "20ms"}}
ACTS_AT = 7


class Acme:
    """A customer, whose logins are made for one test each."""

    def __init__(self, stack):
        self.stack, self.node, self.count = stack, stack.node, 0
        self.node.waybill("customer", "add", "acme")
        add_domain(stack, "acme", "acme.test")
        add_endpoint(stack, "acme", "/acme", "--events", "credential.suspended,credential.suspected")

    def login(self, action, days=30):
        """A login that was made DAYS ago, of a customer that wants ACTION taken; known to this host."""
        self.count += 1
        login = add_login(self.stack, "acme", f"app-{self.count}")
        self.node.waybill("customer", "set", "acme", "--takeover", action)
        self.stack.postgres.execute(
            "UPDATE waybill.logins SET created_at = now() - make_interval(days => %s), enabled = enabled WHERE login = %s",
            (days, login.name),
        )
        self.node.waybill("suppress", "add", "acme", f"after-{self.count}@dest.test")
        wait_for(login.name, lambda: "[recipient-suppressed]" in self.rcpt(login, f"after-{self.count}@dest.test")[1])
        return login

    def send(self, login, network=1, recipient=RECIPIENT, node=None):
        message = compose(SENDER, RECIPIENT, "News")
        return submit(node or self.node, login, SENDER, recipient, message, source=f"127.7.{network}.1")

    def send_from_many(self, login, networks=10):
        return [self.send(login, network) for network in range(networks)]

    def rcpt(self, login, recipient=RECIPIENT, node=None):
        with Client(node or self.node, 587) as client:
            client.auth_plain(login.name, login.password)
            client.mail(SENDER)
            code, text = client.rcpt(recipient)
            return code, text.decode()

    def shown(self, login):
        return self.node.waybill_json("login", "show", login.name)[0]

    def events(self, login):
        rows = self.stack.postgres.execute(
            "SELECT type, detail ->> 'action' AS action FROM support.events WHERE sasl_username = %s "
            "AND type ~ '^credential' ORDER BY seq",
            (login.name,),
        )
        return [(row["type"], row["action"]) for row in rows]

    def log_of(self, login, reason):
        """policyd's lines about a login that have this reason."""
        lines = self.node.log_text("policyd").splitlines()
        return [line for line in lines if f"login={login.name}, " in line and f"reason={reason}, " in line]


@pytest.fixture(scope="module")
def acme(stack):
    stack.node.write_conf(MARKS)
    stack.node.restart("policyd")
    return Acme(stack)


def test_a_new_login_is_only_watched(stack, acme):
    login = acme.login("suspend", days=6)
    assert all(reply.accepted for reply in acme.send_from_many(login))
    assert len(acme.log_of(login, "takeover-shadow")) == 10 - ACTS_AT + 1
    shown = acme.shown(login)["takeover"]
    assert (shown["action"], shown["outcome"], shown["score"]) == ("suspend", "shadow", 100)
    assert shown["shadow_until"] and shown["networks"] == {"count": 10, "usual": 0, "mark": 8, "points": 100}
    page = stack.node.waybill("login", "show", login.name).stdout
    assert f"suspend, only watched until {shown['shadow_until']}; score 100 of 80: 10 networks today" in page
    wait_for("the event", lambda: acme.events(login) == [("credential.suspected", "shadow")])
    assert acme.shown(login)["suspended_at"] is None


def test_alert_tells_and_lets_pass(stack, acme):
    login = acme.login("alert")
    assert all(reply.accepted for reply in acme.send_from_many(login))
    lines = acme.log_of(login, "takeover-alert")
    assert len(lines) == 10 - ACTS_AT + 1
    assert "action=accept" in lines[0] and ", score=83/80, networks=7/8, volume=7/500, bounces=0/10, " in lines[0]

    def posted():
        bodies = [delivery["body"] for delivery in stack.receiver.deliveries("/acme")]
        return [body for body in bodies if "credential.suspected" in body and login.name in body]

    [body] = wait_for("the webhook", posted)
    assert '"action": "alert"' in body and "7 networks today" in body


def test_hold_keeps_for_a_person(stack, acme):
    login = acme.login("hold")
    replies = acme.send_from_many(login)
    assert all(reply.accepted for reply in replies)
    held = {path.name for path in (stack.node.postfix.queue / "hold").rglob("*")}
    assert [reply.queue_id in held for reply in replies] == [False] * (ACTS_AT - 1) + [True] * (10 - ACTS_AT + 1)
    wait_for("the event", lambda: acme.events(login) == [("credential.suspected", "hold")])


def test_off_is_off(stack, acme):
    login = acme.login("off")
    assert all(reply.accepted for reply in acme.send_from_many(login))
    assert acme.shown(login)["takeover"]["networks"]["count"] == 0


def suspend(acme, login):
    """Uses a login from many networks until it is suspended, for good; the replies."""
    replies = acme.send_from_many(login)
    wait_for("the directory to know", lambda: "[login-suspended]" in acme.rcpt(login)[1])
    return replies


def test_suspend_refuses_this_and_all_that_follows(stack, acme):
    login = acme.login("suspend")
    replies = suspend(acme, login)
    assert [reply.code for reply in replies] == [250] * (ACTS_AT - 1) + [525] * (10 - ACTS_AT + 1)
    first = replies[ACTS_AT - 1]
    assert first.text.startswith("5.7.13 ") and "[takeover-suspended]" in first.text and login.name in first.text
    # Told once, though more were refused before the directory knew.
    assert acme.events(login) == [("credential.suspended", "suspend")]
    [told] = stack.node.waybill_json("explain", first.text.rpartition("id=")[2].split()[0])
    assert (told["reason"], told["takeover"]["score"], told["takeover"]["threshold"]) == ("takeover-suspended", 83, 80)
    assert told["takeover"]["networks"] == {"count": 7, "usual": 0, "mark": 8, "points": 83}
    page = stack.node.waybill("explain", told["id"]).stdout
    assert "score 83, suspicious from 80 on" in page and "7, usual 0, mark 8: 83 points" in page
    code, text = acme.rcpt(login)
    assert code == 525 and "5.7.13" in text
    [why] = stack.node.waybill_json("explain", text.rpartition("id=")[2].split()[0])
    assert why["reason"] == "login-suspended" and why["detail"].startswith("score 83 of 80: 7 networks")
    shown = acme.shown(login)
    assert shown["suspended_at"] and shown["suspended_reason"].startswith("score 83 of 80")
    assert shown["takeover"]["outcome"] == "suspend"
    posted = wait_for("the webhook", lambda: [
        delivery for delivery in stack.receiver.deliveries("/acme")
        if "credential.suspended" in delivery["body"] and login.name in delivery["body"]
    ])
    assert len(posted) == 1 and posted[0]["verified"]


def test_enabled_again_it_begins_anew(stack, acme):
    login = acme.login("suspend")
    suspend(acme, login)
    stack.node.waybill("login", "enable", login.name)
    wait_for("the directory to know", lambda: acme.rcpt(login)[0] == 250)
    shown = acme.shown(login)
    assert shown["suspended_at"] is None and (shown["takeover"]["score"], shown["takeover"]["outcome"]) == (0, "quiet")
    assert all(acme.send(login, network).accepted for network in range(ACTS_AT - 1))
    assert acme.send(login, 200).code == 525
    wait_for("the second event", lambda: len(acme.events(login)) == 2)


def test_a_burst_of_unknown_mailboxes_suspends(stack, acme):
    login = acme.login("suspend")
    for i in range(9):
        assert acme.send(login, recipient=f"unknown-{acme.count}-{i}@dest.test").accepted
    wait_for("the bounces", lambda: acme.shown(login)["takeover"]["bounces"]["count"] == 9)
    refused = acme.send(login)
    assert (refused.code, "[takeover-suspended]" in refused.text) == (525, True), refused
    [told] = stack.node.waybill_json("explain", refused.text.rpartition("id=")[2].split()[0])
    assert told["takeover"]["bounces"]["points"] >= 80 and told["takeover"]["networks"]["count"] == 1
    wait_for("the directory to know", lambda: "[login-suspended]" in acme.rcpt(login)[1])


def test_without_redis_the_guard_pauses(stack, acme):
    login = acme.login("suspend")
    acme.send_from_many(login, ACTS_AT - 1)
    stack.redis.stop()
    try:
        assert all(reply.accepted for reply in acme.send_from_many(login))
        shown = acme.shown(login)["takeover"]
        assert "the guard pauses" in shown["trouble"] and "score" not in shown
    finally:
        stack.redis.start()
    wait_for(
        "Redis to count again",
        lambda: "answers again" in stack.node.log_text("policyd").rpartition("does not answer")[2],
    )
    # This Redis keeps nothing: the login is looked at anew.
    assert all(reply.accepted for reply in acme.send_from_many(login, ACTS_AT - 1))
    assert not acme.events(login)


def test_a_flushed_redis_forgets_and_the_directory_does_not(stack, acme):
    stolen, other = acme.login("suspend"), acme.login("suspend")
    suspend(acme, stolen)
    acme.send_from_many(other, ACTS_AT - 1)
    stack.redis.client().flushall()
    stack.redis.client().script_flush()
    assert acme.rcpt(stolen)[0] == 525
    assert acme.send(other, 100).accepted
    assert acme.shown(other)["takeover"]["networks"]["count"] == 1


@pytest.mark.seconds(240)
def test_all_hosts_count_and_refuse_together(stack, acme):
    second = stack.add_node("mx2", settings=MARKS)
    login = acme.login("suspend")
    wait_for("the second host's snapshot", lambda: acme.rcpt(login, node=second)[0] == 250)
    nodes = [stack.node, second]
    replies = [acme.send(login, network, node=nodes[network % 2]) for network in range(ACTS_AT)]
    assert [reply.code for reply in replies] == [250] * (ACTS_AT - 1) + [525]
    # At once and everywhere, by Redis; then by the directory.
    assert [acme.send(login, node=node).code for node in nodes] == [525, 525]
    for node in nodes:
        wait_for("the directory to know", lambda node=node: "[login-suspended]" in acme.rcpt(login, node=node)[1])
    assert acme.events(login) == [("credential.suspended", "suspend")]


def test_a_machine_without_redis_guards_itself(stack, acme):
    settings = stack.node.settings
    stack.node.write_conf({**settings, "redis": {"counters": "local"}})
    stack.node.restart("policyd", "milter", "bouncer")
    try:
        login = acme.login("suspend")
        for i in range(4):
            assert acme.send(login, recipient=f"unknown-{acme.count}-{i}@dest.test").accepted
        wait_for("the bounces", lambda: acme.shown(login)["takeover"]["bounces"]["count"] == 4)
        assert {reply.code for reply in suspend(acme, login)} == {250, 525}
        assert acme.shown(login)["takeover"]["networks"]["count"] >= 4
        stack.node.waybill("login", "enable", login.name)
        wait_for("the directory to know", lambda: acme.rcpt(login)[0] == 250)
        assert acme.send(login).accepted
    finally:
        stack.node.write_conf(settings)
        stack.node.restart("policyd", "milter", "bouncer")


def test_prometheus_sees_the_guard(stack, acme):
    where = stack.node.state / "policyd-metrics"
    stack.node.write_conf({**MARKS, "policyd": {**MARKS["policyd"], "metrics": where}})
    stack.node.restart("policyd")
    login = acme.login("alert")
    acme.send_from_many(login, ACTS_AT)
    page = scrape(where)
    assert 'waybill_policyd_takeover_total{outcome="alert"} 1' in page
    assert 'waybill_policyd_decisions_total{reason="takeover-alert"} 1' in page


def scrape(where):
    asked = ["curl", "-s", "--unix-socket", where, "http://localhost/metrics"]
    return subprocess.run(asked, stdout=subprocess.PIPE, text=True, check=True).stdout
