/* Recursive descent over RFC 8259; each function takes what it is called for. */

#include <string.h>

#include "common/json_check.h"

struct check {
	struct text rest;
	int depth, max_depth;
};

static bool take_value(struct check *check);

static char peek(struct check *check)
{
	while (check->rest.len && memchr(" \t\r\n", check->rest.ptr[0], 4))
		check->rest = text_from(check->rest, 1);
	return check->rest.len ? check->rest.ptr[0] : '\0';
}

static bool take(struct check *check, char c)
{
	if (peek(check) != c)
		return false;
	check->rest = text_from(check->rest, 1);
	return true;
}

/* Behind a backslash: how many bytes the escape has, 0 when it is none. */
static size_t escape_length(struct text rest)
{
	if (!rest.len || !memchr("\"\\/bfnrtu", rest.ptr[0], 9))
		return 0;
	if (rest.ptr[0] != 'u')
		return 1;
	for (size_t i = 1; i <= 4; i++)
		if (i >= rest.len || !memchr("0123456789abcdefABCDEF", rest.ptr[i], 22))
			return 0;
	return 5;
}

static bool take_string(struct check *check)
{
	if (!take(check, '"'))
		return false;
	while (check->rest.len) {
		unsigned char c = (unsigned char)check->rest.ptr[0];
		check->rest = text_from(check->rest, 1);
		if (c == '"')
			return true;
		if (c < 0x20 || c > 0x7e)
			return false;
		size_t escape = c == '\\' ? escape_length(check->rest) : 0;
		if (c == '\\' && !escape)
			return false;
		check->rest = text_from(check->rest, escape);
	}
	return false;
}

static size_t take_digits(struct check *check)
{
	size_t count = 0;
	for (; check->rest.len && check->rest.ptr[0] >= '0' && check->rest.ptr[0] <= '9'; count++)
		check->rest = text_from(check->rest, 1);
	return count;
}

static bool take_number(struct check *check)
{
	take(check, '-');
	bool zero = check->rest.len && check->rest.ptr[0] == '0';
	size_t digits = take_digits(check);
	if (!digits || (zero && digits > 1))
		return false;
	if (text_starts(check->rest, TEXT("."))) {
		check->rest = text_from(check->rest, 1);
		if (!take_digits(check))
			return false;
	}
	if (!text_starts_fold(check->rest, TEXT("e")))
		return true;
	check->rest = text_from(check->rest, 1);
	if (text_starts(check->rest, TEXT("+")) || text_starts(check->rest, TEXT("-")))
		check->rest = text_from(check->rest, 1);
	return take_digits(check) > 0;
}

/* An object or array, between OPEN and CLOSE. */
static bool take_group(struct check *check, char open, char close)
{
	if (!take(check, open) || ++check->depth > check->max_depth)
		return false;
	check->depth -= peek(check) == close;
	if (take(check, close))
		return true;
	do {
		if (open == '{' && (!take_string(check) || !take(check, ':')))
			return false;
		if (!take_value(check))
			return false;
	} while (take(check, ','));
	check->depth--;
	return take(check, close);
}

static bool take_word(struct check *check, struct text word)
{
	if (!text_starts(check->rest, word))
		return false;
	check->rest = text_from(check->rest, word.len);
	return true;
}

static bool take_value(struct check *check)
{
	switch (peek(check)) {
	case '{': return take_group(check, '{', '}');
	case '[': return take_group(check, '[', ']');
	case '"': return take_string(check);
	case 't': return take_word(check, TEXT("true"));
	case 'f': return take_word(check, TEXT("false"));
	case 'n': return take_word(check, TEXT("null"));
	}
	return take_number(check);
}

bool json_check_object(struct text t, int max_depth)
{
	struct check check = {.rest = t, .max_depth = max_depth};
	return take_group(&check, '{', '}') && peek(&check) == '\0' && !check.rest.len;
}
