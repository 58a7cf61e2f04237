"""Logins with real Dovecot and Postfix: two passwords while one rotates, expiry, networks, disabling, last use."""

import pytest

from tests.stack.client import Client, compose, submit
from tests.stack.customers import add_domain, add_login
from tests.stack.process import wait_until


@pytest.fixture(scope="module")
def acme(stack):
    stack.node.waybill("customer", "add", "acme")
    add_domain(stack, "acme", "acme.test")


def auth(stack, name, password):
    with Client(stack.node, 587) as client:
        return client.auth_plain(name, password)[0]


def test_rotation_keeps_the_old_password_for_a_while(stack, acme):
    login = add_login(stack, "acme", "rotating")
    assert len(login.password) == 32  # 160 bits in base32
    assert auth(stack, "rotating", login.password) == 235
    [new] = stack.node.waybill_json("login", "rotate", "rotating", "--keep", "1 hour")
    assert new["password"] != login.password
    assert auth(stack, "rotating", new["password"]) == 235
    assert auth(stack, "rotating", login.password) == 235
    assert auth(stack, "rotating", "neither") == 535
    stack.postgres.execute("UPDATE waybill.logins SET previous_until = now() - interval '1 s' WHERE login = 'rotating'")
    stack.node.dovecot.stop()  # its cache may go on for half a minute
    stack.node.dovecot.start()
    assert auth(stack, "rotating", new["password"]) == 235
    assert auth(stack, "rotating", login.password) == 535


def test_names_are_not_case_sensitive(stack, acme):
    login = add_login(stack, "acme", "Mixed@Acme")
    assert auth(stack, "mixed@acme", login.password) == 235
    assert auth(stack, "MIXED@ACME", login.password) == 235


def test_disabled_and_expired_logins_do_not_come_in(stack, acme):
    for name, sql in {"disabled": None, "expired": "UPDATE waybill.logins SET expires_at = now() WHERE login = 'expired'"}.items():
        login = add_login(stack, "acme", name)
        stack.postgres.execute(sql) if sql else stack.node.waybill("login", "disable", name)
        assert auth(stack, name, login.password) == 535
    stack.node.waybill("login", "enable", "disabled")
    [row] = stack.postgres.execute('SELECT password LIKE \'{CRYPT}$2b$%%\' AS usable FROM auth.passdb WHERE "user" = \'disabled\'')
    assert row["usable"]


def test_a_login_comes_from_its_networks_alone(stack, acme):
    inside = add_login(stack, "acme", "inside", "--networks", "127.0.0.0/8,2001:db8::/32")
    outside = add_login(stack, "acme", "outside", "--networks", "192.0.2.0/24")
    assert auth(stack, "inside", inside.password) == 235
    assert auth(stack, "outside", outside.password) == 535


def test_the_last_use_is_recorded(stack, acme):
    login = add_login(stack, "acme", "used")
    unused = add_login(stack, "acme", "unused")
    message = compose("news@acme.test", "reader@dest.test", "used")
    assert wait_until(lambda: submit(stack.node, login, "news@acme.test", "reader@dest.test", message).accepted)

    def last_use(name):
        return stack.node.waybill_json("login", "show", name)[0]["last_used_at"]

    assert wait_until(lambda: last_use("used"))
    assert last_use(unused.name) is None
