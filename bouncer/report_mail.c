#include "bouncer/report_mail.h"

void report_mail_free(struct report_mail *mail)
{
	for (size_t i = 0; i < REPORT_MAX_PIECES; i++)
		buffer_free(&mail->bytes[i]);
	*mail = (struct report_mail){0};
}

/* RFC 5322 section 2.2.3: a line that begins with white space goes on where the one before ended, unless that was empty. */
static void unfold(struct text in, struct buffer *out)
{
	for (struct text line; in.len && text_take(&in, '\n', &line);) {
		bool blank = !text_trim(line).len;
		bool folded = !blank && (line.ptr[0] == ' ' || line.ptr[0] == '\t') && out->len > 1 &&
			      out->ptr[out->len - 2] != '\n';
		if (folded) {
			out->ptr[out->len - 1] = ' ';
			line = text_trim(line);
		}
		for (size_t i = 0; i < line.len; i++) {
			unsigned char c = (unsigned char)line.ptr[i];
			if (c != '\r' || i + 1 < line.len)
				buffer_char(out, c < ' ' || c == 0x7f ? ' ' : line.ptr[i]);
		}
		buffer_char(out, '\n');
	}
}

void report_mail_add(struct report_mail *mail, enum report_piece_kind kind, struct text lines)
{
	if (mail->count == REPORT_MAX_PIECES || mail->total + lines.len > REPORT_MAX_BYTES)
		return;
	struct buffer *bytes = &mail->bytes[mail->count];
	mail->total += lines.len;
	unfold(lines, bytes);
	mail->piece[mail->count++] = (struct report_piece){kind, buffer_view(bytes)};
}

/* RFC 5322 section 2.2: printable ASCII but the colon. */
static bool is_field_name(struct text t)
{
	for (size_t i = 0; i < t.len; i++)
		if (t.ptr[i] <= ' ' || t.ptr[i] > '~')
			return false;
	return t.len > 0;
}

bool report_field_next(struct text *rest, struct report_field *out)
{
	struct text line;
	*out = (struct report_field){0};
	if (!rest->ptr || !text_take(rest, '\n', &line))
		return false;
	line = text_trim(line);
	out->blank = !line.len;
	size_t colon = text_find(line, ':');
	if (colon == SIZE_MAX)
		return true;
	struct text name = text_trim(text_head(line, colon));
	if (is_field_name(name)) {
		out->name = name;
		out->value = text_trim(text_from(line, colon + 1));
	}
	return true;
}

bool report_mail_next(const struct report_mail *mail, enum report_piece_kind kind, const char *name,
		      struct report_search *search, struct text *value)
{
	struct report_field field;
	for (;;) {
		while (report_field_next(&search->rest, &field))
			if (text_equal_fold(field.name, text_of(name))) {
				*value = field.value;
				return true;
			}
		while (search->piece < mail->count && mail->piece[search->piece].kind != kind)
			search->piece++;
		if (search->piece == mail->count)
			return false;
		search->rest = mail->piece[search->piece++].text;
	}
}

struct text report_mail_first(const struct report_mail *mail, enum report_piece_kind kind, const char *name)
{
	struct report_search search = {0};
	struct text value = {0};
	report_mail_next(mail, kind, name, &search, &value);
	return value;
}

struct text report_mail_last(const struct report_mail *mail, enum report_piece_kind kind, const char *name)
{
	struct report_search search = {0};
	struct text value = {0};
	while (report_mail_next(mail, kind, name, &search, &value))
		;
	return value;
}
