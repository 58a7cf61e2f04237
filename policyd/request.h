#ifndef POLICYD_REQUEST_H
#define POLICYD_REQUEST_H

/* A request of the Postfix policy delegation protocol (SMTPD_POLICY_README): lines "name=value", ended by an empty line.
 * Order is free, unknown names are ignored, the first of several equal names wins. A core: bytes in, views out. */

#include "common/text.h"

#define REQUEST_MAX_BYTES      65536
#define REQUEST_MAX_ATTRIBUTES 256

/* The attributes that matter to a decision. */
enum request_attribute {
	REQUEST_REQUEST, /* "smtpd_access_policy" */
	REQUEST_STATE,   /* protocol_state */
	REQUEST_QUEUE_ID,
	REQUEST_INSTANCE,
	REQUEST_SENDER,
	REQUEST_RECIPIENT,
	REQUEST_RECIPIENT_COUNT,
	REQUEST_SIZE,
	REQUEST_CLIENT_ADDRESS,
	REQUEST_LOGIN,      /* sasl_username */
	REQUEST_ENCRYPTION, /* encryption_protocol: empty without TLS */
	REQUEST_CONTEXT,    /* policy_context: which of master.cf's services asks */
	REQUEST_ATTRIBUTE_MAX
};

enum request_state {
	REQUEST_AT_OTHER,
	REQUEST_AT_MAIL,
	REQUEST_AT_RCPT,
	REQUEST_AT_DATA,
	REQUEST_AT_END,
	REQUEST_AT_MAX
};

struct request {
	struct text values[REQUEST_ATTRIBUTE_MAX]; /* empty when absent */
	enum request_state state;
};

/* How far an empty line has been looked for, while a request's bytes still arrive. Start from {0} for each request. */
struct request_scan {
	size_t seen; /* bytes looked at */
};

/* Takes the first request in BYTES apart: NULL, *LEN, its bytes with the empty line, and *OUT, views into BYTES; or NULL
 * and a *LEN of 0 as long as it is not whole; or why the connection must be closed without a reply. BYTES may only have
 * grown since the last call with SCAN. */
const char *request_take(struct request_scan *scan, struct text bytes, size_t *len, struct request *out);

/* A number among the values; 0 when absent or none. */
int64_t request_number(const struct request *request, enum request_attribute attribute);

#endif
