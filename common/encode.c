#include <string.h>

#include "common/encode.h"

void encode_base64(struct text in, struct buffer *out)
{
	static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	for (size_t i = 0; i < in.len; i += 3) {
		struct text group = text_head(text_from(in, i), 3);
		uint32_t bits = 0;
		for (size_t k = 0; k < 3; k++)
			bits = bits << 8 | (k < group.len ? (unsigned char)group.ptr[k] : 0);
		for (size_t k = 0; k < 4; k++)
			buffer_char(out, k <= group.len ? alphabet[bits >> (18 - 6 * k) & 63] : '=');
	}
}

static int base64_value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

const char *encode_base64_decode(struct text in, struct buffer *out)
{
	uint32_t bits = 0;
	size_t digits = 0, padding = 0;
	for (size_t i = 0; i < in.len; i++) {
		char c = in.ptr[i];
		if (is_space(c))
			continue;
		int value = base64_value(c);
		if (c == '=') {
			padding++;
		} else if (value < 0 || padding) {
			return "not base64";
		} else {
			bits = bits << 6 | (uint32_t)value;
			if (digits++ % 4)
				buffer_char(out, (char)(bits >> (6 - 2 * ((digits - 1) % 4))));
		}
	}
	return digits % 4 == 1 || padding > 2 || (padding && (digits + padding) % 4) ? "not base64" : NULL;
}

void encode_base32(struct text in, struct buffer *out)
{
	static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz234567";
	uint32_t bits = 0;
	unsigned have = 0;
	for (size_t i = 0; i < in.len; i++) {
		bits = bits << 8 | (unsigned char)in.ptr[i];
		for (have += 8; have >= 5; have -= 5)
			buffer_char(out, alphabet[bits >> (have - 5) & 31]);
	}
	if (have)
		buffer_char(out, alphabet[bits << (5 - have) & 31]);
}

static int base32_value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a';
	return c >= '2' && c <= '7' ? c - '2' + 26 : -1;
}

const char *encode_base32_decode(struct text in, struct buffer *out)
{
	uint32_t bits = 0;
	unsigned have = 0;
	for (size_t i = 0; i < in.len; i++) {
		int value = base32_value(in.ptr[i]);
		if (value < 0)
			return "not base32";
		bits = bits << 5 | (uint32_t)value;
		have += 5;
		if (have >= 8) {
			have -= 8;
			buffer_char(out, (char)(unsigned char)(bits >> have));
		}
	}
	return have >= 5 || bits & ((1U << have) - 1) ? "not base32" : NULL;
}

void encode_hex(struct text in, struct buffer *out)
{
	static const char digits[] = "0123456789abcdef";
	for (size_t i = 0; i < in.len; i++) {
		unsigned char byte = (unsigned char)in.ptr[i];
		buffer_char(out, digits[byte >> 4]);
		buffer_char(out, digits[byte & 15]);
	}
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

const char *encode_hex_decode(struct text in, struct buffer *out)
{
	if (in.len % 2)
		return "an odd number of hex digits";
	for (size_t i = 0; i < in.len; i += 2) {
		int high = hex_value(in.ptr[i]), low = hex_value(in.ptr[i + 1]);
		if (high < 0 || low < 0)
			return "not a hex digit";
		buffer_char(out, (char)(high * 16 + low));
	}
	return NULL;
}
