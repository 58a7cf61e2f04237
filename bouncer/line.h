#ifndef BOUNCER_LINE_H
#define BOUNCER_LINE_H

/* One line of Postfix's log, taken apart by hand. A core: no regular expression, no copy, no clock.
 *
 * Envelopes: RFC 3164 ("Sep  4 01:24:11 mx postfix/smtpd[5]: …", also zero-padded as maillog_file writes it, also behind
 * a "<22>"), ISO 8601 (rsyslog's default on Debian 12) and RFC 5424. Messages: those of Postfix 3.5 to 3.12.
 *
 * The log is hostile: remote hosts choose the text of replies, clients choose addresses and HELO names, local users write
 * to syslog. So fields are read from left to right in the order in which Postfix writes them, quoted local parts are
 * skipped as such, and what follows the status is one piece of text, whatever it looks like. */

#include "common/text.h"

/* Postfix cuts what it logs at this length, so a closing parenthesis may be missing (VSTRING of msg_syslog.c). */
#define LINE_POSTFIX_MAX 2000

enum record_kind {
	RECORD_OTHER,      /* not of interest: another program, or Postfix talking about something else */
	RECORD_CLIENT,     /* smtpd: a queue file opens. client_host, client_ip, login, orig_queue_id, orig_client */
	RECORD_PICKUP,     /* pickup: a queue file opens. sender, orig_queue_id when requeued */
	RECORD_MESSAGE_ID, /* cleanup: message_id */
	RECORD_ACTIVE,     /* qmgr: sender, size, nrcpt */
	RECORD_DELIVERY,   /* recipient, orig_recipient, relay, delays, dsn, status, reason, tls, conn_use */
	RECORD_EXPIRED,    /* qmgr: the message is returned to its sender, who is sender */
	RECORD_REMOVED,    /* qmgr: the queue file is gone, all recipients are done */
	RECORD_CANCELED,   /* cleanup: the transaction was given up; nothing was queued */
	RECORD_DELETED,    /* postsuper -d */
	RECORD_REQUEUED,   /* postsuper -r */
	RECORD_HELD, /* postsuper -h, or HOLD of an access table or milter; NOQUEUE: the process's next queue file */
	RECORD_RELEASED, /* postsuper -H */
	RECORD_REJECT,   /* smtpd, cleanup: verb, stage, client, code, dsn, reason, sender, recipient, helo, login */
	RECORD_NOTICE,   /* bounce: child is the queue id of a notification about this message */
	RECORD_TLS,      /* smtp: client_host, client_ip of the remote, tls its protocol; no queue id, joined by pid */
	RECORD_SERVER_TLS, /* smtpd: the same for a client */
	RECORD_CONNECT,    /* smtpd: client_host, client_ip */
	RECORD_REPEATED,   /* syslog: the line before, repeat times more */
	RECORD_LOST,       /* journald: messages were suppressed, repeat is how many */
	RECORD_KIND_MAX
};

enum record_status {
	STATUS_NONE,
	STATUS_SENT,
	STATUS_DEFERRED,
	STATUS_BOUNCED,
	STATUS_SOFTBOUNCE, /* soft_bounce=yes turned a bounce into a deferral */
	STATUS_PROBE,      /* deliverable, undeliverable, …: address verification, no mail */
	STATUS_MAX
};

#define RECORD_DELAYS 4 /* before qmgr, in qmgr, connection set-up, transmission */

struct record {
	enum record_kind kind;
	int64_t time_us; /* since 1970, UTC */
	struct text host;
	struct text instance; /* the tag's first component: "postfix" */
	struct text daemon;   /* its last one: "smtpd" */
	bool silent;          /* the daemon never tells what happened to a message */
	uint32_t pid;
	struct text queue_id; /* empty: none; NOQUEUE is a value */
	uint32_t repeat;      /* how many times more the record counts; REPEATED, LOST: see there */

	struct text sender, recipient, orig_recipient, login, message_id;
	struct text client_host, client_ip, helo;
	struct text orig_queue_id, child;
	uint64_t size, nrcpt;

	enum record_status status;
	struct text relay, dsn, tls;
	double delay, delays[RECORD_DELAYS]; /* seconds; negative: not given */
	struct text reason;                  /* DELIVERY: between the parentheses; REJECT: what the client was told */
	bool truncated;                      /* the closing parenthesis is missing */

	struct text verb, stage; /* REJECT: "reject", "milter-reject", …; "RCPT", "END-OF-MESSAGE", … */
	uint32_t code;           /* REJECT: SMTP reply code, 0 when none is logged */
};

/* How far a clock may be ahead: a later time is taken as this one, so that a wrong one cannot end what is open. */
#define LINE_AHEAD_US (24LL * 3600 * 1000000)

/* What a line cannot say by itself, and a cache of the last time stamp. Zero-initialise, then set now_us. */
struct line_clock {
	int64_t now_us; /* a time without a year is the latest one at most LINE_AHEAD_US after this */
	/* Seconds that the log's zone is ahead of UTC at a local time; NULL: the log is in UTC. */
	int64_t (*zone_s)(int64_t local_s);
	char stamp[16]; /* the last RFC 3164 stamp and its meaning */
	int64_t stamp_us, stamp_now_us;
};

/* Takes LINE (without its line end) apart. NULL: *OUT is filled, its texts are views into LINE. Else the line is one of
 * Postfix's own that is not understood, and the reason is a constant text; *OUT has kind OTHER and what the envelope
 * said. */
const char *line_parse(struct text line, struct line_clock *clock, struct record *out);

/* An address at the start of *REST behind its "<", up to the ">" that closes it: quoted strings may hold anything, a ">"
 * included. Moves *REST behind the ">". false when it is not closed. */
bool line_address(struct text *rest, struct text *out);

/* Is T a queue id, short or long? */
bool line_queue_id(struct text t);

/* Microseconds since 1970 when the queue file of a long queue id was made; 0 for a short one. */
int64_t line_queue_time(struct text queue_id);

#endif
