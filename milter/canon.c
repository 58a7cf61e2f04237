#include <string.h>

#include "milter/canon.h"

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

void canon_body_begin(struct canon_body *body, canon_sink *sink, void *context)
{
	body->sink = sink;
	body->context = context;
	body->blank_lines = 0;
	body->space = body->cr = body->begun = false;
	body->used = 0;
}

static void flush(struct canon_body *body)
{
	if (body->used)
		body->sink(body->context, text_at(body->out, body->used));
	body->used = 0;
}

static void put(struct canon_body *body, const char *bytes, size_t len)
{
	while (len) {
		size_t room = CANON_CHUNK - body->used, part = len < room ? len : room;
		memcpy(body->out + body->used, bytes, part);
		body->used += part;
		bytes += part;
		len -= part;
		if (body->used == CANON_CHUNK)
			flush(body);
	}
}

/* What was held back counts, because a byte of text follows it in this line. */
static void release(struct canon_body *body)
{
	for (; body->blank_lines; body->blank_lines--)
		put(body, "\r\n", 2);
	if (body->space)
		put(body, " ", 1);
	body->space = false;
	body->begun = true;
}

static void put_text(struct canon_body *body, const char *bytes, size_t len)
{
	if (body->blank_lines || body->space || !body->begun)
		release(body);
	put(body, bytes, len);
}

static void end_line(struct canon_body *body)
{
	body->space = body->cr = false;
	if (body->begun)
		put(body, "\r\n", 2);
	else
		body->blank_lines++;
	body->begun = false;
}

/* How many bytes from AT on are neither blank nor CR. */
static size_t text_run(const char *at, const char *end)
{
	const char *p = at;
	while (p < end && *p != ' ' && *p != '\t' && *p != '\r')
		p++;
	return (size_t)(p - at);
}

void canon_body_add(struct canon_body *body, struct text bytes)
{
	if (!bytes.len)
		return;
	const char *p = bytes.ptr, *end = p + bytes.len;
	while (p < end) {
		if (body->cr && *p == '\n') {
			end_line(body);
			p++;
			continue;
		}
		if (body->cr) {
			body->cr = false;
			put_text(body, "\r", 1);
		}
		size_t run = text_run(p, end);
		if (run)
			put_text(body, p, run);
		p += run;
		if (p == end)
			break;
		if (*p == '\r')
			body->cr = true;
		else
			body->space = true;
		p++;
	}
}

void canon_body_end(struct canon_body *body)
{
	if (body->cr)
		put_text(body, "\r", 1);
	body->cr = false;
	if (body->begun)
		end_line(body);
	flush(body);
}

static void canon_name(struct text name, struct buffer *out)
{
	while (name.len && is_blank(name.ptr[name.len - 1]))
		name.len--;
	for (size_t i = 0; i < name.len; i++) {
		char c = name.ptr[i];
		buffer_char(out, c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c);
	}
}

/* The length of a line end at AT: CRLF or LF; else 0. */
static size_t line_end(struct text value, size_t at)
{
	if (value.ptr[at] == '\n')
		return 1;
	return value.ptr[at] == '\r' && at + 1 < value.len && value.ptr[at + 1] == '\n' ? 2 : 0;
}

void canon_header(struct text name, struct text value, struct buffer *out)
{
	canon_name(name, out);
	buffer_char(out, ':');
	size_t begin = out->len;
	bool space = false;
	for (size_t i = 0; i < value.len;) {
		size_t fold = line_end(value, i);
		if (fold || is_blank(value.ptr[i])) {
			space |= !fold;
			i += fold ? fold : 1;
			continue;
		}
		size_t from = i;
		while (i < value.len && !is_blank(value.ptr[i]) && !line_end(value, i))
			i++;
		if (space && out->len > begin)
			buffer_char(out, ' ');
		space = false;
		buffer_add(out, value.ptr + from, i - from);
	}
}
