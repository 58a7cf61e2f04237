#ifndef COMMON_COUNTERS_SYNC_H
#define COMMON_COUNTERS_SYNC_H

/* Redis for threads that may wait, but never longer than the time-out: a pool of blocking connections, at most one per
 * caller at work. Thread-safe. After COUNTERS_BREAKER_ERRORS errors in a row the breaker opens: calls return
 * UNAVAILABLE at once, and once a second one call tries again. */

#include "common/counters.h"

struct counters;

/* Never fails: Redis may come later. OPTIONS is copied. */
struct counters *counters_new(const struct counters_options *options);
/* No call may be under way. */
void counters_free(struct counters **counters);

/* Charges all items or none, in one Lua call. *RESULT is always filled. */
void counters_charge(struct counters *counters, const struct counters_request *request, struct counters_result *result);
/* Gives back what was charged under (customer, node, queue id), by this daemon or another, and forgets the receipt.
 * WAITED_MS of the time-out were spent on the charge before it: both together wait no longer. 0, or -1 when Redis is away:
 * the charge then stands until its window has passed. */
int counters_refund(struct counters *counters, struct text customer, struct text node, struct text queue_id,
		    int64_t waited_ms);
/* COUNT more bounces of unknown mailboxes for a login: facts of the takeover guard (takeover.h). 0, or -1 when they are
 * lost, since Redis is away. */
int counters_bounces(struct counters *counters, struct text customer, struct text login, int64_t count);
/* Is Redis answering, as far as the last call knows? For /metrics and log lines "once". */
bool counters_healthy(struct counters *counters);

#endif
