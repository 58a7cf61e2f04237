#include "bouncer/unparsed.h"

/* Behind "DATE HOST ": the tag, whose process id goes. */
static struct text tag_of(struct text line, struct text *message)
{
	size_t end = text_search(line, TEXT(": "));
	*message = end == SIZE_MAX ? line : text_from(line, end + 2);
	struct text tag = end == SIZE_MAX ? (struct text){0} : text_head(line, end);
	tag = text_from(tag, text_rfind(tag, ' ') == SIZE_MAX ? 0 : text_rfind(tag, ' ') + 1);
	return text_head(tag, text_find(tag, '['));
}

static bool varies(struct text word)
{
	for (size_t i = 0; i < word.len; i++) {
		unsigned char c = (unsigned char)word.ptr[i];
		if ((c >= '0' && c <= '9') || c == '@' || c == '<' || c == '[' || c == '/' || c >= 0x7f || c < ' ')
			return true;
	}
	return false;
}

void unparsed_template(struct text line, struct buffer *out)
{
	struct text message, word;
	size_t start = out->len;
	struct text tag = text_head(tag_of(line, &message), UNPARSED_TEMPLATE_MAX / 2);
	for (size_t i = 0; i < tag.len; i++)
		buffer_char(out, (unsigned char)tag.ptr[i] >= 0x7f ? '?' : tag.ptr[i]);
	while (text_take(&message, ' ', &word) && out->len - start + word.len + 1 < UNPARSED_TEMPLATE_MAX) {
		if (!word.len)
			continue;
		if (out->len > start)
			buffer_char(out, ' ');
		buffer_text(out, varies(word) ? TEXT("*") : word);
	}
}
