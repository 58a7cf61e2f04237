/* Rights: see rights.h. */

#include "common/rights.h"

#define LOCAL_MAX ADDR_MAX_LOCAL

static const struct text owned_pattern = {"*@owned", 7};
static const struct text null_pattern = {"<>", 2};

/* RFC 5322 section 3.2.3: atext, and bytes of UTF-8 (RFC 6532). */
static bool is_atext(char c)
{
	unsigned char u = (unsigned char)c;
	if ((u >= '0' && u <= '9') || (u >= 'A' && u <= 'Z') || (u >= 'a' && u <= 'z') || u >= 0x80)
		return true;
	return text_find(TEXT("!#$%&'*+-/=?^_`{|}~"), c) != SIZE_MAX;
}

static const char *local_check(struct text local, size_t *at)
{
	for (size_t i = 0; i < local.len; i++) {
		bool dot = local.ptr[i] == '.';
		bool misplaced = dot && (i == 0 || i + 1 == local.len || local.ptr[i - 1] == '.');
		*at = i;
		if (local.ptr[i] == '*')
			return "only *@owned may have a star";
		if (misplaced || (!dot && !is_atext(local.ptr[i])))
			return "not a character of a plain address";
	}
	*at = LOCAL_MAX;
	return local.len > LOCAL_MAX ? "the part before the @ is too long" : NULL;
}

const char *rights_pattern_check(struct text t, size_t *at)
{
	if (text_equal(t, owned_pattern) || text_equal(t, null_pattern))
		return NULL;
	size_t split = text_rfind(t, '@');
	if (split == SIZE_MAX) {
		*at = t.len;
		return "an @ is missing";
	}
	const char *why = local_check(text_head(t, split), at);
	if (why)
		return why;
	size_t domain = split + 1;
	if (split == 0 && text_starts(text_from(t, domain), TEXT(".")))
		domain++;
	why = addr_domain_check(text_from(t, domain), at);
	if (why)
		*at += domain;
	return why;
}

/* LOCAL without quotes and backslashes (RFC 5321 section 4.1.2), in STORE: a quoted one must not slip past a deny. Cut
 * behind LOCAL_MAX + 1 bytes: longer than any pattern, and its part before a "+" is still there. */
static struct text unquoted(struct text local, char store[LOCAL_MAX + 1])
{
	if (local.len < 2 || local.ptr[0] != '"' || local.ptr[local.len - 1] != '"')
		return local;
	size_t len = 0;
	for (size_t i = 1; i + 1 < local.len && len <= LOCAL_MAX; i++) {
		if (local.ptr[i] == '\\' && i + 2 < local.len)
			i++;
		store[len++] = local.ptr[i];
	}
	return text_at(store, len);
}

static bool local_matches(struct text pattern, struct text local)
{
	char store[LOCAL_MAX + 1];
	local = unquoted(local, store);
	return text_equal_fold(pattern, local) || text_equal_fold(pattern, addr_without_detail(local));
}

static bool under(struct text domain, struct text parent)
{
	if (domain.len <= parent.len)
		return text_equal_fold(domain, parent);
	size_t at = domain.len - parent.len;
	return domain.ptr[at - 1] == '.' && text_equal_fold(text_from(domain, at), parent);
}

static bool matches(const struct rights_check *check, struct text pattern)
{
	struct addr a = check->address;
	if (!a.domain.len)
		return !a.local.len && text_equal(pattern, null_pattern);
	if (text_equal(pattern, owned_pattern))
		return check->owned;
	size_t split = text_rfind(pattern, '@');
	if (split == SIZE_MAX)
		return false;
	struct text domain = text_from(pattern, split + 1);
	if (split > 0)
		return text_equal_fold(domain, a.domain) && local_matches(text_head(pattern, split), a.local);
	if (text_starts(domain, TEXT(".")))
		return under(a.domain, text_from(domain, 1));
	return text_equal_fold(domain, a.domain);
}

void rights_begin(struct rights_check *check, struct addr address, bool owned)
{
	*check = (struct rights_check){.address = address, .owned = owned, .verdict = RIGHTS_UNMATCHED};
}

void rights_add(struct rights_check *check, struct right right)
{
	if (check->verdict == RIGHTS_DENIED || !matches(check, right.pattern))
		return;
	if (right.allow && check->verdict == RIGHTS_ALLOWED)
		return;
	check->verdict = right.allow ? RIGHTS_ALLOWED : RIGHTS_DENIED;
	check->by = right;
}
