/* Whole signatures: golden ones to the letter, and thousands of random messages, each verified by libopendkim.
 * WAYBILL_BLESS=1 writes the golden expectations anew; WAYBILL_MESSAGES=N and WAYBILL_SEED=N choose the random ones. */

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "common/encode.h"

#include "oracle.h"
#include "signing.h"

#define GOLDEN        "tests/golden/milter"
#define SIGNED_AT     1700000000 /* 2023-11-14, far enough in the past for every verifier's clock */
#define EXPIRES_AT    4102444800 /* 2100-01-01 */
#define BOTH          3U
#define MESSAGES      10000
#define BODIES        1000
#define RSA_SIGNATURE 1U

struct fixture {
	struct signing_keys keys;
	struct oracle *oracle;
};

static int set_up(void **state)
{
	struct fixture *fixture = calloc(1, sizeof *fixture);
	signing_open(&fixture->keys);
	fixture->oracle = oracle_new(SIGNING_KEYS);
	*state = fixture;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;
	signing_close(&fixture->keys);
	oracle_free(&fixture->oracle);
	free(fixture);
	return 0;
}

/* A file's bytes; its lines end with LF in the repository and with CRLF on the wire. */
static void read_file(const char *path, bool wire, struct buffer *out)
{
	FILE *file = fopen(path, "rb");
	for (int c; file && (c = getc(file)) != EOF;) {
		if (wire && c == '\n')
			buffer_char(out, '\r');
		buffer_char(out, (char)c);
	}
	if (file)
		fclose(file);
}

static void verify(struct fixture *fixture, struct text signatures, struct text message, int count, const char *name)
{
	struct buffer whole = {0};
	buffer_text(&whole, signatures);
	buffer_text(&whole, message);
	const char *why = oracle_verify(fixture->oracle, buffer_view(&whole), count);
	if (why)
		print_error("%s: %s\n%.*s", name, why, TEXT_ARG(signatures));
	assert_null(why);
	buffer_free(&whole);
}

static void compare(const char *path, struct text signatures)
{
	struct buffer wanted = {0};
	if (getenv("WAYBILL_BLESS")) {
		FILE *file = fopen(path, "wb");
		for (size_t i = 0; i < signatures.len; i++)
			if (signatures.ptr[i] != '\r')
				putc(signatures.ptr[i], file);
		fclose(file);
	}
	read_file(path, true, &wanted);
	if (!text_equal(buffer_view(&wanted), signatures))
		print_error("%s: wanted\n%.*sgot\n%.*s", path, TEXT_ARG(wanted), TEXT_ARG(signatures));
	assert_true(text_equal(buffer_view(&wanted), signatures));
	buffer_free(&wanted);
}

static void golden_message(struct fixture *fixture, const char *name)
{
	static const char *const profiles[DIRECTORY_PROFILE_MAX] = {"strict", "list-friendly"};
	char path[512];
	struct buffer message = {0};
	snprintf(path, sizeof path, GOLDEN "/%s", name);
	read_file(path, true, &message);
	for (size_t profile = 0; profile < DIRECTORY_PROFILE_MAX; profile++) {
		struct buffer out = {0};
		struct signing_request request = {.message = buffer_view(&message),
						  .profile = (enum directory_header_profile)profile,
						  .algorithms = BOTH,
						  .signed_at = SIGNED_AT,
						  .expires_at = EXPIRES_AT};
		signing_sign(&fixture->keys, &request, &out);
		snprintf(path, sizeof path, GOLDEN "/%.*s.%s", (int)(strlen(name) - 4), name, profiles[profile]);
		compare(path, buffer_view(&out));
		verify(fixture, buffer_view(&out), buffer_view(&message), 2, path);
		buffer_free(&out);
	}
	buffer_free(&message);
}

static void golden_messages(void **state)
{
	DIR *folder = opendir(GOLDEN);
	int ran = 0;
	assert_non_null(folder);
	for (struct dirent *entry; (entry = readdir(folder));) {
		if (!text_ends(text_of(entry->d_name), TEXT(".eml")))
			continue;
		golden_message(*state, entry->d_name);
		ran++;
	}
	closedir(folder);
	assert_true(ran >= 8);
}

static uint64_t number_from_environment(const char *name, uint64_t standard)
{
	const char *text = getenv(name);
	return text ? strtoull(text, NULL, 10) : standard;
}

