"""A customer goes while its mail is in the queue; a sealed key that cannot be opened stops its own domain alone."""

import pytest

from tests.stack import customers, dkim_check
from tests.stack.client import compose, submit
from tests.stack.process import wait_until


@pytest.fixture(scope="module")
def both(stack):
    return customers.set_up(stack)


def send(stack, customer, subject):
    """Returns the reply and the Message-ID."""
    sender = f"news@{customer.domain}"
    message_id = f"{subject}@{customer.domain}"
    message = compose(sender, "reader@dest.test", subject, message_id)
    return submit(stack.node, customer.app, sender, "reader@dest.test", message), message_id


def open_messages(stack, customer):
    return stack.postgres.execute(
        "SELECT count(DISTINCT o.queue_id) AS n FROM waybill.open_messages AS o JOIN waybill.events AS e USING (queue_id, host, instance) "
        "WHERE e.customer = %s AND e.type = 'message.accepted'", (customer,))[0]["n"]


def test_a_key_that_cannot_be_opened_stops_its_domain_alone(stack, both):
    acme, globex = both
    [key] = stack.postgres.execute("SELECT selector, sealed FROM waybill.dkim_keys WHERE domain = 'acme.test'")
    broken = bytearray(key["sealed"])
    broken[-1] ^= 1
    put = "UPDATE waybill.dkim_keys SET sealed = %s WHERE domain = 'acme.test'"
    stack.postgres.execute(put, (bytes(broken),))
    try:
        stack.node.restart("milter")  # it keeps the keys that it has opened
        assert wait_until(lambda: not send(stack, acme, "sealed")[0].accepted)
        reply, _ = send(stack, acme, "sealed-again")
        assert reply.code == 451 and "4.7.5" in reply.text, reply
        assert any("acme.test" in line and key["selector"] in line for line in stack.node.log_text("milter").splitlines()
                   if "cannot" in line)
        assert send(stack, globex, "unharmed")[0].accepted
    finally:
        stack.postgres.execute(put, (bytes(key["sealed"]),))
    assert wait_until(lambda: send(stack, acme, "mended")[0].accepted)


def test_a_customer_goes_while_its_mail_is_in_the_queue(stack, both):
    acme, globex = both
    assert wait_until(lambda: open_messages(stack, "acme") == 0 and open_messages(stack, "globex") == 0)
    stack.sink.stop()
    reply, message_id = send(stack, acme, "left-behind")
    assert reply.accepted
    assert wait_until(lambda: open_messages(stack, "acme") == 1)
    before = stack.postgres.execute("SELECT max(id) AS id FROM waybill.audit")
    done = stack.node.waybill("customer", "remove", "acme", ok=False)
    assert done.returncode == 64 and "messages in the queue: 1;" in done.stderr and "--yes" in done.stderr
    assert "messages in the queue: 0;" in stack.node.waybill("customer", "remove", "globex", ok=False).stderr
    assert stack.postgres.execute("SELECT max(id) AS id FROM waybill.audit") == before
    stack.node.waybill("customer", "remove", "acme", "--yes")
    assert wait_until(lambda: not send(stack, acme, "too-late")[0].accepted)
    stack.sink.start()
    stack.node.postfix.flush()
    assert wait_until(lambda: stack.sink.find(message_id))
    [mail] = stack.sink.find(message_id)
    signatures = dkim_check.verify(mail["bytes"], stack.dns)
    assert signatures and all(right for *_, right in signatures)
    assert wait_until(lambda: open_messages(stack, "acme") == 0)
