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

const char *const dkim_shown_texts[DKIM_SHOWN_MAX] = {
	[DKIM_SHOWN] = "this key",
	[DKIM_MISSING] = "no record",
	[DKIM_OTHER] = "another key",
	[DKIM_REVOKED] = "a revoked key (empty p=)",
	[DKIM_MALFORMED] = "a record that is no DKIM key",
	[DKIM_SEVERAL] = "several records",
};

bool dkim_tag(struct text list, struct text tag, struct text *value)
{
	struct text piece;
	while (list.ptr && text_take(&list, ';', &piece)) {
		size_t equals = text_find(piece, '=');
		if (equals == SIZE_MAX || !text_equal(text_trim(text_head(piece, equals)), tag))
			continue;
		*value = text_trim(text_from(piece, equals + 1));
		return true;
	}
	return false;
}

/* RFC 6376 section 3.6.1: v= must be DKIM1 when it is there, k= is rsa unless it says otherwise, h= lists hashes. */
static bool fits(struct text record, enum directory_key_algorithm algorithm)
{
	struct text value;
	if (dkim_tag(record, TEXT("h"), &value) && !text_search_fold(value, TEXT("sha256")))
		return false;
	struct text kind = dkim_tag(record, TEXT("k"), &value) ? value : TEXT("rsa");
	return text_equal(kind, algorithm == DIRECTORY_ED25519_SHA256 ? TEXT("ed25519") : TEXT("rsa"));
}

enum dkim_shown dkim_record_compare(struct text record, enum directory_key_algorithm algorithm, struct text public_key)
{
	struct buffer shown = {0};
	struct text value;
	if (dkim_tag(record, TEXT("v"), &value) && !text_equal(value, TEXT("DKIM1")))
		return DKIM_MALFORMED;
	if (!dkim_tag(record, TEXT("p"), &value))
		return DKIM_MALFORMED;
	if (!value.len)
		return DKIM_REVOKED;
	bool readable = !encode_base64_decode(value, &shown);
	bool same = readable && text_equal(buffer_view(&shown), public_key);
	buffer_free(&shown);
	if (!readable)
		return DKIM_MALFORMED;
	return same && fits(record, algorithm) ? DKIM_SHOWN : DKIM_OTHER;
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
