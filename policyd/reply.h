#ifndef POLICYD_REPLY_H
#define POLICYD_REPLY_H

/* What Postfix and the client are told: the table of reasons, each with its reply code, its words and one fix. A core. */

#include "common/text.h"

enum reply_reason {
	REPLY_ALLOWED,
	REPLY_REPEATED,        /* charged before, allowed again */
	REPLY_SHADOW,          /* allowed, though a shadow limit is used up */
	REPLY_UNCOUNTED,       /* allowed while nothing counts, by [redis] unavailable = accept */
	REPLY_TAKEOVER_SHADOW, /* allowed, though the login seems to be taken over: it is new */
	REPLY_TAKEOVER_ALERT,  /* the same: its customer wants to be told, no more */
	REPLY_NO_TLS,
	REPLY_NO_LOGIN,
	REPLY_LOGIN_UNKNOWN,
	REPLY_LOGIN_DISABLED,
	REPLY_LOGIN_SUSPENDED, /* by the takeover guard, as the directory knows */
	REPLY_LOGIN_EXPIRED,
	REPLY_NETWORK,
	REPLY_CUSTOMER_SUSPENDED,
	REPLY_SENDER_NULL,
	REPLY_SENDER_MALFORMED,
	REPLY_SENDER_DENIED,
	REPLY_SENDER_NOT_OWNED,
	REPLY_RECIPIENT_SUPPRESSED,
	REPLY_DOMAIN_DEAD,           /* the recipient's domain takes no mail, whosesoever */
	REPLY_RECIPIENT_NOT_ALLOWED, /* not among the login's destinations */
	REPLY_RECIPIENTS_MANY,       /* the message has as many as the customer's may have */
	REPLY_LIMIT_DEFERRED,
	REPLY_LIMIT_REJECTED,
	REPLY_LIMIT_LATE,       /* a quota that is renewed later than a client tries again */
	REPLY_LIMIT_SIZE,       /* more bytes than the limit ever lets pass at once */
	REPLY_LIMIT_RECIPIENTS, /* the same of recipients */
	REPLY_LIMIT_HELD,
	REPLY_TAKEOVER_HELD,
	REPLY_TAKEOVER_SUSPENDED, /* just now, or before and the directory has not heard of it */
	REPLY_COUNTERS_AWAY,
	REPLY_MAX
};

enum reply_kind { REPLY_ACCEPT, REPLY_DEFER, REPLY_REJECT, REPLY_HOLD, REPLY_KIND_MAX };
/* "accept", "defer", "reject", "hold": the action= of a log line. */
extern const char *const reply_kind_names[REPLY_KIND_MAX];

/* What the words in braces of the table stand for. */
struct reply_words {
	struct text sender, recipient, login, customer, client;
	struct text detail; /* the reason of a suspension, a suppression, a malformed address */
	struct text limit;  /* "acme-hour 100/h" */
	int64_t used, allowed, retry_after_s;
	struct text id; /* of this refusal, for "waybill explain"; may be empty */
};

/* The stable name of a reason, for replies, logs and events: "sender-not-owned". */
const char *reply_id(enum reply_reason reason);
/* All of them, NULL-terminated: the values of a metric's label. */
extern const char *const reply_ids[REPLY_MAX + 1];
enum reply_kind reply_kind(enum reply_reason reason);

/* Appends Postfix's answer, "action=553 5.7.1 <a@b>: …\n\n"; what strangers wrote is cut and stripped of controls. */
void reply_add(enum reply_reason reason, const struct reply_words *words, struct buffer *out);

#endif
