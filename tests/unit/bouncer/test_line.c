/* Each shape of line, and what is read from it: "kind field=value …", only what is there. */

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bouncer/line.h"

#define NOW_US (INT64_C(1795244400) * 1000000) /* 2026-11-21T07:00:00Z */

static const char *const kinds[RECORD_KIND_MAX] = {
	[RECORD_OTHER] = "other",           [RECORD_CLIENT] = "client",
	[RECORD_PICKUP] = "pickup",         [RECORD_MESSAGE_ID] = "message-id",
	[RECORD_ACTIVE] = "active",         [RECORD_DELIVERY] = "delivery",
	[RECORD_EXPIRED] = "expired",       [RECORD_REMOVED] = "removed",
	[RECORD_CANCELED] = "canceled",     [RECORD_DELETED] = "deleted",
	[RECORD_REQUEUED] = "requeued",     [RECORD_HELD] = "held",
	[RECORD_RELEASED] = "released",     [RECORD_REJECT] = "reject",
	[RECORD_NOTICE] = "notice",         [RECORD_TLS] = "tls",
	[RECORD_SERVER_TLS] = "server-tls", [RECORD_CONNECT] = "connect",
	[RECORD_REPEATED] = "repeated",     [RECORD_LOST] = "lost",
};

static const char *const statuses[STATUS_MAX] = {
	[STATUS_NONE] = "none",       [STATUS_SENT] = "sent",       [STATUS_DEFERRED] = "deferred",
	[STATUS_BOUNCED] = "bounced", [STATUS_SOFTBOUNCE] = "soft", [STATUS_PROBE] = "probe",
};

static void add(struct buffer *out, const char *key, struct text value)
{
	if (value.ptr)
		buffer_format(out, " %s=%.*s", key, TEXT_ARG(value));
}

static void render(const struct record *r, struct buffer *out)
{
	buffer_format(out, "%s", kinds[r->kind]);
	add(out, "id", r->queue_id.len ? r->queue_id : (struct text){0});
	add(out, "from", r->sender);
	add(out, "to", r->recipient);
	add(out, "orig_to", r->orig_recipient);
	add(out, "login", r->login);
	add(out, "message-id", r->message_id);
	add(out, "host", r->client_host);
	add(out, "ip", r->client_ip);
	add(out, "helo", r->helo);
	add(out, "orig_id", r->orig_queue_id);
	add(out, "child", r->child);
	if (r->size || r->nrcpt)
		buffer_format(out, " size=%" PRIu64 " nrcpt=%" PRIu64, r->size, r->nrcpt);
	if (r->status)
		buffer_format(out, " status=%s", statuses[r->status]);
	add(out, "relay", r->relay);
	add(out, "dsn", r->dsn);
	add(out, "tls", r->tls);
	if (r->delay >= 0)
		buffer_format(out, " delay=%g", r->delay);
	for (size_t i = 0; i < RECORD_DELAYS && r->delays[i] >= 0; i++)
		buffer_format(out, "%s%g", i ? "/" : " delays=", r->delays[i]);
	add(out, "verb", r->verb);
	add(out, "stage", r->stage);
	if (r->code)
		buffer_format(out, " code=%u", (unsigned)r->code);
	if (r->repeat)
		buffer_format(out, " repeat=%u", (unsigned)r->repeat);
	if (r->truncated)
		buffer_format(out, " truncated");
	add(out, "reason", r->reason);
}

static void check(const char *line, const char *expected)
{
	struct line_clock clock = {.now_us = NOW_US};
	struct record record;
	struct buffer got = {0};
	/* Behind the line stands nothing that may be read. */
	char *exact = memcpy(malloc(strlen(line) + 1), line, strlen(line));
	exact = realloc(exact, strlen(line) ? strlen(line) : 1);
	const char *why = line_parse(text_at(exact, strlen(line)), &clock, &record);
	if (why)
		buffer_format(&got, "? %s", why);
	else
		render(&record, &got);
	if (strcmp(buffer_string(&got), expected) != 0)
		fail_msg("%s\n      got: %s\n expected: %s", line, buffer_string(&got), expected);
	buffer_free(&got);
	free(exact);
}

