#include "common/breaker.h"

bool breaker_is_open(const struct breaker *breaker)
{
	return breaker->errors >= BREAKER_ERRORS;
}

bool breaker_allows(struct breaker *breaker, int64_t now_ms)
{
	if (!breaker_is_open(breaker))
		return true;
	if (now_ms < breaker->probe_at_ms)
		return false;
	breaker->probe_at_ms = now_ms + BREAKER_PROBE_MS;
	return true;
}

bool breaker_failed(struct breaker *breaker, int64_t now_ms)
{
	if (breaker_is_open(breaker))
		return false;
	breaker->errors++;
	breaker->probe_at_ms = now_ms + BREAKER_PROBE_MS;
	return breaker_is_open(breaker);
}

bool breaker_answered(struct breaker *breaker)
{
	bool was_open = breaker_is_open(breaker);
	breaker->errors = 0;
	return was_open;
}
