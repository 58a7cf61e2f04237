"""The story that the demo shows and the scenarios check: two customers, and what happens to their mail.

Each step is a method that raises StoryError when a station did not do what it should, and returns one line that says
what was seen. STEPS lists them in the order in which they must run; a step counts on those before it.
"""

import dataclasses
import secrets

from . import dkim_check
from .client import Client, compose, submit
from .customers import set_up
from .wait import wait_for

PORTS = (587, 465, 2525)


class StoryError(AssertionError):
    """A station did not do what it should."""


def expect(condition, what, seen=""):
    if not condition:
        raise StoryError(f"{what}; seen: {seen}" if seen != "" else what)


@dataclasses.dataclass
class Sent:
    """One submission of the story."""

    login: str
    sender: str
    recipient: str
    message_id: str
    port: int
    reply: object
    outcome: str
    signatures: list


class Story:
    def __init__(self, stack):
        self.stack, self.node = stack, stack.node
        self.token = secrets.token_hex(4)
        self.sent = []
        self.acme = self.globex = None

    # ---- the steps

    def onboarding(self):
        """Two customers are taken on with the waybill command alone"""
        self.acme, self.globex = set_up(self.stack)
        return "acme (acme.test) and globex (globex.test): keys, DNS records, logins, limits, endpoints"

    def auth_needs_tls(self):
        """AUTH is not offered, nor taken, before TLS"""
        for port in (587, 2525):
            with Client(self.node, port, tls=False) as client:
                expect(
                    "auth" not in client.esmtp_features,
                    f"port {port} offers AUTH before STARTTLS",
                    client.esmtp_features,
                )
                code, text = client.auth_plain(self.acme.app.name, self.acme.app.password)
                expect(500 <= code < 600, f"port {port} takes AUTH before STARTTLS", f"{code} {text}")
                code, text = client.mail("app@acme.test")
                expect(code == 530, f"port {port} takes MAIL before STARTTLS", f"{code} {text}")
        return "587 and 2525: no AUTH in EHLO, AUTH and MAIL refused until STARTTLS"

    def only_plain(self):
        """LOGIN and CRAM-MD5 are not offered"""
        for port in PORTS:
            with Client(self.node, port) as client:
                offered = client.esmtp_features.get("auth", "").split()
                expect(offered == ["PLAIN"], f"port {port} offers other mechanisms than PLAIN", offered)
                for mechanism in ("LOGIN", "CRAM-MD5"):
                    code, text = client.docmd("AUTH", mechanism)
                    expect(500 <= code < 600, f"port {port} answers AUTH {mechanism}", f"{code} {text}")
        return "AUTH PLAIN alone, on 587, 465 and 2525"

    def wrong_password(self):
        """A wrong password is refused"""
        with Client(self.node, 587) as client:
            code, text = client.auth_plain(self.acme.app.name, "not the password")
            expect(code == 535, "a wrong password is not refused with 535", f"{code} {text}")
        return f"{code} {text}"

    def three_ports(self):
        """Mail on 587, 465 and 2525 is accepted, signed and delivered"""
        for port in PORTS:
            sent = self._send(
                self.acme.app, "billing@acme.test", f"port{port}@dest.test", f"Invoice by port {port}", port
            )
            self._arrives(sent, "acme.test")
        sent = self._send(self.globex.app, "news@globex.test", "reader@other.test", "Our news", 587)
        self._arrives(sent, "globex.test")
        return "4 messages delivered, each signed by its own customer's domain; python3-dkim verifies them"

    def foreign_sender(self):
        """A sender that the login does not own is refused"""
        sent = self._send(self.acme.app, "ceo@globex.test", "x@dest.test", "Not mine", 587, "refused")
        expect(sent.reply.code == 553, "a foreign sender is not refused with 553", sent.reply)
        return str(sent.reply)

    def null_sender(self):
        """MAIL FROM:<> is refused"""
        sent = self._send(
            self.acme.app, "", "x@dest.test", "From nobody", 587, "refused", header_from="billing@acme.test"
        )
        expect(500 <= sent.reply.code < 600, "the null sender is not refused", sent.reply)
        return str(sent.reply)

    def foreign_header_from(self):
        """A header From that the login does not own is refused, and what was charged is given back"""
        before = self.used(self.acme)
        sent = self._send(
            self.acme.app,
            "billing@acme.test",
            "x@dest.test",
            "As somebody else",
            587,
            "refused",
            header_from="ceo@globex.test",
        )
        expect(sent.reply.code == 550 and sent.reply.step == "end of DATA", "a foreign header From passes", sent.reply)
        wait_for("policyd's charge to be given back", lambda: self.used(self.acme) == before)
        return str(sent.reply)

    def over_the_limit(self):
        """A login over its limit is deferred; Redis has counted for both daemons"""
        before = self.used(self.acme)
        for number in range(self.acme.bulk_limit):
            sent = self._send(self.acme.bulk, "offers@acme.test", f"offer{number}@dest.test", f"Offer {number}", 587)
            expect(sent.reply.accepted, f"message {number + 1} of {self.acme.bulk_limit} is refused", sent.reply)
        sent = self._send(
            self.acme.bulk, "offers@acme.test", "offer-too-many@dest.test", "One too many", 587, "deferred"
        )
        expect(sent.reply.code == 450, "the message over the limit is not deferred with 450", sent.reply)
        after = self.used(self.acme)
        for scope in ("login", "customer"):
            more = after.get(scope, 0) - before.get(scope, 0)
            expect(more == self.acme.bulk_limit, f"Redis counts {more} more for scope {scope}", f"{before} -> {after}")
        return f"{sent.reply}; Redis: {after}"

    def hard_bounce(self):
        """A recipient that does not exist: a hard bounce, suppressed, the next mail to it refused"""
        sent = self._send(self.acme.app, "billing@acme.test", "unknown@dest.test", "Are you there?", 587, "bounced")
        event = self._event(sent, "message.bounced")
        expect(
            (event["class"], event["category"], event["enhanced_code"]) == ("hard", "bad-mailbox", "5.1.1"),
            "the bounce is not a hard one for a bad mailbox",
            event,
        )
        rows = wait_for(
            "a suppression of unknown@dest.test",
            lambda: self._support(
                "SELECT reason, event_id FROM support.suppressions WHERE (customer, recipient) = (%s, %s)",
                [self.acme.name, sent.recipient],
            ),
        )
        expect(
            rows == [{"reason": "hard-bounce", "event_id": event["event_id"]}],
            "the suppression names another cause",
            rows,
        )
        wait_for("the suppression in the snapshot", lambda: self._rcpt(self.acme.app, "unknown@dest.test")[0] == 550)
        refused = self._send(self.acme.app, "billing@acme.test", "unknown@dest.test", "Still there?", 587, "refused")
        expect(
            refused.reply.code == 550 and refused.reply.step == "RCPT TO",
            "a suppressed recipient is accepted",
            refused.reply,
        )
        other = self._rcpt(self.globex.app, "unknown@dest.test", "news@globex.test")
        expect(other[0] == 250, "acme's suppression holds for globex as well", other)
        return str(refused.reply)

    def busy_recipient(self):
        """A busy recipient: a deferred event, later delivered"""
        sent = self._send(
            self.globex.app, "news@globex.test", "busy@other.test", "At your leisure", 465, "delivered later"
        )
        event = self._event(sent, "message.deferred")
        expect(event["enhanced_code"] == "4.2.1", "the deferral lost its enhanced code", event)
        self.stack.sink.accept("busy@other.test")
        self.node.postfix.flush()
        self._arrives(sent, "globex.test")
        return "deferred with 4.2.1, delivered when the mailbox was free"

    def events(self):
        """Every event stands in Postgres with all that support needs"""
        wanted = {
            "delivered": ["message.delivered"],
            "bounced": ["message.bounced"],
            "delivered later": ["message.deferred", "message.delivered"],
        }
        count = 0
        for sent in self.sent:
            for kind in wanted.get(sent.outcome, []):
                self._complete(self._event(sent, kind), sent)
                count += 1
        return f"{count} events: type, time, message-id, recipient, sender, category, enhanced code, reason"

    def webhooks(self):
        """Each webhook is received once, its signature verified by somebody else's code"""
        for customer in (self.acme, self.globex):
            owed = {
                row["event_id"]
                for row in self.stack.postgres.execute(
                    "SELECT event_id FROM waybill.deliveries WHERE customer = %s", [customer.name]
                )
            }
            expect(owed, f"no event is owed to {customer.name}'s endpoint")
            wait_for(
                f"{len(owed)} webhooks for {customer.name}",
                lambda: len(self.stack.receiver.deliveries(customer.path)) >= len(owed),
            )
            received = self.stack.receiver.deliveries(customer.path)
            bad = [item for item in received if not item["verified"]]
            expect(not bad, f"{len(bad)} signatures are wrong", bad[:1])
            ids = [item["id"] for item in received]
            expect(sorted(ids) == sorted(owed), "webhooks and events differ", f"{len(ids)} received, {len(owed)} owed")
        received = self.stack.receiver.deliveries()
        return f"{len(received)} received, none twice, all verified by {received[0]['verifier']}"

    # ---- what the steps are made of

    def used(self, customer):
        """What Redis has counted of the customer's day quotas: {"login": units, "customer": units}."""
        client, used = self.stack.redis.client(), {}
        for key in client.scan_iter(f"wb:{{{customer.name}}}:l:*"):
            limit = key.split(":")[3]
            scope = customer.quotas.get(limit)
            if scope:
                used[scope] = used.get(scope, 0) + int(client.get(key).split()[0])
        return used

    def _send(self, login, sender, recipient, subject, port, outcome="delivered", header_from=None):
        number = len(self.sent) + 1
        message_id = f"{number}.{self.token}@{(header_from or sender).rpartition('@')[2]}"
        message = compose(header_from or sender, recipient, subject, message_id)
        reply = submit(self.node, login, sender, recipient, message, port)
        sent = Sent(login.name, sender, recipient, message_id, port, reply, outcome, [])
        self.sent.append(sent)
        if outcome in ("delivered", "bounced", "delivered later"):
            expect(reply.accepted, f"{subject!r} on port {port} is not accepted", reply)
        return sent

    def _rcpt(self, login, recipient, sender="billing@acme.test"):
        """The reply to RCPT of a message that is never sent, as (code, text)."""
        with Client(self.node, 587) as client:
            client.auth_plain(login.name, login.password)
            client.mail(sender)
            return client.rcpt(recipient)

    def _arrives(self, sent, domain):
        """Waits for the message at the sink, and verifies its signature."""
        found = wait_for(
            f"{sent.message_id} at the sink", lambda: self.stack.sink.find(sent.message_id, sent.recipient)
        )
        sent.signatures = dkim_check.verify(found[0]["bytes"], self.stack.dns)
        expect(
            any(right and of == domain for of, _, _, right in sent.signatures),
            f"{sent.message_id} has no right signature of {domain}",
            sent.signatures,
        )

    def _event(self, sent, kind):
        """The event of this type as support sees it, a dictionary."""
        return wait_for(
            f"{kind} of {sent.message_id} for {sent.recipient}",
            lambda: self._support(
                "SELECT * FROM support.events WHERE message_id = %s AND recipient = %s AND type = %s",
                [sent.message_id, sent.recipient, kind],
            ),
        )[0]

    def _support(self, sql, parameters):
        return self.stack.postgres.execute(sql, parameters, user="waybill_support")

    def _complete(self, event, sent):
        """Everything that support asks for is there."""
        expect(event["customer"] == sent.login.partition("-")[0], "the event belongs to another customer", event)
        expect(
            event["sender"] == sent.sender and event["queue_id"] == sent.reply.queue_id,
            "another message's facts",
            event,
        )
        expect(event["sasl_username"] == sent.login, "the login is lost", event)
        for column in ("occurred_at", "enhanced_code", "reason"):
            expect(event[column], f"{event['type']} without {column}", event)
        if event["type"] != "message.delivered":
            expect(event["category"], f"{event['type']} without a category", event)


STEPS = (
    Story.onboarding,
    Story.auth_needs_tls,
    Story.only_plain,
    Story.wrong_password,
    Story.three_ports,
    Story.foreign_sender,
    Story.null_sender,
    Story.foreign_header_from,
    Story.over_the_limit,
    Story.hard_bounce,
    Story.busy_recipient,
    Story.events,
    Story.webhooks,
)
