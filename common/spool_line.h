#ifndef COMMON_SPOOL_LINE_H
#define COMMON_SPOOL_LINE_H

/* The form of the event spool's lines, which policyd and the milter write and the bouncer reads: one JSON object
 * (RFC 8259) a line. A core. */

#include "common/counters.h"
#include "common/text.h"

/* What every line begins with. */
struct spool_line {
	const char *type; /* "policy.refused", "limit.warning", "credential.suspended", "message.annotated" */
	int64_t now_s;    /* seconds since 1970 */
	struct text node, customer, login, queue_id;
};

/* Opens the object with type, time, host, customer, login and queue_id; the caller closes it. */
void spool_line_begin(const struct spool_line *line, struct buffer *out);
/* Append ,"NAME":VALUE. A byte of a text that is no UTF-8 becomes U+FFFD, control bytes are escaped. */
void spool_line_text(struct buffer *out, const char *name, struct text value);
void spool_line_number(struct buffer *out, const char *name, int64_t value);
/* Appends one charged or refused limit as an object of its own: what was agreed, asked and used. */
void spool_line_limit(struct buffer *out, const struct counters_item *item, const struct limit_usage *usage);

#endif
