#include <string.h>
#include <sysexits.h>

#include "common/idn.h"
#include "common/network.h"
#include "common/rights.h"
#include "ctl/check.h"
#include "ctl/output.h"

/* AT is the offset of the first wrong byte; people count characters (RFC 3629), from 1. */
static int wrong_at(const char *what, const char *word, size_t at, const char *why)
{
	size_t character = 1;
	for (size_t i = 0; i < at; i++)
		character += ((unsigned char)word[i] & 0xc0) != 0x80;
	return complain(EX_DATAERR, NULL, "%s \"%s\", character %zu: %s", what, word, character, why);
}

static bool is_lower_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

#define CUSTOMER_MAX 63 /* the check of waybill.customers */

int check_customer(const char *word)
{
	size_t len = strlen(word);
	if (!len)
		return complain(EX_DATAERR, NULL, "a customer's name is missing");
	for (size_t i = 0; i < len; i++)
		if (!is_lower_alnum(word[i]) && (word[i] != '-' || i == 0))
			return wrong_at("customer", word, i, "a name has a-z, 0-9 and, not in front, \"-\"");
	return len > CUSTOMER_MAX ? wrong_at("customer", word, CUSTOMER_MAX, "longer than 63 characters") : 0;
}

int check_login(const char *word, char out[CHECK_LOGIN_SIZE])
{
	size_t len = strlen(word);
	if (!len)
		return complain(EX_DATAERR, NULL, "a login's name is missing");
	if (len >= CHECK_LOGIN_SIZE)
		return wrong_at("login", word, CHECK_LOGIN_SIZE - 1, "longer than 255 characters");
	for (size_t i = 0; i <= len; i++) {
		if (word[i] && (word[i] < '!' || word[i] > '~'))
			return wrong_at("login", word, i, "only printable ASCII without blanks");
		out[i] = (char)(word[i] >= 'A' && word[i] <= 'Z' ? word[i] - 'A' + 'a' : word[i]);
	}
	return 0;
}

/* Where the first label begins that IDNA refuses; all of them are fine alone: the end. */
static size_t refused_label(struct text domain)
{
	char out[ADDR_MAX_DOMAIN + 1];
	struct text rest = domain, label;
	while (text_take(&rest, '.', &label))
		if (idn_to_ascii(label, out, sizeof(out)))
			return (size_t)(label.ptr - domain.ptr);
	return domain.len;
}

int check_domain(const char *word, char out[ADDR_MAX_DOMAIN + 1])
{
	size_t at = 0;
	const char *why = idn_to_ascii(text_of(word), out, ADDR_MAX_DOMAIN + 1);
	if (why)
		return wrong_at("domain", word, refused_label(text_of(word)), why);
	why = addr_domain_check(text_of(out), &at);
	return why ? wrong_at("domain", out, at, why) : 0;
}

const char *domain_canonical(struct text domain, char out[ADDR_MAX_DOMAIN + 1])
{
	size_t at;
	const char *why = idn_to_ascii(domain, out, ADDR_MAX_DOMAIN + 1);
	return why ? why : addr_domain_check(text_of(out), &at);
}

static const char *address_canonical_at(struct text word, char out[ADDR_MAX + 1], size_t *at)
{
	struct addr address;
	char domain[ADDR_MAX_DOMAIN + 1];
	const char *why = addr_parse_at(word, &address, at);
	if (why)
		return why;
	*at = (size_t)(address.domain.ptr - word.ptr);
	why = domain_canonical(address.domain, domain);
	if (why)
		return why;
	address.domain = text_of(domain);
	return addr_key(address, out, ADDR_MAX + 1) ? NULL : "longer than RFC 5321 allows";
}

const char *address_canonical(struct text word, char out[ADDR_MAX + 1])
{
	size_t at;
	return address_canonical_at(word, out, &at);
}

int check_address(const char *word, char out[ADDR_MAX + 1])
{
	size_t at;
	const char *why = address_canonical_at(text_of(word), out, &at);
	return why ? wrong_at("address", word, at, why) : 0;
}

int check_networks(const char *word, struct buffer *out)
{
	struct text rest = text_of(word), piece;
	buffer_char(out, '{');
	while (rest.len && text_take(&rest, ',', &piece)) {
		struct network network;
		char spelled[NETWORK_TEXT_MAX];
		const char *why = network_parse(text_trim(piece), &network);
		if (why)
			return wrong_at("network", word, (size_t)(piece.ptr - word), why);
		network_print(&network, spelled);
		buffer_format(out, "%s%s", out->len > 1 ? "," : "", spelled);
	}
	buffer_char(out, '}');
	return 0;
}

int check_pattern(const char *word, struct buffer *out)
{
	struct text pattern = text_of(word);
	size_t at = text_rfind(pattern, '@'), wrong = 0;
	char domain[ADDR_MAX_DOMAIN + 1];
	if (at == SIZE_MAX || text_equal(text_from(pattern, at), TEXT("@owned"))) {
		buffer_text(out, pattern);
	} else {
		bool below = at + 1 < pattern.len && pattern.ptr[at + 1] == '.';
		const char *why = idn_to_ascii(text_from(pattern, at + 1 + below), domain, sizeof(domain));
		if (why)
			return wrong_at("pattern", word, at + 1, why);
		buffer_text(out, text_head(pattern, at + 1 + below));
		buffer_text(out, text_of(domain));
	}
	const char *why = rights_pattern_check(buffer_view(out), &wrong);
	return why ? wrong_at("pattern", word, wrong, why) : 0;
}

int check_spec(const char *word, char out[LIMIT_SPEC_TEXT_MAX])
{
	struct limit_spec spec;
	size_t at = 0;
	const char *why = limit_spec_parse(text_of(word), &spec, &at);
	if (why)
		return wrong_at("limit", word, at, why);
	limit_spec_print(&spec, out);
	return 0;
}

int check_choice(const char *what, const char *word, const char *const *names, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (!strcmp(word, names[i]))
			return 0;
	struct buffer list = {0};
	for (size_t i = 0; i < count; i++)
		buffer_format(&list, "%s%s", i ? ", " : "", names[i]);
	int status = complain(EX_DATAERR, NULL, "%s \"%s\" is none of: %s", what, word, buffer_string(&list));
	buffer_free(&list);
	return status;
}
