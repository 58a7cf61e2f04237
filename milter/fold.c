#include "milter/fold.h"
#include "milter/survival.h"

/* A longer name leaves no room to fold in; nobody has such. */
#define FOLD_MAX_NAME (SURVIVAL_MAX_LINE / 2)

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* The first line of *REST, moved behind its LF or CRLF; *REST.ptr becomes NULL after the last one. */
static struct text take_line(struct text *rest)
{
	struct text line;
	text_take(rest, '\n', &line);
	if (rest->ptr && text_ends(line, TEXT("\r")))
		line.len--;
	return line;
}

bool fold_is_due(struct text name, struct text value)
{
	size_t before = name.len + sizeof ": " - 1;
	if (name.len > FOLD_MAX_NAME)
		return false;
	for (; value.ptr; before = 0)
		if (before + take_line(&value).len > SURVIVAL_MAX_LINE)
			return true;
	return false;
}

/* Where white space that may become a fold begins, with text before it and behind it; 0: there is none within ROOM. */
static size_t last_blank(struct text line, size_t room)
{
	size_t indent = 0, end = line.len;
	while (indent < end && is_blank(line.ptr[indent]))
		indent++;
	while (end && is_blank(line.ptr[end - 1]))
		end--;
	for (size_t i = room < end ? room : end; i > indent; i--)
		if (is_blank(line.ptr[i]) && !is_blank(line.ptr[i - 1]))
			return i;
	return 0;
}

/* How much of LINE, which is longer than ROOM, fits on the wire: *INDENT tells whether what follows needs a blank. */
static size_t part_of(struct text line, size_t room, bool *indent)
{
	size_t at = last_blank(line, room);
	*indent = !at;
	if (at)
		return at;
	at = text_rfind(text_head(line, room), ',');
	if (at != SIZE_MAX)
		return at + 1;
	for (at = room; at > room - 3 && ((unsigned char)line.ptr[at] & 0xc0) == 0x80; at--)
		;
	return at;
}

static void fold_line(struct text line, size_t before, struct buffer *out)
{
	while (before + line.len > SURVIVAL_MAX_LINE && is_blank(line.ptr[line.len - 1]))
		line.len--; /* no part may be of blanks alone */
	while (before + line.len > SURVIVAL_MAX_LINE) {
		bool indent;
		size_t part = part_of(line, SURVIVAL_MAX_LINE - before, &indent);
		buffer_text(out, text_head(line, part));
		buffer_char(out, '\n');
		if (indent)
			buffer_char(out, ' ');
		before = indent;
		line = text_from(line, part);
	}
	buffer_text(out, line);
}

void fold_value(struct text name, struct text value, struct buffer *out)
{
	size_t before = name.len + sizeof ": " - 1;
	for (bool first = true; value.ptr; first = false, before = 0) {
		if (!first)
			buffer_char(out, '\n');
		fold_line(take_line(&value), before, out);
	}
}