static void random_messages(void **state)
{
	uint64_t count = number_from_environment("WAYBILL_MESSAGES", MESSAGES);
	uint64_t seed = number_from_environment("WAYBILL_SEED", 1);
	for (uint64_t i = seed; i < seed + count; i++) {
		struct buffer message = {0}, out = {0};
		char name[64];
		signing_generate(i, true, &message);
		struct signing_request request = {.message = buffer_view(&message),
						  .profile = (enum directory_header_profile)(i % DIRECTORY_PROFILE_MAX),
						  .algorithms = BOTH,
						  .signed_at = time(NULL),
						  .chunk = 1 + i % 4096};
		signing_sign(*state, &request, &out);
		snprintf(name, sizeof name, "WAYBILL_SEED=%llu", (unsigned long long)i);
		verify(*state, buffer_view(&out), buffer_view(&message), 2, name);
		buffer_free(&message);
		buffer_free(&out);
	}
}

static void read_pem(struct buffer *out)
{
	struct buffer base64 = {0};
	read_file(GOLDEN "/rsa.key", false, &base64);
	buffer_text(out, TEXT("-----BEGIN RSA PRIVATE KEY-----\n"));
	buffer_text(out, buffer_view(&base64));
	buffer_text(out, TEXT("-----END RSA PRIVATE KEY-----\n"));
	buffer_free(&base64);
}

static void random_body(uint64_t seed, struct buffer *out)
{
	static const char *const pieces[] = {
		"a",        " ",     "\t",   "  \t ",    "\r\n", "\r\n",
		"\r\n\r\n", " \r\n", "word", "\xc3\xa9", ".",    "A line of text that is long enough for all.\r\n"};
	uint64_t state = seed * 0x9e3779b97f4a7c15U + 1;
	size_t count = seed % 200;
	for (size_t i = 0; i < count; i++) {
		state = state * 6364136223846793005U + 1442695040888963407U; /* Knuth, MMIX */
		buffer_text(out, text_of(pieces[(state >> 33) % (sizeof pieces / sizeof *pieces)]));
	}
	buffer_text(out, TEXT("\r\n")); /* libopendkim refuses a body whose last line does not end */
}

static void our_body_hash(struct text body, struct buffer *out)
{
	unsigned char digest[SIGNER_HASH_SIZE];
	struct signer_hash *hash = signer_hash_new();
	struct canon_body canon;
	signer_hash_begin(hash);
	canon_body_begin(&canon, signer_hash_add, hash);
	canon_body_add(&canon, body);
	canon_body_end(&canon);
	signer_hash_end(hash, digest);
	encode_base64(text_at(digest, sizeof digest), out);
	signer_hash_free(&hash);
}

/* The same canonical bytes as libopendkim's. CR and LF alone are left out: RFC 6376 does not say what they are, the two
 * differ about them, and Postfix lets none pass (tests/scenario/test_survival.py). */
static void bodies_hash_as_libopendkims(void **state)
{
	struct fixture *fixture = *state;
	struct buffer pem = {0};
	read_pem(&pem);
	for (uint64_t seed = 0; seed < BODIES; seed++) {
		struct buffer body = {0}, ours = {0}, theirs = {0};
		random_body(seed, &body);
		our_body_hash(buffer_view(&body), &ours);
		const char *why = oracle_body_hash(fixture->oracle, buffer_view(&pem), buffer_view(&body),
						   1 + seed % 97, &theirs);
		if (why || !text_equal(buffer_view(&ours), buffer_view(&theirs)))
			print_error("body %llu: %s\n", (unsigned long long)seed, why ? why : "another hash");
		assert_null(why);
		assert_true(text_equal(buffer_view(&ours), buffer_view(&theirs)));
		buffer_free(&body);
		buffer_free(&ours);
		buffer_free(&theirs);
	}
	buffer_free(&pem);
}

/* The oracle can say no: a test that could not fail would prove nothing. */
static void changed_messages_fail(void **state)
{
	struct fixture *fixture = *state;
	static const struct {
		const char *from, *to;
	} changes[] = {
		{"Subject: hello", "Subject: hullo"}, {"body\r\n", "body!\r\n"}, {"To: b@", "Cc: x@y.z\r\nTo: b@"}};
	struct text message = TEXT("From: a@example.com\r\nTo: b@example.net\r\nSubject: hello\r\n\r\nbody\r\n");
	for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
		struct buffer whole = {0};
		struct signing_request request = {
			.message = message, .algorithms = RSA_SIGNATURE, .signed_at = SIGNED_AT};
		signing_sign(&fixture->keys, &request, &whole);
		size_t at = text_search(message, text_of(changes[i].from));
		buffer_text(&whole, text_head(message, at));
		buffer_text(&whole, text_of(changes[i].to));
		buffer_text(&whole, text_from(message, at + strlen(changes[i].from)));
		assert_non_null(oracle_verify(fixture->oracle, buffer_view(&whole), 1));
		buffer_free(&whole);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(golden_messages),
		cmocka_unit_test(changed_messages_fail),
		cmocka_unit_test(random_messages),
		cmocka_unit_test(bodies_hash_as_libopendkims),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