struct row {
	const char *daemon, *message, *expected;
};

static void check_rows(const struct row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		char line[8192];
		snprintf(line, sizeof line, "Nov 21 01:02:03 mx1 %s[7]: %s", rows[i].daemon, rows[i].message);
		check(line, rows[i].expected);
	}
}
#define CHECK_ROWS(rows) check_rows(rows, sizeof(rows) / sizeof *(rows))

static void queue_life(void **state)
{
	(void)state;
	static const struct row rows[] = {
		{"postfix/submission/smtpd",
		 "BABABABABABA: client=unknown[192.0.2.7], sasl_method=PLAIN, sasl_username=acme-app",
		 "client id=BABABABABABA login=acme-app host=unknown ip=192.0.2.7"},
		{"postfix/smtpd", "4bXyZ12mN2VXxznjll: client=h.example[2001:db8::7]",
		 "client id=4bXyZ12mN2VXxznjll host=h.example ip=2001:db8::7"},
		{"postfix/smtpd", "BABABABABABA: client=unknown[unknown]", "client id=BABABABABABA host=unknown"},
		{"postfix/smtpd",
		 "BABABABABABA: client=h[192.0.2.7]:4711, sasl_method=PLAIN, sasl_username=a, b, sasl_sender=x@y",
		 "client id=BABABABABABA login=a, b host=h ip=192.0.2.7"},
		{"postfix/smtpd",
		 "CACACACACACA: client=localhost[127.0.0.1], orig_queue_id=BABABABABABA, orig_client=h[192.0.2.7]",
		 "client id=CACACACACACA host=localhost ip=127.0.0.1 orig_id=BABABABABABA"},
		{"postfix/pickup", "ABCDEF0: uid=89 from=<a@b.example> orig_id=FEDCBA9",
		 "pickup id=ABCDEF0 from=a@b.example orig_id=FEDCBA9"},
		{"postfix/pickup", "D2FAE20586: uid=0 from=<fail2ban>", "pickup id=D2FAE20586 from=fail2ban"},
		{"postfix/cleanup", "BABABABABABA: message-id=<x@acme.example>",
		 "message-id id=BABABABABABA message-id=x@acme.example"},
		{"postfix/cleanup", "BABABABABABA: message-id=<>", "message-id id=BABABABABABA message-id="},
		{"postfix/cleanup",
		 "BABABABABABA: message-id==?UTF-8?B?PDE5?=", "message-id id=BABABABABABA message-id==?UTF-8?B?PDE5?="},
		{"postfix/cleanup", "BABABABABABA: message-id=<cut@off",
		 "message-id id=BABABABABABA message-id=cut@off truncated"},
		{"postfix/cleanup", "BABABABABABA: resent-message-id=<x@y>", "other id=BABABABABABA"},
		{"postfix/qmgr", "BABABABABABA: from=<a@b>, size=5360, nrcpt=12 (queue active)",
		 "active id=BABABABABABA from=a@b size=5360 nrcpt=12"},
		{"postfix/qmgr", "BABABABABABA: from=<>, size=5360, nrcpt=1 (queue active)",
		 "active id=BABABABABABA from= size=5360 nrcpt=1"},
		{"postfix/qmgr",
		 "BABABABABABA: from=<\"name > with, spaces\"@b.example>, size=1, nrcpt=1 (queue active)",
		 "active id=BABABABABABA from=\"name > with, spaces\"@b.example size=1 nrcpt=1"},
		{"postfix/qmgr", "BABABABABABA: from=<a@b>, status=expired, returned to sender",
		 "expired id=BABABABABABA from=a@b"},
		{"postfix/qmgr", "BABABABABABA: from=<a@b>, status=force-expired, returned to sender",
		 "expired id=BABABABABABA from=a@b"},
		{"postfix/qmgr", "BABABABABABA: removed", "removed id=BABABABABABA"},
		{"postfix/postsuper", "BABABABABABA: removed", "deleted id=BABABABABABA"},
		{"postfix/cleanup", "BABABABABABA: removed (canceled)", "canceled id=BABABABABABA"},
		{"postfix/postsuper", "BABABABABABA: requeued", "requeued id=BABABABABABA"},
		{"postfix/postsuper", "BABABABABABA: placed on hold", "held id=BABABABABABA"},
		{"postfix/postsuper", "BABABABABABA: released from hold", "released id=BABABABABABA"},
		{"postfix/postsuper", "BABABABABABA: expired", "other id=BABABABABABA"},
		{"postfix/postsuper", "Deleted: 115 messages", "other"},
		{"postfix/bounce", "BABABABABABA: sender non-delivery notification: CACACACACACA",
		 "notice id=BABABABABABA child=CACACACACACA"},
		{"postfix/bounce", "BABABABABABA: postmaster non-delivery notification: CACACACACACA",
		 "notice id=BABABABABABA child=CACACACACACA"},
	};
	CHECK_ROWS(rows);
}

