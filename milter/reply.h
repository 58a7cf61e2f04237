#ifndef MILTER_REPLY_H
#define MILTER_REPLY_H

/* What the client is told when its message is not accepted. Each refusal names the address, the login, the reason id and
 * one fix. A core: no I/O. */

#include "common/text.h"

enum reply_reason {
	REPLY_NONE, /* the message may go */
	REPLY_TROUBLE,
	REPLY_LOGIN_CHANGED,
	REPLY_LOGIN_UNKNOWN,
	REPLY_LOGIN_DISABLED,
	REPLY_LOGIN_SUSPENDED, /* by policyd's takeover guard */
	REPLY_LOGIN_EXPIRED,
	REPLY_CUSTOMER_SUSPENDED,
	REPLY_HEADER_TOO_LARGE,
	REPLY_FROM_MISSING,
	REPLY_FROM_SEVERAL,
	REPLY_FROM_MALFORMED,
	REPLY_FROM_NOT_OWNED,
	REPLY_FROM_FOREIGN,
	REPLY_SENDER_SEVERAL,
	REPLY_SENDER_MALFORMED,
	REPLY_SENDER_NOT_OWNED,
	REPLY_SENDER_FOREIGN,
	REPLY_ANNOTATION,
	REPLY_UNSAFE,
	REPLY_LIMIT_DEFERRED,
	REPLY_LIMIT_REJECTED,
	REPLY_LIMIT_NEVER,
	REPLY_TOO_MANY_DESTINATIONS,
	REPLY_NO_KEY,
	REPLY_SIGNING_FAILED,
	REPLY_MAX
};

/* What the texts may mention; whatever does not matter stays empty. */
struct reply_words {
	struct text address, login, domain;
	struct text detail; /* from_parse()'s reason, a status reason, … */
	struct text limit;  /* "acme-hour 100/h" */
	struct text id;     /* of this refusal, behind the text; empty: none */
	int64_t used, allowed;
	int64_t retry_after_s;
};

struct reply {
	char code[4];      /* "550" */
	char enhanced[12]; /* "5.7.1" */
	char text[480];    /* printable ASCII; RFC 5321 section 4.5.3.1.5 allows a line of 512 */
};

extern const char *const reply_ids[REPLY_MAX + 1]; /* NULL-terminated */
/* The stable name of a reason, for logs and events: "from-not-owned". */
const char *reply_id(enum reply_reason reason);
/* Is it a refusal for good (5xx), or for now (4xx)? */
bool reply_is_permanent(enum reply_reason reason);
/* Writes the reply to REASON, which is not REPLY_NONE. */
void reply_make(enum reply_reason reason, const struct reply_words *words, struct reply *out);

#endif
