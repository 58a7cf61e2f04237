#include "bouncer/json.h"

static void before_value(struct json *json, const char *key)
{
	if (json->comma)
		buffer_char(json->out, ',');
	json->comma = true;
	if (!key)
		return;
	buffer_char(json->out, '"');
	buffer_text(json->out, text_of(key));
	buffer_text(json->out, TEXT("\":"));
}

void json_open(struct json *json, const char *key, char bracket)
{
	before_value(json, key);
	buffer_char(json->out, bracket);
	json->comma = false;
}

void json_close(struct json *json, char bracket)
{
	buffer_char(json->out, bracket);
	json->comma = true;
}

static bool is_continuation(unsigned char c)
{
	return (c & 0xc0) == 0x80;
}

/* The smallest and largest second byte after each kind of first byte: RFC 3629 section 4 (no overlong forms, no
 * surrogates, nothing beyond U+10FFFF). */
static const struct sequence {
	unsigned char first_min, first_max, second_min, second_max, len;
} sequences[] = {
	{0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3}, {0xe1, 0xec, 0x80, 0xbf, 3},
	{0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3}, {0xf0, 0xf0, 0x90, 0xbf, 4},
	{0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
};

/* Length of the UTF-8 sequence at the head of T, 0 when there is none. */
static size_t sequence_length(struct text t)
{
	const unsigned char *p = (const unsigned char *)t.ptr;
	for (size_t i = 0; i < sizeof(sequences) / sizeof(sequences[0]); i++) {
		const struct sequence *s = &sequences[i];
		if (p[0] < s->first_min || p[0] > s->first_max)
			continue;
		if (t.len < s->len || p[1] < s->second_min || p[1] > s->second_max)
			return 0;
		for (size_t k = 2; k < s->len; k++)
			if (!is_continuation(p[k]))
				return 0;
		return s->len;
	}
	return 0;
}

static void add_control(struct buffer *out, unsigned char c)
{
	static const char hex[] = "0123456789abcdef";
	switch (c) {
	case '"': buffer_text(out, TEXT("\\\"")); return;
	case '\\': buffer_text(out, TEXT("\\\\")); return;
	case '\n': buffer_text(out, TEXT("\\n")); return;
	case '\r': buffer_text(out, TEXT("\\r")); return;
	case '\t': buffer_text(out, TEXT("\\t")); return;
	}
	buffer_text(out, TEXT("\\u00"));
	buffer_char(out, hex[c >> 4]);
	buffer_char(out, hex[c & 15]);
}

static bool is_plain(unsigned char c)
{
	return c >= ' ' && c < 0x7f && c != '"' && c != '\\';
}

static void add_escaped(struct buffer *out, struct text t)
{
	while (t.len) {
		size_t plain = 0;
		while (plain < t.len && is_plain((unsigned char)t.ptr[plain]))
			plain++;
		buffer_add(out, t.ptr, plain);
		t = text_from(t, plain);
		if (!t.len)
			return;
		size_t sequence = sequence_length(t);
		if (sequence)
			buffer_add(out, t.ptr, sequence);
		else if ((unsigned char)t.ptr[0] < 0x80)
			add_control(out, (unsigned char)t.ptr[0]);
		else
			buffer_text(out, TEXT("\xef\xbf\xbd"));
		t = text_from(t, sequence ? sequence : 1);
	}
}

void json_string(struct json *json, const char *key, struct text value)
{
	before_value(json, key);
	if (!value.ptr) {
		buffer_text(json->out, TEXT("null"));
		return;
	}
	buffer_char(json->out, '"');
	add_escaped(json->out, value);
	buffer_char(json->out, '"');
}

void json_raw(struct json *json, const char *key, struct text value)
{
	before_value(json, key);
	buffer_text(json->out, value.ptr ? value : TEXT("null"));
}

void json_int(struct json *json, const char *key, int64_t value)
{
	before_value(json, key);
	buffer_format(json->out, "%lld", (long long)value);
}

void json_bool(struct json *json, const char *key, bool value)
{
	json_raw(json, key, value ? TEXT("true") : TEXT("false"));
}