static void deliveries(void **state)
{
	(void)state;
	static const struct row rows[] = {
		{"postfix/smtp",
		 "4104E3D: to=<u@ex.net>, orig_to=<alias@acme>, relay=mx[1.2.3.4]:25, conn_use=3, delay=3.6, "
		 "delays=0.08/0.02/0.85/0.14, tls=dane:encrypt, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as "
		 "153053D)",
		 "delivery id=4104E3D to=u@ex.net orig_to=alias@acme status=sent relay=mx[1.2.3.4]:25 dsn=2.0.0 "
		 "tls=dane:encrypt "
		 "delay=3.6 delays=0.08/0.02/0.85/0.14 reason=250 2.0.0 Ok: queued as 153053D"},
		{"postfix/local",
		 "892A0205B6: to=ghd@localhost, orig_to=root@localhost, relay=local, delay=0.05, delays=0.02/0/0/0.02, "
		 "dsn=5.1.1, "
		 "status=bounced (unknown user: \"ghd\")",
		 "delivery id=892A0205B6 to=ghd@localhost orig_to=root@localhost status=bounced relay=local dsn=5.1.1 "
		 "delay=0.05 "
		 "delays=0.02/0/0/0.02 reason=unknown user: \"ghd\""},
		{"postfix/error",
		 "2DC5552A34: to=<u@ex.net>, relay=none, delay=63495, delays=63350/144/0/0, dsn=4.4.2, status=deferred "
		 "(delivery "
		 "temporarily suspended: connect to mx[1.2.3.4]:25: Connection refused)",
		 "delivery id=2DC5552A34 to=u@ex.net status=deferred relay=none dsn=4.4.2 delay=63495 "
		 "delays=63350/144/0/0 "
		 "reason=delivery temporarily suspended: connect to mx[1.2.3.4]:25: Connection refused"},
		{"postfix/smtp", "4104E3D: to=<u@ex.net>, relay=none, dsn=4.0.0, status=SOFTBOUNCE (no)",
		 "delivery id=4104E3D to=u@ex.net status=soft relay=none dsn=4.0.0 reason=no"},
		{"postfix/smtp",
		 "4104E3D: to=<u@ex.net>, relay=none, dsn=5.1.1, status=undeliverable-but-not-cached (no)",
		 "delivery id=4104E3D to=u@ex.net status=probe relay=none dsn=5.1.1 reason=no"},
		/* A key of a later version. */
		{"postfix/smtp", "4104E3D: to=<u@ex.net>, relay=none, new=thing, dsn=4.0.0, status=deferred (x)",
		 "delivery id=4104E3D to=u@ex.net status=deferred relay=none dsn=4.0.0 reason=x"},
		{"postfix/smtp", "4104E3D: to=<u@ex.net>, relay=none, dsn=5.0.0, status=bounced (cut in the mid",
		 "delivery id=4104E3D to=u@ex.net status=bounced relay=none dsn=5.0.0 truncated reason=cut in the mid"},
		{"postfix/smtp", "4104E3D: to=<u@ex.net>, relay=none, dsn=5.0.0, status=bounced",
		 "delivery id=4104E3D to=u@ex.net status=bounced relay=none dsn=5.0.0"},
		{"postfix/smtp", "4104E3D: to=<u@ex.net>, relay=none, dsn=5.0.0, status=eaten (x)",
		 "? unknown delivery status"},
		{"postfix/smtp", "4104E3D: to=<u@ex.net>, relay=none", "? delivery without status"},
		{"postfix/smtp", "4104E3D: to=<u@ex.net", "? delivery without recipient"},
		{"postfix/smtp", "4104E3D: host mx[1.2.3.4] said: 450 4.7.1 no (in reply to RCPT TO command)",
		 "other id=4104E3D"},
		{"postfix/smtp", "4104E3D: lost connection with mx[1.2.3.4] while sending RCPT TO", "other id=4104E3D"},
	};
	CHECK_ROWS(rows);
}

