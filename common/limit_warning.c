#include "common/limit_warning.h"

static const int thresholds[] = {100, 95, 80};

int limit_warning_threshold(const struct limit_usage *before, int64_t cost)
{
	if (before->allowed_units <= 0)
		return 0;
	for (size_t i = 0; i < sizeof thresholds / sizeof *thresholds; i++) {
		int64_t mark = (before->allowed_units / 100) * thresholds[i] +
			       (before->allowed_units % 100 * thresholds[i] + 99) / 100;
		if (before->used < mark && before->used + cost >= mark)
			return thresholds[i];
	}
	return 0;
}

/* It was too much for what is left of the limit (not of this host's part of one), and will fit again. Where nothing is left,
 * the charge that took the last of it was told of, perhaps by another process. */
static bool jumps_over(const struct counters_item *item, const struct counters_result *result, size_t i)
{
	const struct limit_usage *usage = &result->usage[i];
	bool stopped = result->answer == COUNTERS_REFUSED || result->held;
	return stopped && !usage->allowed && item->limit.action != LIMIT_SHADOW && !result->stood_in &&
	       usage->used < usage->allowed_units && usage->retry_after_us != INT64_MAX;
}

int limit_warning_of(const struct counters_item *item, const struct counters_result *result, size_t i,
		     struct limit_usage *after)
{
	*after = result->usage[i];
	if (jumps_over(item, result, i))
		return 100;
	if (result->answer != COUNTERS_CHARGED || !after->allowed)
		return 0;
	after->used += item->cost;
	return limit_warning_threshold(&result->usage[i], item->cost);
}

/* A quota is crossed a second time when a charge was given back. */
bool limit_warning_due(struct reminders *reminders, const struct counters_item *item, int threshold, int64_t now_s)
{
	bool quota = limit_is_quota(item->limit.spec.period);
	uint64_t what = reminders_name(0, item->limit.id, threshold);
	what = reminders_name(what, item->subject, item->window_start);
	return reminders_due(reminders, what, now_s, quota ? item->window_end : now_s + LIMIT_WARNING_REST_S);
}

void limit_warning_add(const struct spool_line *head, const struct counters_item *item, const struct limit_usage *after,
		       int threshold, struct buffer *out)
{
	struct json json = {.out = out};
	struct spool_line line = *head;
	line.type = "limit.warning";
	spool_line_begin(&line, &json);
	json_int(&json, "threshold", threshold);
	spool_line_limits(&json, item, after, 1);
	json_close(&json, '}');
}
