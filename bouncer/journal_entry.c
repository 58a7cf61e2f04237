#include <string.h>

#include "bouncer/event.h"
#include "bouncer/journal_entry.h"

const struct text journal_fields[JOURNAL_FIELD_MAX] = {
	[JOURNAL_CURSOR] = TEXT("__CURSOR"),
	[JOURNAL_TIME] = TEXT("__REALTIME_TIMESTAMP"),
	[JOURNAL_HOST] = TEXT("_HOSTNAME"),
	[JOURNAL_UNIT] = TEXT("_SYSTEMD_UNIT"),
	[JOURNAL_TRANSPORT] = TEXT("_TRANSPORT"),
	[JOURNAL_UID] = TEXT("_UID"),
	[JOURNAL_PID] = TEXT("_PID"),
	[JOURNAL_IDENTIFIER] = TEXT("SYSLOG_IDENTIFIER"),
	[JOURNAL_MESSAGE] = TEXT("MESSAGE"),
};

void journal_entry_free(struct journal_entry *e)
{
	for (size_t i = 0; i < JOURNAL_FIELD_MAX; i++)
		buffer_free(&e->field[i]);
	*e = (struct journal_entry){0};
}

static void clear(struct journal_entry *e)
{
	for (size_t i = 0; i < JOURNAL_FIELD_MAX; i++)
		e->field[i].len = 0;
	e->complete = false;
}

/* Takes LEN bytes of *STREAM for the current field. */
static void keep(struct journal_entry *e, struct text *stream, size_t len)
{
	if (e->current < JOURNAL_FIELD_MAX) {
		struct buffer *field = &e->field[e->current];
		size_t room = JOURNAL_FIELD_BYTES - field->len;
		buffer_text(field, text_head(text_head(*stream, len), room));
	}
	*stream = text_from(*stream, len);
}

/* The name is complete: which field is it? Of several with one name the first counts. */
static void name_field(struct journal_entry *e)
{
	struct text name = text_at(e->name, e->name_len);
	e->current = 0;
	while (e->current < JOURNAL_FIELD_MAX && !text_equal(journal_fields[e->current], name))
		e->current++;
	if (e->current < JOURNAL_FIELD_MAX && e->field[e->current].len)
		e->current = JOURNAL_FIELD_MAX;
	e->name_len = 0;
}

/* A name up to "=" or a line end; an empty line ends the entry: true. */
static bool in_name(struct journal_entry *e, struct text *stream)
{
	size_t len = 0;
	while (len < stream->len && stream->ptr[len] != '=' && stream->ptr[len] != '\n')
		len++;
	size_t room = JOURNAL_NAME_BYTES - e->name_len, kept = len < room ? len : room;
	memcpy(e->name + e->name_len, stream->ptr, kept);
	e->name_len += kept;
	bool ended = len < stream->len, line = ended && stream->ptr[len] == '\n';
	*stream = text_from(*stream, ended ? len + 1 : len);
	if (!ended)
		return false;
	if (line && !e->name_len)
		return true;
	name_field(e);
	e->state = line ? JOURNAL_IN_SIZE : JOURNAL_IN_TEXT;
	e->size_len = 0;
	e->left = 0;
	return false;
}

static void in_text(struct journal_entry *e, struct text *stream)
{
	size_t end = text_find(*stream, '\n');
	keep(e, stream, end == SIZE_MAX ? stream->len : end);
	if (end == SIZE_MAX)
		return;
	*stream = text_from(*stream, 1);
	e->state = JOURNAL_IN_NAME;
}

static void in_size(struct journal_entry *e, struct text *stream)
{
	e->left |= (uint64_t)(unsigned char)stream->ptr[0] << (8 * e->size_len++);
	*stream = text_from(*stream, 1);
	if (e->size_len == 8)
		e->state = e->left ? JOURNAL_IN_BYTES : JOURNAL_BEHIND_BYTES;
}

static void in_bytes(struct journal_entry *e, struct text *stream)
{
	size_t len = stream->len < e->left ? stream->len : (size_t)e->left;
	keep(e, stream, len);
	e->left -= len;
	if (!e->left)
		e->state = JOURNAL_BEHIND_BYTES;
}

static bool has_fields(const struct journal_entry *e)
{
	for (size_t i = 0; i < JOURNAL_FIELD_MAX; i++)
		if (e->field[i].len)
			return true;
	return false;
}

bool journal_entry_next(struct journal_entry *e, struct text *stream)
{
	if (e->complete)
		clear(e);
	while (stream->len)
		switch (e->state) {
		case JOURNAL_IN_NAME:
			if (in_name(e, stream) && has_fields(e))
				return e->complete = true;
			break;
		case JOURNAL_IN_TEXT: in_text(e, stream); break;
		case JOURNAL_IN_SIZE: in_size(e, stream); break;
		case JOURNAL_IN_BYTES: in_bytes(e, stream); break;
		case JOURNAL_BEHIND_BYTES:
			*stream = text_from(*stream, 1);
			e->state = JOURNAL_IN_NAME;
			break;
		}
	return false;
}

static struct text field(const struct journal_entry *e, enum journal_field which)
{
	return buffer_view(&e->field[which]);
}

static bool is_postfix(const struct journal_entry *e, struct text unit)
{
	if (text_equal(field(e, JOURNAL_TRANSPORT), TEXT("driver")))
		return text_equal(field(e, JOURNAL_IDENTIFIER), TEXT("systemd-journald"));
	return field(e, JOURNAL_IDENTIFIER).len &&
	       (text_starts(field(e, JOURNAL_UNIT), unit) || text_equal(field(e, JOURNAL_UID), TEXT("0")));
}

/* What Postfix does with control bytes (src/util/printable.c); a line end must not begin another line. */
static void add_printable(struct text t, struct buffer *out)
{
	for (size_t i = 0; i < t.len; i++)
		buffer_char(out, (unsigned char)t.ptr[i] < ' ' || t.ptr[i] == 0x7f ? '?' : t.ptr[i]);
}

bool journal_entry_line(const struct journal_entry *e, struct text unit, struct buffer *out)
{
	uint64_t us;
	char time[40];
	struct text host = field(e, JOURNAL_HOST), pid = field(e, JOURNAL_PID);
	if (!is_postfix(e, unit) || text_uint(field(e, JOURNAL_TIME), INT64_MAX, &us))
		return false;
	event_time((int64_t)us, time);
	buffer_format(out, "%s ", time);
	add_printable(host.len ? host : TEXT("-"), out);
	buffer_char(out, ' ');
	add_printable(field(e, JOURNAL_IDENTIFIER), out);
	if (pid.len) {
		buffer_char(out, '[');
		add_printable(pid, out);
		buffer_char(out, ']');
	}
	buffer_text(out, TEXT(": "));
	add_printable(field(e, JOURNAL_MESSAGE), out);
	return true;
}
