"""What a bounce mail says about each recipient: status, reply code, stage and diagnostic text.

A reader for the score alone (waybill-report reads bounces with GMime): it takes the fields of RFC 3464 wherever they stand
in the mail, and else the lines of the human-readable part that look like a server's reply."""

import email
import email.policy
import re
from dataclasses import dataclass

FIELD = re.compile(r"^(final-recipient|original-recipient|action|status|diagnostic-code|remote-mta|x-[a-z-]+)\s*:\s*(.*)$", re.I)
STATUS = re.compile(r"(?<![\d.])([245]\.\d{1,3}\.\d{1,3})(?![\d.])")
REPLY = re.compile(r"(?<![\d.-])([45]\d\d)(?=[ -](?!\d\d?:\d\d))")
# Postfix, sendmail, Exim, DragonFly and others name the command that was answered.
STAGES = (
    re.compile(r"in reply to (end of DATA|\w+(?: (?:TO|FROM))?) command", re.I),
    re.compile(r"did not like our (?:final )?(RCPT TO|MAIL FROM|DATA)", re.I),
    re.compile(r"after (?:sending )?(RCPT TO|MAIL FROM|end of data|DATA)\b", re.I),
    re.compile(r"Error following (RCPT|MAIL|DATA) command", re.I),
    re.compile(r"for (RCPT TO|MAIL FROM|DATA) command", re.I),
    re.compile(r">>> (RCPT TO|MAIL FROM|DATA|EHLO|HELO|STARTTLS)[^<>]*(?:<[^<>]*>)?[^<>]*<<< [45]", re.I),
)
STAGE_NAMES = {"RCPT": "RCPT TO", "MAIL": "MAIL FROM", "END OF DATA": "end of DATA"}
ORIGINAL = re.compile(r"^(-{2,}.*(original message|original mail|message follows|copy of|unsent message|returned message|forwarded).*|original (mail|message).* follows.*|received: .*|"
                      r"return-path: .*|message-id: .*)$", re.I)


@dataclass
class Recipient:
    address: str = ""
    status: str = ""
    diagnostic: str = ""
    relay: str = ""
    action: str = ""
    notice: str = ""

    @property
    def code(self):
        found = REPLY.search(self.diagnostic)
        return int(found[1]) if found else 0

    @property
    def stage(self):
        for words in (self.diagnostic, self.notice):
            for pattern in STAGES:
                found = pattern.search(words)
                if found:
                    return STAGE_NAMES.get(found[1].upper(), found[1].upper())
        return ""


def texts(mail):
    """The texts of the parts that the bouncing server wrote: not the returned message."""
    for part in mail.walk():
        kind = part.get_content_type()
        if kind == "message/delivery-status" or kind == "message/feedback-report":
            yield kind, "\n\n".join(str(p) for p in part.get_payload()) if part.is_multipart() else str(part.get_payload())
        elif part.get_content_maintype() == "text" and kind != "text/rfc822-headers":
            yield kind, decoded(part)


def decoded(part):
    raw = part.get_payload(decode=True) or b""
    for charset in (part.get_content_charset(), "utf-8", "latin-1"):
        try:
            return raw.decode(charset or "utf-8")
        except (LookupError, UnicodeDecodeError):
            continue
    return raw.decode("latin-1")


def own_parts(raw):
    """The mail without what it returns: message/rfc822 parts are dropped."""
    mail = email.message_from_bytes(raw, policy=email.policy.compat32)
    if mail.is_multipart():
        mail.set_payload([p for p in mail.get_payload() if p.get_content_type() not in ("message/rfc822", "text/rfc822-headers")])
    return mail


def unfold(text):
    return re.sub(r"\r?\n[ \t]+", " ", text.replace("\r\n", "\n"))


def by_fields(text):
    """The groups of fields of RFC 3464, of which each names a recipient."""
    found, now = [], None
    for line in unfold(text).split("\n"):
        field = FIELD.match(line.strip())
        if not field:
            if not line.strip() and now and now.address:
                now = None
            continue
        name, value = field[1].lower(), field[2].strip()
        if name == "final-recipient" or (name == "original-recipient" and not now):
            if not (now and now.address == "" and name == "final-recipient"):
                now = Recipient()
                found.append(now)
            now.address = value.split(";")[-1].strip(" <>")
        elif now is None:
            continue
        elif name == "action":
            now.action = value.lower()
        elif name == "status":
            status = STATUS.search(value)
            now.status = status[1] if status else now.status
        elif name == "remote-mta":
            now.relay = (value.split(";")[-1].split() or [""])[0].rstrip(".")
        elif name == "diagnostic-code" and len(value) > len(now.diagnostic):
            now.diagnostic = re.sub(r"^(smtp|x-[\w-]+|unknown)\s*;\s*", "", value, flags=re.I)
    return [r for r in found if r.status or r.diagnostic]


def by_words(text):
    """One recipient, and the words of the notice."""
    kept = []
    for line in unfold(text).split("\n"):
        if ORIGINAL.match(line.strip()) and kept:
            break
        if line.strip():
            kept.append(line.strip())
    words = " ".join(kept)
    status, address = STATUS.search(words), re.search(r"<?([\w.+=-]+@[\w.-]+)>?", words)
    if not words:
        return []
    return [Recipient(address=address[1] if address else "", status=status[1] if status else "",
                      diagnostic=reply_within(words), notice=words[:4000])]


def reply_within(words):
    """From the first reply code to the next other one: what one server said. All of it when there is none."""
    first = REPLY.search(words)
    if not first:
        return words[:4000]
    said = words[first.start():]
    for other in REPLY.finditer(said):
        if other[1] != first[1] and said[other.start() - 1].isspace():
            return said[:other.start()]
    return said[:1000]


POOR = re.compile(r"^[\s\d.;:-]*$")


def recipients(raw):
    """The recipients that the mail RAW (bytes) speaks of."""
    mail = own_parts(raw)
    parts = list(texts(mail))
    words = "\n".join(t for kind, t in parts if kind == "text/plain") or \
        "\n".join(re.sub(r"<[^@>]*>", " ", t) for kind, t in parts if kind == "text/html")
    found = [r for _, text in parts for r in by_fields(text)]
    unique = {}
    for r in found:
        known = unique.setdefault(r.address.lower(), r)
        if len(r.diagnostic) > len(known.diagnostic):
            unique[r.address.lower()] = r
    found = list(unique.values())
    notice = by_words(words)
    for r in found:
        r.notice = notice[0].notice if notice and len(found) == 1 else ""
        # A status alone: the notice has the words.
        if notice and POOR.match(r.diagnostic):
            r.diagnostic = notice[0].diagnostic
    return found or notice
