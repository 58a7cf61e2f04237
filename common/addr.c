#include <string.h>

#include "common/addr.h"

/* RFC 5321 section 4.1.2 and RFC 5322 section 3.2.3: atext. */
static bool is_atext(unsigned char c)
{
	if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c >= 0x80)
		return true;
	return c && strchr("!#$%&'*+-/=?^_`{|}~", c);
}

static const char *check_dot_string(struct text local, size_t *at)
{
	bool after_dot = true;
	for (*at = 0; *at < local.len; ++*at) {
		char c = local.ptr[*at];
		if (c == '.' && after_dot)
			return "a dot in the wrong place of the local part";
		if (c != '.' && !is_atext((unsigned char)c))
			return "a character that the local part may only hold in quotes";
		after_dot = c == '.';
	}
	--*at;
	return after_dot ? "a dot at the end of the local part" : NULL;
}

/* LOCAL begins with a quote; qtextSMTP and quoted-pairSMTP of RFC 5321 section 4.1.2. */
static const char *check_quoted(struct text local, size_t *at)
{
	for (*at = 1; *at < local.len; ++*at) {
		unsigned char c = (unsigned char)local.ptr[*at];
		if (c == '"')
			return ++*at == local.len ? NULL : "something behind the closing quote of the local part";
		if (c == '\\')
			c = ++*at < local.len ? (unsigned char)local.ptr[*at] : 0;
		if (c < 0x20 || c == 0x7f)
			return "a control character in the quoted local part";
	}
	return "the quoted local part does not end";
}

/* RFC 1035 section 2.3.4. A label in UTF-8 has its limit as an A-label. */
#define MAX_LABEL 63

/* Is one label wrong? ASCII by letter-digit-hyphen rules; bytes beyond ASCII only where UTF8 may stand. */
static const char *check_label(struct text label, bool utf8, size_t *at)
{
	bool ascii = true;
	*at = 0;
	if (!label.len)
		return "an empty label";
	for (; *at < label.len; ++*at) {
		unsigned char c = (unsigned char)label.ptr[*at];
		bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
		if (!letter && c != '-' && !(utf8 && c >= 0x80))
			return "a character that no host name has";
		ascii = ascii && c < 0x80;
	}
	*at = 0;
	if (ascii && label.len > MAX_LABEL)
		return "a label longer than 63 characters";
	if (label.ptr[0] == '-')
		return "a label begins with a hyphen";
	*at = label.len - 1;
	return label.ptr[*at] == '-' ? "a label ends with a hyphen" : NULL;
}

/* 192.0.2.1 is no host name (RFC 1123 section 2.1, RFC 3696 section 2). */
static const char *check_top(struct text label)
{
	for (size_t i = 0; i < label.len; i++)
		if (label.ptr[i] < '0' || label.ptr[i] > '9')
			return NULL;
	return "the last label is a number";
}

static const char *check_domain(struct text domain, bool utf8, size_t *at)
{
	struct text rest = domain, label = {0};
	size_t labels = 0;

	*at = 0;
	if (!domain.len)
		return "the domain is empty";
	if (domain.len > ADDR_MAX_DOMAIN)
		return "the domain is longer than 255 characters";
	while (text_take(&rest, '.', &label)) {
		size_t inside;
		const char *why = check_label(label, utf8, &inside);
		if (why) {
			*at = (size_t)(label.ptr - domain.ptr) + inside;
			return why;
		}
		labels++;
	}
	*at = (size_t)(label.ptr - domain.ptr);
	return labels < 2 ? "a domain needs at least two labels" : check_top(label);
}

const char *addr_domain_check(struct text t, size_t *at)
{
	return check_domain(t, false, at);
}

/* Where the "@" that divides IN stands; SIZE_MAX when there is none outside quotes. */
static size_t find_at(struct text in)
{
	bool quoted = false;
	size_t at = SIZE_MAX;
	for (size_t i = 0; i < in.len; i++) {
		if (quoted && in.ptr[i] == '\\')
			i++;
		else if (in.ptr[i] == '"')
			quoted = !quoted;
		else if (in.ptr[i] == '@' && !quoted)
			at = i;
	}
	return at;
}

static const char *check_local(struct text local, size_t *at)
{
	*at = 0;
	if (!local.len)
		return "the local part is empty";
	if (local.len > ADDR_MAX_LOCAL) {
		*at = ADDR_MAX_LOCAL;
		return "the local part is longer than 64 characters";
	}
	return local.ptr[0] == '"' ? check_quoted(local, at) : check_dot_string(local, at);
}

const char *addr_parse_at(struct text in, struct addr *out, size_t *at)
{
	size_t middle = find_at(in), inside = 0;
	*at = in.len;
	if (middle == SIZE_MAX)
		return "there is no @";
	*at = text_utf8_head(in);
	if (*at < in.len)
		return "not valid UTF-8";
	struct addr parts = {text_head(in, middle), text_from(in, middle + 1)};
	const char *why = check_local(parts.local, at);
	if (why)
		return why;
	if (parts.domain.len && parts.domain.ptr[0] == '[')
		why = "an address literal in place of a domain";
	else
		why = check_domain(parts.domain, true, &inside);
	*at = middle + 1 + inside;
	if (!why)
		*out = parts;
	return why;
}

const char *addr_parse(struct text in, struct addr *out)
{
	size_t at;
	return addr_parse_at(in, out, &at);
}

size_t addr_key(struct addr a, char *out, size_t size)
{
	size_t len = a.local.len + 1 + a.domain.len;
	if (len >= size)
		return 0;
	memcpy(out, a.local.ptr, a.local.len);
	out[a.local.len] = '@';
	for (size_t i = 0; i < a.domain.len; i++) {
		char c = a.domain.ptr[i];
		out[a.local.len + 1 + i] = (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
	}
	out[len] = '\0';
	return len;
}

struct text addr_without_detail(struct text local)
{
	size_t plus = text_find(local, '+');
	if (!local.len || local.ptr[0] == '"' || plus == 0)
		return local;
	return text_head(local, plus);
}
