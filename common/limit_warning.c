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

/* A quota is crossed a second time when a charge was given back. */
bool limit_warning_due(struct reminders *reminders, const struct counters_item *item, int threshold, int64_t now_s)
{
	bool quota = limit_is_quota(item->limit.spec.period);
	uint64_t what = reminders_name(0, item->limit.id, threshold);
	what = reminders_name(what, item->subject, item->window_start);
	return reminders_due(reminders, what, now_s, quota ? item->window_end : now_s + LIMIT_WARNING_REST_S);
}

void limit_warning_add(const struct spool_line *head, const struct counters_item *item,
		       const struct limit_usage *before, int threshold, struct buffer *out)
{
	struct json json = {.out = out};
	struct spool_line line = *head;
	struct limit_usage after = *before;
	line.type = "limit.warning";
	after.used += item->cost;
	spool_line_begin(&line, &json);
	json_int(&json, "threshold", threshold);
	spool_line_limits(&json, item, &after, 1);
	json_close(&json, '}');
}
