"""An application that submits mail: TLS, AUTH PLAIN, one message. Every reply is kept."""

import base64
import email.message
import email.policy
import email.utils
import smtplib
import ssl

from .ports import HOST

# How each port is spoken to.
IMPLICIT_TLS = {465}


class Client(smtplib.SMTP):
    """smtplib with its conversation kept in self.talk, as (what was said, reply code, reply text)."""

    def __init__(self, node, port, tls=True, source=None):
        """PORT is 587, 465 or 2525; NODE knows where they really are. Without TLS the client stays in the clear. SOURCE, an
        address of 127.0.0.0/8, is where it comes from: another network than the relay's."""
        self.talk, self.context = [], ssl.create_default_context(cafile=str(node.stack.tls.ca))
        self.implicit = port in IMPLICIT_TLS
        where = (source, 0) if source else None
        super().__init__(
            HOST, node.postfix.ports[port], local_hostname="app.test", timeout=40, source_address=where
        )
        self.ehlo()
        if tls and not self.implicit:
            self.starttls(context=self.context)
            self.ehlo()

    def _get_socket(self, host, port, timeout):
        connection = super()._get_socket(host, port, timeout)
        return self.context.wrap_socket(connection, server_hostname="localhost") if self.implicit else connection

    def putcmd(self, cmd, args=""):
        self.talk.append([f"{cmd} {args}".strip(), None, None])
        super().putcmd(cmd, args)

    def getreply(self):
        code, text = super().getreply()
        if self.talk:
            self.talk[-1][1:] = code, text.decode(errors="replace")
        return code, text

    def auth_plain(self, login, password):
        """The reply to AUTH PLAIN, as (code, text)."""
        secret = base64.b64encode(f"\0{login}\0{password}".encode()).decode()
        code, text = self.docmd("AUTH", f"PLAIN {secret}")
        return code, text.decode(errors="replace")


class Reply:
    """How a submission ended: the code and text of the reply that decided it, and the queue id when it was accepted."""

    def __init__(self, code, text, step):
        self.code, self.text, self.step = code, text.decode(errors="replace") if isinstance(text, bytes) else text, step
        words = self.text.split()
        self.queue_id = words[-1] if code == 250 and "queued as" in self.text else None

    @property
    def accepted(self):
        return self.code == 250

    def __repr__(self):
        return f"{self.code} {self.text} (at {self.step})"


def submit(node, login, sender, recipients, message, port=587, source=None):
    """Submits one message as LOGIN, which has .name and .password. MESSAGE is bytes, or an EmailMessage. The reply is
    that to the message when it came so far, else the first refusal."""
    recipients = [recipients] if isinstance(recipients, str) else recipients
    content = message if isinstance(message, bytes) else message.as_bytes(policy=email.policy.SMTP)
    try:
        with Client(node, port, source=source) as client:
            return _transaction(client, login, sender, recipients, content)
    except smtplib.SMTPResponseException as refused:
        return Reply(refused.smtp_code, refused.smtp_error, "the greeting or STARTTLS")


def _transaction(client, login, sender, recipients, content):
    code, text = client.auth_plain(login.name, login.password)
    if code != 235:
        return Reply(code, text, "AUTH")
    code, text = client.mail(sender)
    if code != 250:
        return Reply(code, text, "MAIL FROM")
    replies = [client.rcpt(recipient) for recipient in recipients]
    if not any(code == 250 for code, _ in replies):
        return Reply(*replies[0], "RCPT TO")
    try:
        return Reply(*client.data(content), "end of DATA")
    except smtplib.SMTPDataError as refused:
        return Reply(refused.smtp_code, refused.smtp_error, "DATA")


def compose(sender, recipients, subject, message_id=None, **headers):
    """A plain message; MESSAGE_ID without brackets."""
    message = email.message.EmailMessage()
    message["From"], message["To"], message["Subject"] = sender, recipients, subject
    message["Date"] = email.utils.localtime()
    message["Message-ID"] = f"<{message_id}>" if message_id else email.utils.make_msgid(domain="app.test")
    for name, value in headers.items():
        message[name.replace("_", "-")] = value
    message.set_content(f"{subject}.\n\nSent by an application through the relay.\n")
    return message
