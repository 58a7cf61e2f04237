#ifndef COMMON_COUNTERS_ASYNC_H
#define COMMON_COUNTERS_ASYNC_H

/* Redis for a libevent loop: one connection, the requests of a loop round in few pipelines, each with its own time-out.
 * Not thread-safe: used from the loop's thread. */

#include "common/counters.h"

struct counters_async;
struct event_base;

/* Called exactly once for each request, from the loop, also with UNAVAILABLE. */
typedef void counters_done(void *context, const struct counters_result *result);

/* Never fails: Redis may come later; it is asked for again each second. OPTIONS is copied. */
struct counters_async *counters_async_new(struct event_base *base, const struct counters_options *options);
/* Pending requests end as UNAVAILABLE first. */
void counters_async_free(struct counters_async **counters);

/* Asks REQUEST, which must stay until DONE is called: perhaps before this returns, with the breaker open. When Redis is
 * away and the options name a local store, the answer is that store's. */
void counters_async_charge(struct counters_async *counters, const struct counters_request *request, counters_done *done,
			   void *context);

/* Writes what has been asked: at the end of a round of the loop, which would write it one round later. */
void counters_async_flush(struct counters_async *counters);

/* The takeover guard suspends a login, whose facts count from SINCE on: all that share this Redis are told, until the
 * directory says it. Waits for nothing; while Redis is away nobody is told. */
void counters_async_suspend(struct counters_async *counters, struct text customer, struct text login, int64_t since);

/* Gives back what the message was charged (counters_sync.h). Waits for nothing; while Redis is away it stays charged. */
void counters_async_refund(struct counters_async *counters, struct text customer, struct text node,
			   struct text queue_id);

#endif
