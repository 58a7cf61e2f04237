#include <string.h>

#include "common/encode.h"

#include "bouncer/array.h"

/* Bytes of the UTF-8 character at the start of T (RFC 3629 section 4), 0 when there is none. */
static size_t character(struct text t)
{
	const unsigned char *p = (const unsigned char *)t.ptr;
	if (p[0] < 0x80)
		return p[0] ? 1 : 0;
	size_t len = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
	if (p[0] < 0xc2 || p[0] > 0xf4 || t.len < len)
		return 0;
	for (size_t i = 1; i < len; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	bool overlong = (p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xf0 && p[1] < 0x90);
	bool surrogate = p[0] == 0xed && p[1] > 0x9f, beyond = p[0] == 0xf4 && p[1] > 0x8f;
	return overlong || surrogate || beyond ? 0 : len;
}

static void separate(struct buffer *out)
{
	if (out->len > 1)
		buffer_char(out, ',');
}

/* The length of the start of T that needs no care. */
static size_t plain(struct text t)
{
	size_t len = 0;
	while (len < t.len && t.ptr[len] >= ' ' && t.ptr[len] != '"' && t.ptr[len] != '\\' && t.ptr[len] != 0x7f)
		len++;
	return len;
}

void array_add(struct buffer *out, struct text value)
{
	separate(out);
	if (!value.ptr) {
		buffer_text(out, TEXT("NULL"));
		return;
	}
	buffer_char(out, '"');
	while (value.len) {
		size_t len = plain(value);
		buffer_add(out, value.ptr, len);
		value = text_from(value, len);
		if (!value.len)
			break;
		len = character(value);
		if (value.ptr[0] == '"' || value.ptr[0] == '\\')
			buffer_char(out, '\\');
		buffer_text(out, len ? text_head(value, len) : TEXT("\xef\xbf\xbd"));
		value = text_from(value, len ? len : 1);
	}
	buffer_char(out, '"');
}

void array_add_bytea(struct buffer *out, struct text bytes)
{
	separate(out);
	buffer_text(out, TEXT("\"\\\\x"));
	encode_hex(bytes, out);
	buffer_char(out, '"');
}
