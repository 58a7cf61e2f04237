/* Rows of events with any bytes in their texts: whatever a remote host said, a body is one line of balanced JSON in UTF-8.
 * A line of the input is a field: "name=value" as in tests/golden/formats, the name ignored, fields taken in order. */

#include <stdlib.h>
#include <string.h>

#include "bouncer/format.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Fields that Postgres makes, never a stranger: numbers, booleans, JSON. */
static const enum event_field ours[] = {
	EVENT_SEQ,          EVENT_SECONDS,      EVENT_SIZE,          EVENT_ATTEMPT,
	EVENT_METADATA,     EVENT_SMTP_CODE,    EVENT_REMOTE_PORT,   EVENT_DELAY_TOTAL,
	EVENT_DELAY_QUEUE,  EVENT_DELAY_ACTIVE, EVENT_DELAY_CONNECT, EVENT_DELAY_TRANSMIT,
	EVENT_BOUNCE_ASYNC, EVENT_TRUNCATED,    EVENT_PARTIAL,       EVENT_DETAIL,
};

static bool is_ours(enum event_field field)
{
	for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
		if (ours[i] == field)
			return true;
	return false;
}

/* Skips a string from behind its opening quote; SIZE_MAX when it does not end, or holds a bare control byte. */
static size_t skip_string(struct text json, size_t at)
{
	for (; at < json.len && json.ptr[at] != '"'; at++) {
		if ((unsigned char)json.ptr[at] < ' ')
			return SIZE_MAX;
		if (json.ptr[at] == '\\')
			at++;
	}
	return at < json.len ? at : SIZE_MAX;
}

static bool is_balanced(struct text json)
{
	int depth = 0;
	for (size_t i = 0; i < json.len; i++) {
		if (json.ptr[i] == '"' && (i = skip_string(json, i + 1)) == SIZE_MAX)
			return false;
		if (json.ptr[i] == '{' || json.ptr[i] == '[')
			depth++;
		if (json.ptr[i] == '}' || json.ptr[i] == ']')
			depth--;
		if (depth < 0)
			return false;
	}
	return depth == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct event_row row = {0};
	struct text rest = text_at(data, size), line;
	for (enum event_field field = 0; field < EVENT_FIELD_MAX; field++) {
		bool more = text_take(&rest, '\n', &line);
		size_t equals = more ? text_find(line, '=') : SIZE_MAX;
		if (is_ours(field))
			row.field[field] = TEXT("1");
		else if (more)
			row.field[field] = equals == SIZE_MAX ? line : text_from(line, equals + 1);
	}
	row.field[EVENT_TIME] = TEXT("2026-11-21T01:15:09.123456Z");
	const struct event_row rows[] = {row, row};
	for (enum format format = 0; format < FORMAT_MAX; format++) {
		struct buffer body = {0};
		format_body(format, &row, &body);
		if (!is_balanced(buffer_view(&body)))
			abort();
		body.len = 0;
		if (format_has_batches(format))
			format_batch(format, TEXT("bat_x"), rows, 2, &body);
		if (!is_balanced(buffer_view(&body)))
			abort();
		buffer_free(&body);
	}
	return 0;
}
