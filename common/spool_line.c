#include <stdio.h>

#include "common/spool_line.h"

void spool_line_text(struct json *json, const char *key, struct text value)
{
	json_string(json, key, value.ptr ? value : TEXT(""));
}

static void add_time(struct json *json, int64_t now_s)
{
	char words[40];
	int64_t year, day = now_s / 86400, second = now_s % 86400;
	int month, day_of_month;
	limit_date(day, &year, &month, &day_of_month);
	snprintf(words, sizeof words, "%04d-%02d-%02dT%02d:%02d:%02dZ", (int)year, month, day_of_month,
		 (int)(second / 3600), (int)(second / 60 % 60), (int)(second % 60));
	json_string(json, "time", text_of(words));
}

void spool_line_begin(const struct spool_line *line, struct json *json)
{
	json_open(json, NULL, '{');
	json_string(json, "type", text_of(line->type));
	add_time(json, line->now_s);
	spool_line_text(json, "host", line->node);
	spool_line_text(json, "customer", line->customer);
	spool_line_text(json, "login", line->login);
	spool_line_text(json, "queue_id", line->queue_id);
}

static void add_limit(struct json *json, const struct counters_item *item, const struct limit_usage *usage)
{
	char spec[LIMIT_SPEC_TEXT_MAX];
	limit_spec_print(&item->limit.spec, spec);
	json_open(json, NULL, '{');
	json_string(json, "scope", text_of(limit_scope_names[item->limit.scope]));
	spool_line_text(json, "limit", item->limit.id);
	json_string(json, "spec", text_of(spec));
	json_string(json, "unit", text_of(limit_unit_names[item->limit.unit]));
	json_string(json, "action", text_of(limit_action_names[item->limit.action]));
	spool_line_text(json, "subject", item->subject);
	json_int(json, "cost", item->cost);
	json_int(json, "used", usage->used);
	json_int(json, "allowed", usage->allowed_units);
	if (!usage->allowed && usage->retry_after_us != INT64_MAX)
		json_int(json, "retry_after_ms", usage->retry_after_us / 1000);
	json_bool(json, "fits", usage->allowed);
	json_close(json, '}');
}

void spool_line_limits(struct json *json, const struct counters_item *items, const struct limit_usage *usage,
		       size_t count)
{
	json_open(json, "limits", '[');
	for (size_t i = 0; i < count; i++)
		add_limit(json, &items[i], &usage[i]);
	json_close(json, ']');
}
