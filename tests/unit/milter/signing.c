#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/encode.h"

#include "milter/signature.h"
#include "signing.h"

static void read_key(const char *path, enum directory_key_algorithm algorithm, struct signing_keys *keys)
{
	char text[4096];
	FILE *file = fopen(path, "r");
	size_t len = file ? fread(text, 1, sizeof text, file) : 0;
	struct buffer der = {0};
	const char *why = "missing";
	if (file)
		fclose(file);
	if (!encode_base64_decode(text_at(text, len), &der))
		keys->keys[algorithm] = signer_key_parse(algorithm, buffer_view(&der), TEXT(""), &why);
	buffer_free(&der);
	if (!keys->keys[algorithm]) {
		fprintf(stderr, "%s: %s\n", path, why);
		exit(1);
	}
}

void signing_open(struct signing_keys *keys)
{
	read_key("tests/golden/milter/rsa.key", DIRECTORY_RSA_SHA256, keys);
	read_key("tests/golden/milter/ed25519.key", DIRECTORY_ED25519_SHA256, keys);
}

void signing_close(struct signing_keys *keys)
{
	for (size_t i = 0; i < DIRECTORY_ALGORITHM_MAX; i++)
		signer_key_free(&keys->keys[i]);
}

/* As Postfix hands a header to a milter: folded with LF, without the blank behind the colon. */
static void add_field(struct session *session, struct text field)
{
	struct buffer value = {0};
	size_t colon = text_find(field, ':');
	struct text rest = text_from(field, colon + 1);
	if (rest.len && rest.ptr[0] == ' ')
		rest = text_from(rest, 1);
	for (size_t i = 0; i < rest.len; i++)
		if (rest.ptr[i] != '\r' || i + 1 == rest.len || rest.ptr[i + 1] != '\n')
			buffer_char(&value, rest.ptr[i]);
	session_field(session, text_head(field, colon), buffer_view(&value));
	buffer_free(&value);
}

static struct text add_fields(struct session *session, struct text message)
{
	while (message.len && !text_starts(message, TEXT("\r\n"))) {
		size_t end = 0;
		do
			end += text_search(text_from(message, end), TEXT("\r\n")) + 2;
		while (end < message.len && (message.ptr[end] == ' ' || message.ptr[end] == '\t'));
		add_field(session, text_head(message, end - 2));
		message = text_from(message, end);
	}
	return text_from(message, 2);
}

static void add_wire(struct text value, struct buffer *out)
{
	buffer_text(out, TEXT(SIGNATURE_FIELD ": "));
	for (size_t i = 0; i < value.len; i++) {
		if (value.ptr[i] == '\n')
			buffer_char(out, '\r');
		buffer_char(out, value.ptr[i]);
	}
	buffer_text(out, TEXT("\r\n"));
}

static void sign_one(const struct signer_key *key, const struct signature *signature, struct text fields,
		     struct buffer *out)
{
	struct buffer value = {0}, data = {0}, base64 = {0};
	signature_begin(signature, &value);
	buffer_text(&data, fields);
	signature_canon(buffer_view(&value), &data);
	if (signer_sign(key, buffer_view(&data), &base64) != 0)
		abort();
	signature_end(buffer_view(&base64), &value);
	add_wire(buffer_view(&value), out);
	buffer_free(&value);
	buffer_free(&data);
	buffer_free(&base64);
}

static void body_hash(struct session *session, struct text body, size_t chunk, struct signer_hash *hash,
		      struct buffer *out)
{
	unsigned char digest[SIGNER_HASH_SIZE];
	for (size_t at = 0; at < body.len; at += chunk)
		session_body(session, text_head(text_from(body, at), chunk));
	canon_body_end(&session->body);
	signer_hash_end(hash, digest);
	encode_base64(text_at(digest, sizeof digest), out);
}

void signing_sign(const struct signing_keys *keys, const struct signing_request *request, struct buffer *out)
{
	static const char *const selectors[DIRECTORY_ALGORITHM_MAX] = {"rsa", "ed"};
	struct session *session = calloc(1, sizeof *session);
	struct signer_hash *hash = signer_hash_new();
	struct buffer names = {0}, fields = {0}, digest = {0};
	signer_hash_begin(hash);
	session_begin(session, TEXT("<a@" SIGNING_DOMAIN ">"), signer_hash_add, hash);
	body_hash(session, add_fields(session, request->message), request->chunk ? request->chunk : 65535, hash,
		  &digest);
	fields_select(&session->fields, request->profile, &names, &fields);
	struct signature signature = {.domain = TEXT(SIGNING_DOMAIN),
				      .names = buffer_view(&names),
				      .body_hash = buffer_view(&digest),
				      .signed_at = request->signed_at,
				      .expires_at = request->expires_at};
	for (unsigned i = 0; i < DIRECTORY_ALGORITHM_MAX; i++) {
		if (!(request->algorithms & 1U << i))
			continue;
		signature.algorithm = (enum directory_key_algorithm)i;
		signature.selector = text_of(selectors[i]);
		sign_one(keys->keys[i], &signature, buffer_view(&fields), out);
	}
	buffer_free(&names);
	buffer_free(&fields);
	buffer_free(&digest);
	signer_hash_free(&hash);
	session_free(session);
	free(session);
}