/* Text that remote hosts, clients and users choose, made to look like fields. */
static void hostile_text(void **state)
{
	(void)state;
	static const struct row rows[] = {
		{"postfix/smtp",
		 "4104E3D: to=<u@ex.net>, relay=mx[1.2.3.4]:25, dsn=5.0.0, status=bounced (host mx[1.2.3.4] said: 550 "
		 "to=<x@y>, relay=none, status=sent (250 ok))",
		 "delivery id=4104E3D to=u@ex.net status=bounced relay=mx[1.2.3.4]:25 dsn=5.0.0 reason=host "
		 "mx[1.2.3.4] said: 550 "
		 "to=<x@y>, relay=none, status=sent (250 ok)"},
		{"postfix/smtp",
		 "4104E3D: to=<\"x>, relay=none, status=sent (y\"@evil.example>, relay=none, dsn=5.1.1, status=bounced "
		 "(no)",
		 "delivery id=4104E3D to=\"x>, relay=none, status=sent (y\"@evil.example status=bounced relay=none "
		 "dsn=5.1.1 reason=no"},
		{"postfix/smtp",
		 "4104E3D: to=<\"a\\\"b>, status=sent (\"@evil.example>, relay=none, dsn=5.1.1, status=bounced (no)",
		 "delivery id=4104E3D to=\"a\\\"b>, status=sent (\"@evil.example status=bounced relay=none dsn=5.1.1 "
		 "reason=no"},
		{"postfix/smtp", "4104E3D: to=<odd\"quote@ex.net>, relay=none, dsn=5.1.1, status=bounced (no)",
		 "delivery id=4104E3D to=odd\"quote@ex.net status=bounced relay=none dsn=5.1.1 reason=no"},
		{"postfix/smtpd",
		 "NOQUEUE: reject: RCPT from h[192.0.2.7]: 550 5.1.1 <\"x; from=<v@v>\"@e.example>: Recipient address "
		 "rejected: no; "
		 "from=<s@x> to=<\"x; from=<v@v>\"@e.example> proto=ESMTP helo=<h> sasl_username=victim>",
		 "reject id=NOQUEUE from=s@x to=\"x; from=<v@v>\"@e.example host=h ip=192.0.2.7 helo=h> "
		 "sasl_username=victim dsn=5.1.1 "
		 "verb=reject stage=RCPT code=550 reason=<\"x; from=<v@v>\"@e.example>: Recipient address rejected: "
		 "no"},
		{"logger", "4104E3D: to=<u@ex.net>, relay=none, dsn=2.0.0, status=sent (250 ok)", "other"},
		{"waybill/policyd", "NOQUEUE: action=reject", "other"},
		{"postfix/nonsense", "4104E3D: removed", "other"},
	};
	CHECK_ROWS(rows);
}

