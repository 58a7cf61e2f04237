#include "bouncer/format_internal.h"

const char *const format_names[] = {
	[FORMAT_WAYBILL] = "waybill",
	[FORMAT_MAX] = NULL,
};

static void (*const writers[FORMAT_MAX])(const struct event_row *row, struct buffer *out) = {
	[FORMAT_WAYBILL] = format_waybill,
};

enum format format_of(struct text name)
{
	enum format format = 0;
	while (format < FORMAT_MAX && !text_equal(name, text_of(format_names[format])))
		format++;
	return format;
}

void format_body(enum format format, const struct event_row *row, struct buffer *out)
{
	writers[format](row, out);
}

void format_members(struct json *json, const struct event_row *row, const struct format_member *members, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const struct format_member *m = &members[i];
		if (m->raw)
			json_raw(json, m->key, row->field[m->field]);
		else
			json_string(json, m->key, row->field[m->field]);
	}
}
