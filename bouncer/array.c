#include "common/encode.h"

#include "bouncer/array.h"

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
		len = value.ptr[0] ? text_utf8(value) : 0; /* Postgres' text holds no NUL */
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
