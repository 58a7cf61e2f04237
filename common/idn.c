#include <idn2.h>

#include "common/addr.h"
#include "common/idn.h"

static bool is_ascii(struct text t)
{
	for (size_t i = 0; i < t.len; i++)
		if ((unsigned char)t.ptr[i] >= 0x80)
			return false;
	return true;
}

/* Letters, digits, hyphens and dots, as far as it is ASCII. libidn2's own rule (IDN2_USE_STD3_ASCII_RULES) drops other
 * characters silently. */
static bool is_ldh(struct text t)
{
	for (size_t i = 0; i < t.len; i++) {
		unsigned char c = (unsigned char)t.ptr[i];
		bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
		if (!letter && c != '-' && c != '.' && c < 0x80)
			return false;
	}
	return true;
}

static const char *lower_ascii(struct text domain, char *out, size_t size)
{
	if (!text_put(domain, out, size))
		return "the domain is too long";
	for (char *c = out; *c; c++)
		if (*c >= 'A' && *c <= 'Z')
			*c = (char)(*c - 'A' + 'a');
	return NULL;
}

const char *idn_to_ascii(struct text domain, char *out, size_t size)
{
	char utf8[ADDR_MAX_DOMAIN * 4 + 1], *ascii = NULL;

	if (is_ascii(domain) && text_find(domain, '\0') == SIZE_MAX)
		return lower_ascii(domain, out, size);
	if (!is_ldh(domain))
		return "a character that no host name has";
	if (!text_put(domain, utf8, sizeof utf8))
		return "the domain is too long";
	int status = idn2_to_ascii_8z(utf8, &ascii, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL);
	if (status != IDN2_OK)
		return idn2_strerror(status);
	/* A full-width "@" has become an "@". */
	const char *why =
		is_ldh(text_of(ascii)) ? lower_ascii(text_of(ascii), out, size) : "a character that no host name has";
	idn2_free(ascii);
	return why;
}
