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

	if (text_find(domain, '\0') != SIZE_MAX)
		return "a NUL in the domain";
	if (is_ascii(domain))
		return lower_ascii(domain, out, size);
	if (!text_put(domain, utf8, sizeof utf8))
		return "the domain is too long";
	int status = idn2_to_ascii_8z(utf8, &ascii, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL | IDN2_USE_STD3_ASCII_RULES);
	if (status != IDN2_OK)
		return idn2_strerror(status);
	const char *why = lower_ascii(text_of(ascii), out, size);
	idn2_free(ascii);
	return why;
}
