#ifndef BOUNCER_ENVELOPE_H
#define BOUNCER_ENVELOPE_H

/* What goes around an event's JSON: signatures, inside the body or in header fields, as the endpoint's format has them.
 * Every format carries the three fields of Standard Webhooks 1.0 besides its own. */

#include "bouncer/delivery.h"

/* Appends the body for ENDPOINT to OUT. It stays the same between attempts, but for an
 * address that was erased, and in FORMAT_MAILGUN for a secret whose rotation has ended. */
void envelope_body(const struct endpoint *endpoint, const struct event_row *row, struct buffer *out);

#define ENVELOPE_HEADERS_MAX 7
struct envelope {
	struct buffer lines[ENVELOPE_HEADERS_MAX]; /* "name: value" */
	size_t count;
};

/* The header fields of an attempt made at NOW (seconds since 1970), into *OUT. */
void envelope_headers(const struct delivery *delivery, int64_t now, struct envelope *out);
void envelope_free(struct envelope *envelope);

#endif
