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

/* Eight bytes at once: which of them are zero, as a high bit each. A byte above a zero one may be named wrongly, which
 * costs a second look and no more (Mycroft 1987). */
static uint64_t zero_bytes(uint64_t word)
{
	return (word - 0x0101010101010101U) & ~word & 0x8080808080808080U;
}

static uint64_t bytes_equal(uint64_t word, char c)
{
	return zero_bytes(word ^ 0x0101010101010101U * (unsigned char)c);
}

/* May something between AT and AT + 8 not stand as it is? Looks at AT[8] too. */
static bool needs_a_look(const char *at)
{
	uint64_t word, next;
	memcpy(&word, at, sizeof word);
	memcpy(&next, at + 1, sizeof next);
	uint64_t blank_next = bytes_equal(next, ' ') | bytes_equal(next, '\t') | bytes_equal(next, '\r');
	return bytes_equal(word, '\r') | bytes_equal(word, '\t') | (bytes_equal(word, ' ') & blank_next);
}

/* Does the byte at AT stand as it is within a line? A single blank does when text follows it. */
static bool is_plain(const char *at, const char *end)
{
	if (*at == '\r' || *at == '\t')
		return false;
	return *at != ' ' || (at + 1 < end && !is_blank(at[1]) && at[1] != '\r');
}

/* How many bytes from AT on stand as they are within a line: in most mail, all but the line ends. */
static size_t plain_run(const char *at, const char *end)
{
	const char *p = at;
	for (;;) {
		while (end - p > 8 && !needs_a_look(p))
			p += 8;
		for (int i = 0; i < 8; i++, p++)
			if (p == end || !is_plain(p, end))
				return (size_t)(p - at);
	}
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
	put_text(body, p, run);
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