static void refusals(void **state)
{
	(void)state;
	static const struct row rows[] = {
		{"postfix/smtpd",
		 "NOQUEUE: reject: RCPT from h.example[61.238.241.86]: 550 5.1.1 <r@x>: Recipient address rejected: "
		 "User unknown; "
		 "from=<s@x> to=<r@x> proto=ESMTP helo=<ecs> sasl_method=PLAIN sasl_username=acme-app",
		 "reject id=NOQUEUE from=s@x to=r@x login=acme-app host=h.example ip=61.238.241.86 helo=ecs dsn=5.1.1 "
		 "verb=reject "
		 "stage=RCPT code=550 reason=<r@x>: Recipient address rejected: User unknown"},
		{"postfix/smtpd",
		 "NOQUEUE: reject: MAIL from h[192.0.2.7]: 553 5.7.1 <s@x>: Sender address rejected: not owned; "
		 "from=<s@x> "
		 "proto=ESMTP helo=<h>",
		 "reject id=NOQUEUE from=s@x host=h ip=192.0.2.7 helo=h dsn=5.7.1 verb=reject stage=MAIL code=553 "
		 "reason=<s@x>: "
		 "Sender address rejected: not owned"},
		{"postfix/cleanup",
		 "4104E3D: milter-reject: END-OF-MESSAGE from h[192.0.2.7]: 4.7.1 Try again later; from=<> to=<u@x> "
		 "proto=ESMTP "
		 "helo=<h>",
		 "reject id=4104E3D from= to=u@x host=h ip=192.0.2.7 helo=h dsn=4.7.1 verb=milter-reject "
		 "stage=END-OF-MESSAGE "
		 "reason=Try again later"},
		{"postfix/cleanup",
		 "4104E3D: reject: header Subject: x from local; from=<a@b> to=<c@d>: 5.7.1 message content rejected",
		 "reject id=4104E3D from=a@b to=c@d dsn=5.7.1 verb=reject stage=end of DATA reason=message content "
		 "rejected"},
		{"postfix/smtpd",
		 "NOQUEUE: reject: CONNECT from h[192.0.2.7]: 554 5.7.1 <h[192.0.2.7]>: Client host rejected; "
		 "proto=SMTP",
		 "reject id=NOQUEUE host=h ip=192.0.2.7 dsn=5.7.1 verb=reject stage=CONNECT code=554 "
		 "reason=<h[192.0.2.7]>: Client "
		 "host rejected"},
		{"postfix/smtpd",
		 "4104E3D: hold: RCPT from h[192.0.2.7]: <h>: Client host triggers HOLD; from=<a@b> to=<c@d> "
		 "proto=SMTP",
		 "held id=4104E3D from=a@b to=c@d host=h ip=192.0.2.7 verb=hold stage=RCPT reason=<h>: Client host "
		 "triggers HOLD"},
		{"postfix/smtpd", "NOQUEUE: reject_warning: RCPT from h[192.0.2.7]: 550 no; from=<a@b>",
		 "other id=NOQUEUE"},
		{"postfix/smtpd", "NOQUEUE: devour: RCPT from h[192.0.2.7]: 550 no", "? unknown message about NOQUEUE"},
	};
	CHECK_ROWS(rows);
}

static void of_no_interest(void **state)
{
	(void)state;
	static const struct row rows[] = {
		{"postfix/smtpd", "connect from h[192.0.2.7]", "connect host=h ip=192.0.2.7"},
		{"postfix/smtpd", "disconnect from h[192.0.2.7] ehlo=2 quit=1 commands=3", "other"},
		{"postfix/smtpd", "warning: hostname x does not resolve to address 192.0.2.7", "other"},
		{"postfix/smtpd", "fatal: no SASL authentication mechanisms", "other"},
		{"postfix/anvil", "statistics: max connection rate 1/60s for (smtp:192.0.2.7)", "other"},
		{"postfix/master", "daemon started -- version 3.7.11", "other"},
		{"postfix/smtp",
		 "Untrusted TLS connection established to mx[1.2.3.4]:25: TLSv1.3 with cipher X (256/256 bits)",
		 "tls host=mx ip=1.2.3.4 tls=TLSv1.3"},
		{"postfix/smtpd",
		 "Anonymous TLS connection established from h[192.0.2.7]: TLSv1.3 with cipher X (256/256 bits)",
		 "server-tls host=h ip=192.0.2.7 tls=TLSv1.3"},
		{"postfix/smtp", "something quite new", "? unknown message without queue id"},
		{"postfix/smtp", "4104E3D: something quite new", "? unknown message about a queue id"},
		{"sshd", "Accepted publickey", "other"},
	};
	CHECK_ROWS(rows);
}

