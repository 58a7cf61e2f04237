"""The limits that the milter charges, and what it gives back, over its socket."""

import itertools
import re

import pytest

from conftest import DIRECTORY
from messages import header, spooled, verify


def test_limits_defer_and_name_the_limit(daemon, milter):
    answers = [milter.message(header("a@metered.test"), login="meter", queue_id=f"AA{i}") for i in range(5)]
    assert [answer.accepted for answer in answers] == [True, True, True, False, False]
    assert answers[3].text.startswith("450 4.7.1") and "metered-hour 3/h" in answers[3].text and "retry in" in answers[3].text
    daemon.wait_for_log("AA3: customer=metered, login=meter, from=a@metered.test, action=defer, reason=limit, "
                        "limit=metered-hour, used=3/3")


def test_limits_reject(milter):
    people = [f"p{i}@example.net" for i in range(4)]
    assert milter.message(header("a@strict.test"), login="strict", recipients=people, queue_id="B1").accepted
    answer = milter.message(header("a@strict.test"), login="strict", recipients=people, queue_id="B2")
    assert answer.text.startswith("550 5.7.1") and "strict-day" in answer.text
    assert milter.message(header("a@strict.test"), login="strict", recipients=people[:1], queue_id="B3").accepted


def test_limits_hold(milter):
    assert milter.message(header("a@held.test"), login="hold", queue_id="C1").changes == []
    answer = milter.message(header("a@held.test"), login="hold", queue_id="C2")
    assert answer.accepted and ("q", 0, "", "limit held-hour 1/h") in answer.changes


PAUSED = DIRECTORY + """
customer paused
limit paused customer messages 0/h defer
login paused paused
allow *@owned
domain paused.test paused
customer stopped
limit stopped customer messages 0/day reject
login stopped stopped
allow *@owned
domain stopped.test stopped
"""


@pytest.mark.parametrize("counters", ["redis", "local"])
def test_a_limit_of_0_is_a_pause(make_daemon, counters):
    daemon = make_daemon()
    daemon.write_conf(redis=f"counters = {counters}")
    daemon.write_directory(PAUSED)
    daemon.start_redis()
    daemon.start()
    for login, reply in (("paused", "450 4.7.1"), ("stopped", "550 5.7.1")):
        milter = daemon.connect()
        answer = milter.message(header(f"a@{login}.test"), login=login)
        assert answer.text.startswith(f"{reply} Limit {login} 0/") and "(0 of 0)" in answer.text and "in 3600s" in answer.text
        milter.close()


def test_what_a_limit_never_allows_is_told_so(daemon):
    milter = daemon.connect()
    answer = milter.message(header("a@strict.test"), login="strict", recipients=[f"p{i}@example.net" for i in range(6)])
    assert answer.text.startswith("550 5.7.1") and "larger than limit strict-day 5/day" in answer.text and "[limit-never]" in answer.text
    milter.close()


def test_without_redis_this_host_counts_alone(own_daemon, own_milter):
    own_daemon.redis.kill()
    own_daemon.redis.wait()
    own_daemon.redis = None
    answers = [own_milter.message(header("a@metered.test"), login="meter", queue_id=f"D{i}") for i in range(6)]
    assert all(answer.accepted for answer in answers[:3])
    assert answers[5].text.startswith("450 4.7.1") and "metered-hour" in answers[5].text
    own_daemon.wait_for_log(" does not answer; it is asked again")
    assert own_daemon.log().count(" does not answer; it is asked again") == 1


def test_a_store_that_cannot_count_lets_nothing_pass(make_daemon):
    daemon = make_daemon()
    daemon.write_conf()
    daemon.conf.write_text(daemon.conf.read_text().replace("local = /", "local = /nonexistent/"))
    daemon.write_directory()
    daemon.start()
    milter = daemon.connect()
    answer = milter.message(header("a@metered.test"), login="meter")
    assert answer.text.startswith("451 4.3.0") and "limits cannot be counted" in answer.text
    milter.close()
    milter = daemon.connect()
    verify(milter.message(header()), header())
    milter.close()


def test_without_redis_no_limit_refuses_for_good(make_daemon):
    """Of 5/day this one of three hosts has 2: too little for a message, and for two, that the limit itself lets pass."""
    daemon = make_daemon()
    daemon.write_conf(redis="nodes = 3")
    daemon.write_directory()
    daemon.start()
    milter = daemon.connect()
    people = [f"p{i}@example.net" for i in range(4)]
    for queue_id, recipients, code in (("D1", people, "450 4.7.1"), ("D2", people[:2], None), ("D3", people[:1], "450 4.7.1")):
        answer = milter.message(header("a@strict.test"), login="strict", recipients=recipients, queue_id=queue_id)
        assert answer.accepted if code is None else answer.text.startswith(code) and "strict-day" in answer.text
    milter.close()


