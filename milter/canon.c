#include <string.h>

#include "milter/canon.h"
#include "milter/wide.h"

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

/* Short pieces are gathered, long ones go as they are. */
static void put(struct canon_body *body, const char *bytes, size_t len)
{
	if (len > CANON_CHUNK - body->used)
		flush(body);
	if (len > CANON_CHUNK) {
		body->sink(body->context, text_at(bytes, len));
		return;
	}
	memcpy(body->out + body->used, bytes, len);
	body->used += len;
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

/* May something between AT and AT + WIDE_BYTES not stand as it is? Looks at the two bytes behind as well. */
static bool needs_a_look(const char *at)
{
	wide byte = wide_load(at), next = wide_load(at + 1), after = wide_load(at + 2);
	wide next_blank = wide_is(next, ' ') | wide_is(next, '\t') | wide_is(next, '\r');
	wide no_line_end = ~wide_is(next, '\n') | wide_is(after, '\r');
	return wide_bits(wide_is(byte, '\t') | (wide_is(byte, ' ') & next_blank) |
			 (wide_is(byte, '\r') & no_line_end)) != 0;
}

/* Does the byte at AT stand as it is? A single blank does when text follows it, and a line end when it does not end a
 * blank line, nor may be the last. */
static bool is_plain(const char *at, const char *end)
{
	if (*at == '\r')
		return at + 2 < end && at[1] == '\n' && at[2] != '\r';
	if (*at == ' ')
		return at + 1 < end && !is_blank(at[1]) && at[1] != '\r';
	return *at != '\t';
}

/* How many bytes from AT on stand as they are: in most mail, whole paragraphs. */
static size_t plain_run(const char *at, const char *end)
{
	const char *p = at;
	for (;;) {
		while (end - p >= WIDE_BYTES + 2 && !needs_a_look(p))
			p += WIDE_BYTES;
		for (int i = 0; i < WIDE_BYTES; i++, p++)
			if (p == end || !is_plain(p, end))
				return (size_t)(p - at);
	}
}

/* Text and the line ends within it. */
static void put_run(struct canon_body *body, const char *bytes, size_t len)
{
	put_text(body, bytes, len);
	body->begun = len < 2 || memcmp(bytes + len - 2, "\r\n", 2) != 0;
}

/* A blank, a CR, or text from P on; returns what comes next. */
static const char *take_piece(struct canon_body *body, const char *p, const char *end)
{
	if (body->cr) {
		body->cr = false;
		if (*p == '\n') {
			end_line(body);
			return p + 1;
		}
		put_text(body, "\r", 1);
	}
	if (is_blank(*p)) {
		body->space = true;
		while (p < end && is_blank(*p))
			p++;
		return p;
	}
	if (*p == '\r') {
		body->cr = true;
		return p + 1;
	}
	size_t run = plain_run(p, end);
	put_run(body, p, run);
	return p + run;
}

void canon_body_add(struct canon_body *body, struct text bytes)
{
	if (!bytes.len)
		return;
	const char *p = bytes.ptr, *end = p + bytes.len;
	while (p < end)
		p = take_piece(body, p, end);
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
