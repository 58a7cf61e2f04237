#ifndef BOUNCER_RETRY_H
#define BOUNCER_RETRY_H

/* When a webhook is tried again. A core: the clock and the random number are the caller's.
 *
 * Standard Webhooks 1.0, "Deliverability and reliability": at least once, a ladder of tries that grows, 2xx is success,
 * anything else (redirects too: they are never followed) is failure, 410 asks to be left alone, 429 and 503 may name a
 * time. Ten tries over about 75 hours. */

#include <stdbool.h>
#include <stdint.h>

#define RETRY_TRIES 10

/* Retry-After is honoured up to a day. */
#define RETRY_AFTER_MAX_MS (24LL * 3600 * 1000)

/* A little of each wait is random, so that the deliveries of an outage do not come back at one moment. */
#define RETRY_JITTER_PERCENT 20

enum retry_outcome {
	RETRY_DELIVERED, /* done */
	RETRY_AGAIN,     /* wait_ms from now */
	RETRY_EXHAUSTED, /* that was the last try; kept for replay */
	RETRY_GONE, /* 410: the endpoint wants no more of anything; the delivery stays owed, should it be resumed */
	RETRY_OUTCOME_MAX
};

struct retry_verdict {
	enum retry_outcome outcome;
	int64_t wait_ms;  /* of RETRY_AGAIN, else 0 */
	int64_t pause_ms; /* the endpoint asked for (Retry-After), for all of its deliveries; 0 */
};

/* Judges try number TRY (from 1): STATUS is the answer's HTTP status, 0 when there was none; RETRY_AFTER_MS what its
 * Retry-After field asked for, 0 when there was none; RANDOM any 32 random bits. */
struct retry_verdict retry_decide(int try, int status, int64_t retry_after_ms, uint32_t random);

/* The wait before try number TRY (from 1: none) without jitter, in milliseconds. */
int64_t retry_wait_ms(int try);

#endif
