#include <stdio.h>

#include "common/encode.h"
#include "ctl/dkim_record.h"

const char *const dkim_algorithm_names[DIRECTORY_ALGORITHM_MAX] = {
	[DIRECTORY_RSA_SHA256] = "rsa-sha256",
	[DIRECTORY_ED25519_SHA256] = "ed25519-sha256",
};

#define TXT_STRING_MAX 255 /* RFC 1035 section 3.3: a character-string */
#define ZONE_TTL       3600

static const char *suffix(enum directory_key_algorithm algorithm)
{
	return algorithm == DIRECTORY_ED25519_SHA256 ? "e" : "";
}

void dkim_selector(int year, int month, enum directory_key_algorithm algorithm, unsigned nth,
		   char out[DKIM_SELECTOR_SIZE])
{
	int len = snprintf(out, DKIM_SELECTOR_SIZE, "s%04dq%d%s", year % 10000, (month - 1) / 3 + 1, suffix(algorithm));
	if (!nth)
		return;
	/* b to y, then zb, zc, …: no letter stands for "first", and e is Ed25519's. */
	static const char letters[] = "bcdfghjklmnpqrstuvwxy";
	for (nth--; nth >= sizeof(letters) - 1 && len < DKIM_SELECTOR_SIZE - 2; nth -= sizeof(letters) - 1)
		out[len++] = 'z';
	out[len++] = letters[nth % (sizeof(letters) - 1)];
	out[len] = '\0';
}

void dkim_slot(unsigned slot, enum directory_key_algorithm algorithm, char out[DKIM_SELECTOR_SIZE])
{
	snprintf(out, DKIM_SELECTOR_SIZE, "wb%u%s", slot, suffix(algorithm));
}

void dkim_record_text(enum directory_key_algorithm algorithm, struct text public_key, struct buffer *out)
{
	buffer_text(out, TEXT("v=DKIM1; k="));
	buffer_text(out, algorithm == DIRECTORY_ED25519_SHA256 ? TEXT("ed25519") : TEXT("rsa"));
	buffer_text(out, TEXT("; p="));
	encode_base64(public_key, out);
}

bool dkim_string_next(struct text *value, struct text *string)
{
	*string = text_head(*value, TXT_STRING_MAX);
	*value = text_from(*value, string->len);
	return string->len > 0;
}

/* RFC 1035 section 5.1: quotes and backslashes are escaped inside a quoted string. */
static void quoted(struct text string, struct buffer *out)
{
	buffer_char(out, '"');
	for (size_t i = 0; i < string.len; i++) {
		if (string.ptr[i] == '"' || string.ptr[i] == '\\')
			buffer_char(out, '\\');
		buffer_char(out, string.ptr[i]);
	}
	buffer_char(out, '"');
}

void dkim_zone_line(struct text name, struct text type, struct text value, struct buffer *out)
{
	struct text string;
	buffer_format(out, "%.*s. %d IN %.*s", TEXT_ARG(name), ZONE_TTL, TEXT_ARG(type));
	if (!text_equal(type, TEXT("TXT"))) {
		buffer_format(out, " %.*s.\n", TEXT_ARG(value));
		return;
	}
	while (dkim_string_next(&value, &string)) {
		buffer_char(out, ' ');
		quoted(string, out);
	}
	buffer_char(out, '\n');
}
