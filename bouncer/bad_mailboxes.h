#ifndef BOUNCER_BAD_MAILBOXES_H
#define BOUNCER_BAD_MAILBOXES_H

/* Bounces of mailboxes that do not exist, counted in Redis for the takeover guard (common/takeover.h). It is told once
 * they stand in Postgres; some that are never told are an error of the guard's, a bounded one, and nobody waits for Redis
 * longer than three time-outs in a row. */

#include "common/counters.h"
#include "common/metrics.h"

#include "bouncer/event.h"

struct bad_mailboxes;

/* CONNINFO is of the database that knows the logins; both are copied. Nothing is connected yet. */
struct bad_mailboxes *bad_mailboxes_new(const char *conninfo, const struct counters_options *redis);
void bad_mailboxes_free(struct bad_mailboxes **bad);

/* Takes note of an event, if it is such a bounce and no older than two hours at NOW_US. */
void bad_mailboxes_note(struct bad_mailboxes *bad, const struct event *event, int64_t now_us);
/* What was noted so far is to be told. */
void bad_mailboxes_seal(struct bad_mailboxes *bad);
/* Tells Redis of that, and forgets it: those of logins that exist, of messages that the guard has not
 * forgotten. Counts in METRICS (follow_stats.h). */
void bad_mailboxes_tell(struct bad_mailboxes *bad, struct metrics *metrics);

#endif
