#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/memory.h"
#include "common/text.h"

struct text text_of(const char *string)
{
	return string ? text_at(string, strlen(string)) : (struct text){"", 0};
}

static unsigned char lower(char c)
{
	return (unsigned char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
}

bool text_equal_fold(struct text a, struct text b)
{
	if (a.len != b.len)
		return false;
	for (size_t i = 0; i < a.len; i++)
		if (lower(a.ptr[i]) != lower(b.ptr[i]))
			return false;
	return true;
}

bool text_starts_fold(struct text t, struct text prefix)
{
	return text_equal_fold(text_head(t, prefix.len), prefix);
}

bool text_ends(struct text t, struct text suffix)
{
	return t.len >= suffix.len && text_equal(text_from(t, t.len - suffix.len), suffix);
}

int text_compare(struct text a, struct text b)
{
	size_t common = a.len < b.len ? a.len : b.len;
	int order = common ? memcmp(a.ptr, b.ptr, common) : 0;
	if (order)
		return order;
	return (a.len > b.len) - (a.len < b.len);
}

size_t text_find(struct text t, char c)
{
	const char *at = t.len ? memchr(t.ptr, c, t.len) : NULL;
	return at ? (size_t)(at - t.ptr) : SIZE_MAX;
}

size_t text_rfind(struct text t, char c)
{
	const char *at = t.len ? memrchr(t.ptr, c, t.len) : NULL;
	return at ? (size_t)(at - t.ptr) : SIZE_MAX;
}

size_t text_search(struct text t, struct text needle)
{
	if (!needle.len)
		return 0;
	const char *at = t.len ? memmem(t.ptr, t.len, needle.ptr, needle.len) : NULL;
	return at ? (size_t)(at - t.ptr) : SIZE_MAX;
}

bool text_search_fold(struct text t, struct text needle)
{
	char first = needle.len ? lower(needle.ptr[0]) : 0;
	for (size_t i = 0; i + needle.len <= t.len; i++)
		if (!needle.len || (lower(t.ptr[i]) == first && text_starts_fold(text_from(t, i), needle)))
			return true;
	return false;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

struct text text_trim(struct text t)
{
	while (t.len && is_blank(t.ptr[0]))
		t = text_from(t, 1);
	while (t.len && is_blank(t.ptr[t.len - 1]))
		t.len--;
	return t;
}

bool text_take(struct text *rest, char separator, struct text *piece)
{
	if (!rest->ptr)
		return false;
	size_t at = text_find(*rest, separator);
	*piece = text_head(*rest, at);
	*rest = at == SIZE_MAX ? (struct text){NULL, 0} : text_from(*rest, at + 1);
	return true;
}

const char *text_uint(struct text t, uint64_t max, uint64_t *out)
{
	uint64_t value = 0;
	if (!t.len)
		return "a number is missing";
	for (size_t i = 0; i < t.len; i++) {
		unsigned digit = (unsigned char)t.ptr[i] - (unsigned)'0';
		if (digit > 9)
			return "not a number";
		if (value > (max - digit) / 10 || digit > max)
			return "the number is too large";
		value = value * 10 + digit;
	}
	*out = value;
	return NULL;
}

/* The first bytes of sequences and the bounds of the second byte behind each: RFC 3629 section 4. */
static const struct sequence {
	unsigned char first_min, first_max, second_min, second_max, len;
} sequences[] = {
	{0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3}, {0xe1, 0xec, 0x80, 0xbf, 3},
	{0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3}, {0xf0, 0xf0, 0x90, 0xbf, 4},
	{0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
};

static bool follows(const struct sequence *s, const unsigned char *p)
{
	if (p[1] < s->second_min || p[1] > s->second_max)
		return false;
	for (size_t i = 2; i < s->len; i++)
		if ((p[i] & 0xc0) != 0x80)
			return false;
	return true;
}

size_t text_utf8(struct text t)
{
	const unsigned char *p = (const unsigned char *)t.ptr;
	if (!t.len || p[0] < 0x80)
		return t.len > 0;
	for (size_t i = 0; i < sizeof sequences / sizeof *sequences; i++)
		if (p[0] >= sequences[i].first_min && p[0] <= sequences[i].first_max)
			return t.len >= sequences[i].len && follows(&sequences[i], p) ? sequences[i].len : 0;
	return 0;
}

size_t text_utf8_head(struct text t)
{
	size_t at = 0, len = 1;
	for (; len; at += len) {
		while (at < t.len && (unsigned char)t.ptr[at] < 0x80)
			at++;
		len = text_utf8(text_from(t, at));
	}
	return at;
}

char *text_copy(struct text t)
{
	char *copy = memory_new(t.len + 1);
	if (t.len)
		memcpy(copy, t.ptr, t.len);
	copy[t.len] = '\0';
	return copy;
}

bool text_put(struct text t, char *out, size_t size)
{
	size_t len = t.len < size ? t.len : size - 1;
	if (len)
		memcpy(out, t.ptr, len);
	out[len] = '\0';
	return len == t.len;
}

static void reserve(struct buffer *b, size_t more)
{
	if (b->cap - b->len > more)
		return;
	size_t cap = b->cap ? b->cap : 64;
	while (cap - b->len <= more)
		cap *= 2;
	b->ptr = memory_resize(b->ptr, cap, 1);
	b->cap = cap;
}

void buffer_add(struct buffer *b, const void *bytes, size_t len)
{
	reserve(b, len);
	if (len)
		memcpy(b->ptr + b->len, bytes, len);
	b->len += len;
}

void buffer_text(struct buffer *b, struct text t)
{
	buffer_add(b, t.ptr, t.len);
}

void buffer_char(struct buffer *b, char c)
{
	buffer_add(b, &c, 1);
}

void buffer_format(struct buffer *b, const char *format, ...)
{
	va_list args, again;
	va_start(args, format);
	va_copy(again, args);
	int len = vsnprintf(NULL, 0, format, args);
	va_end(args);
	if (len > 0) {
		reserve(b, (size_t)len);
		vsnprintf(b->ptr + b->len, (size_t)len + 1, format, again);
		b->len += (size_t)len;
	}
	va_end(again);
}

void buffer_drop(struct buffer *b, size_t len)
{
	if (len > b->len)
		len = b->len;
	b->len -= len;
	if (b->len)
		memmove(b->ptr, b->ptr + len, b->len);
}

struct text buffer_view(const struct buffer *b)
{
	return text_at(b->ptr, b->len);
}

const char *buffer_string(struct buffer *b)
{
	reserve(b, 0);
	b->ptr[b->len] = '\0';
	return b->ptr;
}

void buffer_free(struct buffer *b)
{
	free(b->ptr);
	*b = (struct buffer){0};
}
