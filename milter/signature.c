#include <inttypes.h>
#include <stdio.h>

#include "milter/canon.h"
#include "milter/signature.h"

/* RFC 5322 section 2.1.1 asks for 78 at most. */
#define LINE_COLUMNS 76

const char *const signature_algorithms[DIRECTORY_ALGORITHM_MAX] = {
	[DIRECTORY_RSA_SHA256] = "rsa-sha256", [DIRECTORY_ED25519_SHA256] = "ed25519-sha256", /* RFC 8463 */
};

/* The width of the line that OUT ends with; a TAB counts for the 8 it may take. */
static size_t column(const struct buffer *out)
{
	size_t newline = text_rfind(buffer_view(out), '\n');
	if (newline == SIZE_MAX)
		return sizeof SIGNATURE_FIELD ": " - 1 + out->len;
	return out->len - newline - 2 + 8;
}

/* Appends a piece that must not be broken, on a new line when this one is full. */
static void add_piece(struct buffer *out, struct text piece)
{
	bool full = column(out) + piece.len > LINE_COLUMNS;
	if (full)
		buffer_text(out, TEXT("\n\t"));
	buffer_text(out, piece);
}

static void add_tag(struct buffer *out, struct text piece)
{
	if (column(out) + 1 + piece.len > LINE_COLUMNS)
		buffer_text(out, TEXT("\n\t"));
	else if (out->len)
		buffer_char(out, ' ');
	buffer_text(out, piece);
}

static void add_text_tag(struct buffer *out, const char *tag, struct text value)
{
	struct buffer piece = {0};
	buffer_format(&piece, "%s=%.*s;", tag, TEXT_ARG(value));
	add_tag(out, buffer_view(&piece));
	buffer_free(&piece);
}

static void add_time_tag(struct buffer *out, const char *tag, int64_t seconds)
{
	char digits[24];
	snprintf(digits, sizeof digits, "%" PRId64, seconds);
	add_text_tag(out, tag, text_of(digits));
}

/* White space may stand around the colons of h= (section 3.5). */
static void add_names(struct buffer *out, struct text names)
{
	add_tag(out, TEXT("h="));
	for (size_t from = 0; from < names.len;) {
		struct text rest = text_from(names, from);
		size_t colon = text_find(rest, ':'), len = colon == SIZE_MAX ? rest.len : colon + 1;
		add_piece(out, text_head(rest, len));
		from += len;
	}
	buffer_char(out, ';');
}

void signature_begin(const struct signature *signature, struct buffer *out)
{
	struct buffer value = {0};
	buffer_format(&value, "v=1; a=%s; c=relaxed/relaxed;", signature_algorithms[signature->algorithm]);
	add_text_tag(&value, "d", signature->domain);
	add_text_tag(&value, "s", signature->selector);
	add_time_tag(&value, "t", signature->signed_at);
	if (signature->expires_at)
		add_time_tag(&value, "x", signature->expires_at);
	add_names(&value, signature->names);
	add_text_tag(&value, "bh", signature->body_hash);
	buffer_text(&value, TEXT("\n\tb="));
	buffer_text(out, buffer_view(&value));
	buffer_free(&value);
}

void signature_canon(struct text value, struct buffer *canon)
{
	canon_header(TEXT(SIGNATURE_FIELD), value, canon);
}

void signature_end(struct text base64, struct buffer *out)
{
	size_t room = LINE_COLUMNS - 8 - (sizeof "b=" - 1);
	while (base64.len > room) {
		buffer_text(out, text_head(base64, room));
		buffer_text(out, TEXT("\n\t"));
		base64 = text_from(base64, room);
		room = LINE_COLUMNS - 8;
	}
	buffer_text(out, base64);
}