@pytest.mark.parametrize("rule", ["unavailable = defer", "unavailable_customer = defer\nunavailable_relay = accept"])
def test_without_redis_mail_under_a_limit_may_wait(make_daemon, rule):
    daemon = make_daemon()
    daemon.write_conf(redis=rule)
    daemon.write_directory()
    daemon.start()
    milter = daemon.connect()
    answer = milter.message(header("a@metered.test"), login="meter")
    assert answer.text.startswith("451 4.3.0") and "limits cannot be counted" in answer.text
    milter.close()
    milter = daemon.connect()
    verify(milter.message(header()), header())
    milter.close()


DESTINATIONS = DIRECTORY + """
customer picky
limit slow-net destination recipients 2/h defer example.net
limit slow-idn destination messages 1/h defer xn--bcher-kva.example
limit each destination recipients 4/h defer
login picky picky
allow *@owned
domain picky.test picky
"""


@pytest.fixture
def counting(make_daemon):
    """A daemon that counts by itself, so that the figures are exact however late Redis might be."""
    daemon = make_daemon()
    daemon.write_conf(redis="counters = local")
    daemon.write_directory()
    daemon.start()
    return daemon


@pytest.fixture
def picky(counting):
    counting.write_directory(DESTINATIONS)
    milter = counting.connect()
    queue_ids = iter(range(100))

    def send(*recipients):
        answer = milter.message(header("a@picky.test"), login="picky", recipients=recipients, queue_id=f"E{next(queue_ids)}")
        return answer.text if answer.letter in "ty" else "accepted"

    yield send
    milter.close()


def test_a_limit_of_one_destination_counts_no_other(picky):
    assert picky("a@example.net", "b@other.test", "c@other.test", "d@other.test") == "accepted"
    assert picky("a@Example.NET", "b@other.test") == "accepted"
    assert "slow-net 2/h" in picky("c@example.net")
    assert "each 4/h" in picky("e@other.test")
    assert picky("a@sub.example.net") == "accepted"


def test_a_destination_has_one_name_however_it_is_spelt(picky):
    assert picky("a@b\u00fccher.example") == "accepted"
    assert "slow-idn 1/h" in picky("b@XN--BCHER-KVA.example")
    assert "slow-idn 1/h" in picky("b@B\u00dcCHER.example", "a@xn--bcher-kva.example")


def test_limits_warn_at_80_and_100_percent_once(make_daemon):
    """Redis alone counts: a late answer defers the message, what it was charged is given back, and it comes again."""
    daemon, count = make_daemon(), itertools.count()
    daemon.write_conf(redis="unavailable = defer")
    daemon.write_directory()
    daemon.start_redis()
    daemon.start()
    milter = daemon.connect()

    def send(sender="a@warned.test"):
        for attempt in count:
            answer = milter.message(header(sender), queue_id=f"3B{attempt}", login="warned", sender=sender)
            if not answer.text.startswith("451 4.3.0"):
                return f"3B{attempt}" if answer.accepted else None

    def told(queue_id):
        return [(entry["type"], entry["customer"], entry["login"], entry["threshold"]) for entry in spooled(daemon, queue_id)]

    accepted = [send() for _ in range(4)]
    assert told(accepted[3]) == [("limit.warning", "warned", "warned", 80)]
    assert spooled(daemon, accepted[3])[0]["limits"][0]["used"] == 4
    assert send("a@elsewhere.test") is None
    assert told(send()) == [("limit.warning", "warned", "warned", 100)]
    assert send() is None
    milter.close()


def test_instances_side_by_side_share_limits_and_spool(counting, make_daemon):
    other = make_daemon()
    other.write_conf(redis="counters = local")
    other.write_directory()
    text = other.conf.read_text()
    for setting in ("spool", "local"):
        text = text.replace(f"{setting} = {other.folder}", f"{setting} = {counting.folder}")
    other.conf.write_text(text)
    other.start()
    first, second = counting.connect(), other.connect()
    answers = [milter.message(header("a@metered.test"), login="meter", queue_id=f"B{turn}{name}")
               for turn in range(3) for name, milter in (("A", first), ("B", second))]
    assert [answer.accepted for answer in answers] == [True, True, True, False, False, False]
    assert len(spooled(counting, "B1B")) == len(spooled(counting, "B2A")) == 1
    first.close()
    second.close()
    fresh = other.connect()
    verify(fresh.message(header()), header())
    fresh.close()


@pytest.mark.parametrize("goodbye", ["AQ", "Q", ""])
def test_whoever_hangs_up_is_not_charged(counting, goodbye):
    """Postfix says so, and closes at once; libmilter may see the end before the words."""
    for number in range(30):
        milter = counting.connect()
        milter.begin("meter", "a@metered.test", ["b@example.net"])
        milter.content([("From", "a@metered.test")], b"never ended\r\n", f"D{number:02}")
        for letter in goodbye:
            milter.send(letter)
        milter.socket.close()
    counting.wait(lambda: len(set(re.findall("D[0-9]{2}(?=: customer=metered, login=meter, action=abandoned)", counting.log()))) == 30,
                  "word of all of them")
    assert counting.log().count("action=abandoned") == 30
