#include "bouncer/retry.h"

#include <stddef.h>

#define SECOND 1000LL
#define MINUTE (60 * SECOND)
#define HOUR   (60 * MINUTE)

/* The wait before each try; about the example schedule of Standard Webhooks 1.0, stretched to three days. */
static const int64_t ladder_ms[RETRY_TRIES] = {
	0, 5 * SECOND, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR,
};

#define HTTP_GONE                410 /* RFC 9110 section 15.5.11 */
#define HTTP_TOO_MANY_REQUESTS   429 /* RFC 6585 section 4 */
#define HTTP_SERVICE_UNAVAILABLE 503 /* RFC 9110 section 15.6.4 */

int64_t retry_wait_ms(int try)
{
	if (try < 1)
		return 0;
	return ladder_ms[try <= RETRY_TRIES ? try - 1 : RETRY_TRIES - 1];
}

static int64_t with_jitter(int64_t wait_ms, uint32_t random)
{
	int64_t most = wait_ms * RETRY_JITTER_PERCENT / 100;
	return wait_ms + (int64_t)((double)most * random / UINT32_MAX);
}

static int64_t asked_wait_ms(int status, int64_t retry_after_ms)
{
	if (status != HTTP_TOO_MANY_REQUESTS && status != HTTP_SERVICE_UNAVAILABLE)
		return 0;
	return retry_after_ms < RETRY_AFTER_MAX_MS ? retry_after_ms : RETRY_AFTER_MAX_MS;
}

struct retry_verdict retry_decide(int try, int status, int64_t retry_after_ms, uint32_t random)
{
	if (status >= 200 && status <= 299)
		return (struct retry_verdict){.outcome = RETRY_DELIVERED};
	if (status == HTTP_GONE)
		return (struct retry_verdict){.outcome = RETRY_GONE};

	int64_t asked_ms = asked_wait_ms(status, retry_after_ms);
	if (try >= RETRY_TRIES)
		return (struct retry_verdict){.outcome = RETRY_EXHAUSTED, .pause_ms = asked_ms};
	/* Never sooner than asked, and never sooner than the ladder: an endpoint that keeps answering "in a second"
	 * would else use up its ten tries within ten seconds. */
	int64_t wait_ms = with_jitter(retry_wait_ms(try + 1), random);
	if (asked_ms > wait_ms)
		wait_ms = asked_ms;
	return (struct retry_verdict){.outcome = RETRY_AGAIN, .wait_ms = wait_ms, .pause_ms = asked_ms};
}
