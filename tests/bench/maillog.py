"""A big Postfix log: whole messages from the connection to "removed", many of them under way at the same time, with some
bounces and deferrals, as rsyslog's traditional format writes them. A few of the customers send most of the mail, a few domains
get it. The same numbers give the same log."""

import random

START = 1795190400  # 2026-11-20T16:00:00Z
MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()
CUSTOMERS, USERS, DOMAINS = 1000, 50, 5000
BOUNCES, DEFERRALS = 0.02, 0.06  # shares; with more bounces a relay is soon blocked
TEXTS = (
    ("sent", "2.0.0", "250 2.0.0 OK  {n} d2e1a72fcca58-1 - gsmtp"),
    ("sent", "2.0.0", "250 2.0.0 Ok: queued as {n:X}AF"),
    ("sent", "2.6.0", "250 2.6.0 <{n}@c.example> [InternalId={n}, Hostname=MX.example] Queued mail for delivery"),
)
BOUNCE = ("bounced", "5.1.1", "host {mx} said: 550 5.1.1 <{to}>: Recipient address rejected: User unknown in virtual mailbox table "
          "(in reply to RCPT TO command)")
DEFERRAL = ("deferred", "4.4.1", "connect to {mx}:25: Connection timed out")


def message(n, rng, stamp, host="relay"):
    """The lines of message N, without line ends."""
    customer, domain, pid = int(CUSTOMERS * rng.random() ** 4), int(DOMAINS * rng.random() ** 4), 1000 + rng.randrange(60)
    queue_id, kind = f"{0xA000000000 + n * 7919:X}", rng.random()
    client, to = f"unknown[192.0.2.{customer % 250}]", f"r{n % 100000}@d{domain}.example"
    mx = f"mx.d{domain}.example[198.51.100.{domain % 250}]"
    status, dsn, text = BOUNCE if kind < BOUNCES else TEXTS[n % len(TEXTS)]
    deferrals = [DEFERRAL] if BOUNCES <= kind < BOUNCES + DEFERRALS else []

    def line(daemon, number, said):
        return f"{stamp} {host} postfix/{daemon}[{number}]: {said}"

    def attempt(status, dsn, text, delay):
        return line("smtp", pid, f"{queue_id}: to=<{to}>, relay={mx + ':25' if status != 'deferred' else 'none'}, delay={delay:.2f}, "
                    f"delays=0.02/0.01/{delay / 2:.2f}/{delay / 3:.2f}, dsn={dsn}, status={status} ({text.format(n=n, to=to, mx=mx)})")

    active = line("qmgr", 207, f"{queue_id}: from=<user{n % USERS}@c{customer}.example>, size={2000 + n % 9000}, nrcpt=1 (queue active)")
    lines = [line("smtps/smtpd", pid, f"connect from {client}"),
             line("smtps/smtpd", pid, f"{queue_id}: client={client}, sasl_method=PLAIN, sasl_username=user{n % USERS}@c{customer}.example"),
             line("cleanup", pid + 100, f"{queue_id}: message-id=<{n}.{customer}@c{customer}.example>"),
             active,
             line("smtps/smtpd", pid, f"disconnect from {client} ehlo=2 starttls=1 auth=1 mail=1 rcpt=1 data=1 quit=1 commands=8")]
    for deferral in deferrals:
        lines += [attempt(*deferral, 30 + kind), active]
    lines += [attempt(status, dsn, text, 3 * kind), line("qmgr", 207, f"{queue_id}: removed")]
    return lines


def stamp_of(seconds):
    """Of the traditional format, in UTC."""
    day, rest = divmod(seconds, 86400)
    return f"Nov {20 + day - START // 86400:2d} {rest // 3600:02d}:{rest // 60 % 60:02d}:{rest % 60:02d}"


def write(path, messages, under_way=50, first=0):
    """Writes a log of that many messages, UNDER_WAY of them at a time; returns how many lines it has."""
    rng, open_ones, count = random.Random(messages), [], 0
    with open(path, "w", encoding="ascii") as out:
        for n in range(first, first + messages + under_way):
            if n < first + messages:
                open_ones.append(message(n, rng, stamp_of(START + n // 1000)))
            while len(open_ones) >= under_way or (n >= first + messages and open_ones):
                lines = open_ones.pop(rng.randrange(len(open_ones)))
                out.write("\n".join(lines) + "\n")
                count += len(lines)
    return count
