#include "common/json.h"

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
		size_t len = text_utf8(t);
		if (len == 1)
			add_control(out, (unsigned char)t.ptr[0]);
		else
			buffer_text(out, len ? text_head(t, len) : TEXT("\xef\xbf\xbd"));
		t = text_from(t, len ? len : 1);
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
