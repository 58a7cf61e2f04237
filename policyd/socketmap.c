/* Netstrings (https://cr.yp.to/proto/netstrings.txt): a length in digits, a colon, so many bytes, a comma. */

#include "policyd/socketmap.h"

#define DIGITS_MAX 4 /* of SOCKETMAP_MAX_QUESTION */

static const char *const prefixes[SOCKETMAP_STATUS_MAX] = {"OK ", "NOTFOUND ", "TEMP ", "PERM "};

const char *const socketmap_status_words[SOCKETMAP_STATUS_MAX + 1] = {"found", "absent", "trouble", "mistake", NULL};

/* The netstring's contents and its *LEN, 0 as long as it is not whole. */
static const char *take_netstring(struct text bytes, size_t *len, struct text *contents)
{
	uint64_t size;
	size_t colon = text_find(text_head(bytes, DIGITS_MAX + 1), ':');
	struct text digits = text_head(bytes, colon == SIZE_MAX ? DIGITS_MAX + 1 : colon);
	*len = 0;
	if (!bytes.len)
		return NULL;
	if (text_uint(digits, SOCKETMAP_MAX_QUESTION, &size) || (digits.len > 1 && digits.ptr[0] == '0'))
		return "a netstring without a length of at most 4096";
	size_t whole = digits.len + 1 + (size_t)size + 1;
	if (colon == SIZE_MAX || bytes.len < whole)
		return NULL;
	if (bytes.ptr[whole - 1] != ',')
		return "a netstring without its comma";
	*contents = text_head(text_from(bytes, colon + 1), (size_t)size);
	*len = whole;
	return NULL;
}

const char *socketmap_take(struct text bytes, size_t *len, struct socketmap_question *out)
{
	struct text contents;
	const char *why = take_netstring(bytes, len, &contents);
	if (why || !*len)
		return why;
	size_t blank = text_find(contents, ' ');
	out->map = text_head(contents, blank);
	out->key = blank == SIZE_MAX ? TEXT("") : text_from(contents, blank + 1);
	return NULL;
}

void socketmap_add(enum socketmap_status status, struct text data, struct buffer *out)
{
	struct text prefix = text_of(prefixes[status]);
	buffer_format(out, "%zu:", prefix.len + data.len);
	buffer_text(out, prefix);
	buffer_text(out, data);
	buffer_char(out, ',');
}
