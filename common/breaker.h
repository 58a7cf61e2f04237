#ifndef COMMON_BREAKER_H
#define COMMON_BREAKER_H

/* A circuit breaker: after BREAKER_ERRORS errors in a row it opens, and what it guards is asked only once in
 * BREAKER_PROBE_MS until it answers again. A core: the clock is an argument, in milliseconds of any monotonic clock.
 * Zero-initialised it is closed. */

#include <stdbool.h>
#include <stdint.h>

#define BREAKER_ERRORS   3
#define BREAKER_PROBE_MS 1000

struct breaker {
	int errors;          /* in a row, up to BREAKER_ERRORS */
	int64_t probe_at_ms; /* when open: not before */
};

bool breaker_is_open(const struct breaker *breaker);
/* May the guarded thing be asked now? When open, a true answer is the one probe of this period. */
bool breaker_allows(struct breaker *breaker, int64_t now_ms);
/* Takes note of an error or an answer; true when that opened or closed the breaker: the moment for the one log line. */
bool breaker_failed(struct breaker *breaker, int64_t now_ms);
bool breaker_answered(struct breaker *breaker);

#endif
