#ifndef COMMON_LIMIT_WARNING_H
#define COMMON_LIMIT_WARNING_H

/* Limits that come close to their end: at 80, 95 and 100 %, once a window, whoever charges them. A core. */

#include "common/reminders.h"
#include "common/spool_line.h"

/* A speed goes up and down: its warning comes once an hour. */
#define LIMIT_WARNING_REST_S 3600

/* The share of a limit, in percent, that was crossed by charging COST: 80, 95 or 100 (the highest), 0 for none. */
int limit_warning_threshold(const struct limit_usage *before, int64_t cost);
/* The same of limit I of a result, ITEM of its request; *AFTER is its usage then. 100 also when it refused or held a message
 * that is too much for what is left: charges that never fit cross no threshold. */
int limit_warning_of(const struct counters_item *item, const struct counters_result *result, size_t i,
		     struct limit_usage *after);
/* Is the warning of THRESHOLD for ITEM due? Takes note of it. */
bool limit_warning_due(struct reminders *reminders, const struct counters_item *item, int threshold, int64_t now_s);
/* Appends the spool's line, "limit.warning": HEAD without its type. */
void limit_warning_add(const struct spool_line *head, const struct counters_item *item, const struct limit_usage *after,
		       int threshold, struct buffer *out);

#endif