/* xorshift64* (Vigna 2016): the same seed gives the same message everywhere. */
static uint64_t next_random(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * 0x2545f4914f6cdd1dU;
}

static size_t below(uint64_t *state, size_t bound)
{
	return (size_t)((next_random(state) >> 33) % bound);
}

static const char *const names[] = {
	"To",
	"Cc",
	"Subject",
	"Date",
	"Reply-To",
	"Message-ID",
	"MIME-Version",
	"Content-Type",
	"Content-Transfer-Encoding",
	"References",
	"Sender",
	"Resent-From",
	"List-Id",
	"List-Unsubscribe",
	"List-Unsubscribe-Post",
	"Feedback-ID",
	"X-Mailer",
	"Received",
	"SUBJECT",
	"tO",
	"Comments",
	"Keywords",
	"DKIM-Filter",
	"X-",
};

/* What a header value or a body line is made of. */
static const char *const words[] = {
	"word",
	"a",
	" ",
	"  ",
	"\t",
	" \t ",
	"x=y;",
	":",
	"<a@b.example>",
	"=?utf-8?Q?=C3=A9?=",
	"\xc3\xa9\xe2\x82\xac",
	"\xff\xfe",
	"\"q\"",
	"(c)",
	"\x01",
	"\\",
	"%s",
	"l=0;",
	"b=",
	"..",
	"From ",
};
#define WORDS (sizeof words / sizeof *words)

static void add_value(uint64_t *state, size_t pieces, struct buffer *out)
{
	static const char *const folds[] = {"\r\n ", "\r\n\t", "\r\n  \t"};
	bool solid = true; /* this line has more than blanks, so it may end here */
	buffer_char(out, ' ');
	for (size_t i = 0; i < pieces; i++) {
		if (below(state, 6) == 0 && solid) {
			buffer_text(out, text_of(folds[below(state, 3)]));
			solid = false;
		}
		const char *word = words[below(state, WORDS)];
		buffer_text(out, text_of(word));
		solid = solid || (word[0] != ' ' && word[0] != '\t');
	}
	if (!solid)
		buffer_char(out, '.');
}

static void add_header(uint64_t *state, bool obsolete, struct buffer *out)
{
	size_t fields = below(state, 25), from = below(state, fields + 1);
	bool large = below(state, 500) == 0;
	for (size_t i = 0; i <= fields; i++) {
		if (i == from) {
			buffer_text(out, TEXT("From:"));
			add_value(state, below(state, 4), out);
			buffer_text(out, TEXT(" <a@" SIGNING_DOMAIN ">\r\n"));
			continue;
		}
		buffer_text(out, text_of(names[below(state, sizeof names / sizeof *names)]));
		if (below(state, 20) == 0 && obsolete)
			buffer_char(out, ' ');
		buffer_char(out, ':');
		add_value(state, large ? 3000 : below(state, 30), out);
		buffer_text(out, TEXT("\r\n"));
	}
}

static void add_body(uint64_t *state, struct buffer *out)
{
	static const size_t sizes[] = {0, 1, 2, 5, 20, 100, 1000, 5000};
	size_t pieces = sizes[below(state, sizeof sizes / sizeof *sizes)];
	for (size_t i = 0; i < pieces; i++)
		buffer_text(out, below(state, 5) == 0 ? TEXT("\r\n") : text_of(words[below(state, WORDS)]));
	/* SMTP has no body whose last line is not ended. */
	for (size_t blank = below(state, 4) + (pieces ? 1 : 0); blank; blank--)
		buffer_text(out, TEXT("\r\n"));
}

void signing_generate(uint64_t seed, bool obsolete, struct buffer *out)
{
	uint64_t state = seed * 0x9e3779b97f4a7c15U + 1;
	for (int i = 0; i < 4; i++)
		next_random(&state);
	add_header(&state, obsolete, out);
	buffer_text(out, TEXT("\r\n"));
	add_body(&state, out);
}