static void lines_about_lines(void **state)
{
	(void)state;
	check("Nov 21 01:02:03 mx1 last message repeated 3 times", "repeated repeat=3");
	check("Nov 21 01:02:03 mx1 postfix/qmgr[1]: message repeated 2 times: [ 4104E3D: removed]",
	      "removed id=4104E3D repeat=1");
	check("Nov 21 01:02:03 mx1 systemd-journald[9]: Suppressed 7124 messages from postfix@-.service",
	      "lost repeat=7124");
	check("Nov 21 01:02:03 mx1 systemd-journald[9]: Suppressed 7124 messages from cron.service",
	      "other repeat=7124");
	check("", "other");
	check("Nov 21 01:02:03", "other");
	check("Nov 21 01:02:03 ", "other");
	check("Nov 21 01:02:03 mx1", "other");
	check("Nov 21 01:02:03 mx1 postfix/qmgr[1", "other");
	check("Nov 21 01:02:03 mx1 postfix/qmgr[1]: ", "? unknown message without queue id");
	check("Nov 21 01:02:03 mx1 postfix/qmgr[1]: 4104E3D: removed\r\n", "removed id=4104E3D");
}

/* Every envelope says the same. */
static void envelopes(void **state)
{
	(void)state;
	static const struct {
		const char *line;
		int64_t time_us;
	} rows[] = {
		{"Nov 21 01:02:03 mx1 postfix/a/qmgr[204]: 4104E3D: removed", INT64_C(1795222923000000)},
		{"Nov  4 01:02:03 mx1 postfix/a/qmgr[204]: 4104E3D: removed", INT64_C(1793754123000000)},
		{"Nov 04 01:02:03 mx1 postfix/a/qmgr[204]: 4104E3D: removed", INT64_C(1793754123000000)},
		{"<22>Nov 21 01:02:03 mx1 postfix/a/qmgr[204]: 4104E3D: removed", INT64_C(1795222923000000)},
		/* A day ahead is another machine's clock; more is last year. */
		{"Nov 22 01:02:03 mx1 postfix/a/qmgr[204]: 4104E3D: removed", INT64_C(1795309323000000)},
		{"Dec 31 23:59:59 mx1 postfix/a/qmgr[204]: 4104E3D: removed", INT64_C(1767225599000000)},
		{"2026-11-21T01:02:03.123456+00:00 mx1 postfix/a/qmgr[204]: 4104E3D: removed",
		 INT64_C(1795222923123456)},
		{"2026-11-21T01:02:03+01:00 mx1 postfix/a/qmgr[204]: 4104E3D: removed", INT64_C(1795219323000000)},
		{"2026-11-21T01:02:03.5-0530 mx1 postfix/a/qmgr[204]: 4104E3D: removed", INT64_C(1795242723500000)},
		{"<22>1 2026-11-21T01:02:03.4Z mx1 postfix/a/qmgr 204 - - 4104E3D: removed", INT64_C(1795222923400000)},
		{"<22>1 2026-11-21T01:02:03Z mx1 postfix/a/qmgr 204 - [x@1 k=\"]\\\" \"][y@1] \xef\xbb\xbf"
		 "4104E3D: removed",
		 INT64_C(1795222923000000)},
		/* A clock that is wrong by years. */
		{"2099-01-01T00:00:00Z mx1 postfix/a/qmgr[204]: 4104E3D: removed", NOW_US + LINE_AHEAD_US},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct line_clock clock = {.now_us = NOW_US};
		struct record r;
		assert_null(line_parse(text_of(rows[i].line), &clock, &r));
		if (r.kind != RECORD_REMOVED || r.time_us != rows[i].time_us)
			fail_msg("%s: kind %d, %" PRId64, rows[i].line, r.kind, r.time_us);
		assert_true(text_equal(r.host, TEXT("mx1")));
		assert_true(text_equal(r.instance, TEXT("postfix")));
		assert_true(text_equal(r.daemon, TEXT("qmgr")));
		assert_int_equal(r.pid, 204);
	}
}

