#ifndef COMMON_SPOOL_LINE_H
#define COMMON_SPOOL_LINE_H

/* The form of the event spool's lines, which policyd and the milter write and the bouncer reads: one JSON object
 * (RFC 8259) a line. A core. */

#include "common/counters.h"
#include "common/json.h"

/* What every line begins with. */
struct spool_line {
	const char *type; /* "policy.refused", "limit.warning", "credential.suspended", "message.annotated", … */
	int64_t now_s;    /* seconds since 1970 */
	struct text node, customer, login, queue_id;
};

/* Opens the object with type, time, host, customer, login and queue_id; the caller adds its own and closes it. */
void spool_line_begin(const struct spool_line *line, struct json *json);
/* "KEY": a string; a text that is nothing is "". */
void spool_line_text(struct json *json, const char *key, struct text value);
/* "limits": for each of COUNT charged or refused limits, what was agreed, asked and used. */
void spool_line_limits(struct json *json, const struct counters_item *items, const struct limit_usage *usage,
		       size_t count);

#endif
