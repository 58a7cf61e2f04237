/* JSON out: see spool_line.h. */

#include "common/spool_line.h"

/* A JSON string (RFC 8259) of what may be no text: a byte that is no UTF-8 becomes U+FFFD. */
static void add_string(struct buffer *out, struct text t)
{
	buffer_char(out, '"');
	for (size_t len; t.len; t = text_from(t, len ? len : 1)) {
		unsigned char c = (unsigned char)t.ptr[0];
		len = text_utf8(t);
		if (!len)
			buffer_add(out, "\\ufffd", 6);
		else if (c < 0x20 || c == 0x7f)
			buffer_format(out, "\\u%04x", c);
		else if (c == '"' || c == '\\')
			buffer_format(out, "\\%c", c);
		else
			buffer_text(out, text_head(t, len));
	}
	buffer_char(out, '"');
}

void spool_line_text(struct buffer *out, const char *name, struct text value)
{
	buffer_format(out, ",\"%s\":", name);
	add_string(out, value);
}

void spool_line_number(struct buffer *out, const char *name, int64_t value)
{
	buffer_format(out, ",\"%s\":%lld", name, (long long)value);
}

static void add_time(struct buffer *out, int64_t now_s)
{
	int64_t year, day = now_s / 86400, second = now_s % 86400;
	int month, day_of_month;
	limit_date(day, &year, &month, &day_of_month);
	buffer_format(out, ",\"time\":\"%04d-%02d-%02dT%02d:%02d:%02dZ\"", (int)year, month, day_of_month,
		      (int)(second / 3600), (int)(second / 60 % 60), (int)(second % 60));
}

void spool_line_begin(const struct spool_line *line, struct buffer *out)
{
	buffer_format(out, "{\"type\":\"%s\"", line->type);
	add_time(out, line->now_s);
	spool_line_text(out, "host", line->node);
	spool_line_text(out, "customer", line->customer);
	spool_line_text(out, "login", line->login);
	spool_line_text(out, "queue_id", line->queue_id);
}

void spool_line_limit(struct buffer *out, const struct counters_item *item, const struct limit_usage *usage)
{
	char spec[LIMIT_SPEC_TEXT_MAX];
	limit_spec_print(&item->limit.spec, spec);
	buffer_format(out, "{\"scope\":\"%s\"", limit_scope_names[item->limit.scope]);
	spool_line_text(out, "limit", item->limit.id);
	spool_line_text(out, "spec", text_of(spec));
	spool_line_text(out, "unit", text_of(limit_unit_names[item->limit.unit]));
	spool_line_text(out, "action", text_of(limit_action_names[item->limit.action]));
	spool_line_text(out, "subject", item->subject);
	spool_line_number(out, "cost", item->cost);
	spool_line_number(out, "used", usage->used);
	spool_line_number(out, "allowed", usage->allowed_units);
	if (!usage->allowed && usage->retry_after_us != INT64_MAX)
		spool_line_number(out, "retry_after_ms", usage->retry_after_us / 1000);
	buffer_format(out, ",\"fits\":%s}", usage->allowed ? "true" : "false");
}