/* Written by anybody, with logger(1): no line of Postfix. */
static void strange_envelopes(void **state)
{
	(void)state;
	char name[300];
	struct buffer line = {0};
	memset(name, 'x', sizeof name);
	buffer_format(&line, "Nov 21 01:02:03 mx1 %.*s/qmgr[204]: 4104E3D: removed", (int)sizeof name, name);
	const char *const rows[] = {
		"Nov 21 01:02:03 mx1 a\xff/qmgr[204]: 4104E3D: removed",
		"Nov 21 01:02:03 mx1 a\x01/qmgr[204]: 4104E3D: removed",
		"Nov 21 01:02:03 m\xc3\xa4 postfix/qmgr[204]: 4104E3D: removed",
		"<22>1 2026-11-21T01:02:03Z m\xff postfix/qmgr 204 - - 4104E3D: removed",
		"0000-01-01T00:00:00Z mx1 postfix/qmgr[204]: 4104E3D: removed",
		"1969-12-31T23:59:59Z mx1 postfix/qmgr[204]: 4104E3D: removed",
		buffer_string(&line),
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct line_clock clock = {.now_us = NOW_US};
		struct record r;
		assert_null(line_parse(text_of(rows[i]), &clock, &r));
		if (r.kind != RECORD_OTHER)
			fail_msg("%s: kind %d", rows[i], r.kind);
	}
	buffer_free(&line);
}

/* 2026-11-21 is in winter, so is the shift of an hour. */
static int64_t an_hour_ahead(int64_t local_s)
{
	(void)local_s;
	return 3600;
}

static void zones(void **state)
{
	(void)state;
	struct line_clock clock = {.now_us = NOW_US, .zone_s = an_hour_ahead};
	struct record r;
	assert_null(line_parse(TEXT("Nov 21 01:02:03 mx1 postfix/qmgr[1]: 4104E3D: removed"), &clock, &r));
	assert_true(r.time_us == INT64_C(1795219323000000));
	/* New Year's Eve, read a second later. */
	clock.now_us = INT64_C(1767225601000000);
	clock.zone_s = NULL;
	assert_null(line_parse(TEXT("Dec 31 23:59:59 mx1 postfix/qmgr[1]: 4104E3D: removed"), &clock, &r));
	assert_true(r.time_us == INT64_C(1767225599000000));
	assert_null(line_parse(TEXT("Jan  1 00:00:00 mx1 postfix/qmgr[1]: 4104E3D: removed"), &clock, &r));
	assert_true(r.time_us == INT64_C(1767225600000000));
}

static void queue_ids(void **state)
{
	(void)state;
	static const char *const good[] = {"BABABABABABA",       "4104E3D",         "153053D",
					   "4bXyZ12mN2VXxznjll", "48rT2v1hQrz1J0N", "ED06590130AA1C9D6D862"};
	static const char *const bad[] = {"",        "NOQUEUE",     "warning",           "fatal", "connect", "12345",
					  "4104e3d", "abcdefghijk", "4bXyZ-2mN2VXxznjll"};
	for (size_t i = 0; i < sizeof good / sizeof *good; i++)
		assert_true(line_queue_id(text_of(good[i])));
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_false(line_queue_id(text_of(bad[i])));
	assert_true(line_queue_time(TEXT("BABABABABABA")) == 0);
	/* 1 * 52 + 2 seconds, 3 microseconds. */
	assert_true(line_queue_time(TEXT("0000120003z1")) == INT64_C(54000003));
	/* A time that no clock of ours reaches is none. */
	assert_true(line_queue_time(TEXT("h0000014fWxYz0k4")) == 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(queue_life), cmocka_unit_test(deliveries),        cmocka_unit_test(hostile_text),
		cmocka_unit_test(refusals),   cmocka_unit_test(of_no_interest),    cmocka_unit_test(lines_about_lines),
		cmocka_unit_test(envelopes),  cmocka_unit_test(strange_envelopes), cmocka_unit_test(zones),
		cmocka_unit_test(queue_ids),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
