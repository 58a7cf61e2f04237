/* milter/keys: the cache finds, replaces, refuses, evicts, and may be used by many threads. */

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/encode.h"
#include "common/seal.h"

#include "milter/keys.h"
#include "milter/signer.h"

#define THREADS   8
#define ROUNDS    400
#define SELECTORS 12

struct fixture {
	char folder[64], path[96];
	struct seal *seal;
	struct buffer der, public;
	struct keys *keys;
};

/* What stands in the file at PATH as base64, behind the last "p=" if there is one. */
static void read_base64(const char *path, struct buffer *out)
{
	char bytes[1024];
	FILE *file = fopen(path, "r");
	size_t len = file ? fread(bytes, 1, sizeof bytes, file) : 0;
	struct text text = text_at(bytes, len);
	if (file)
		fclose(file);
	for (size_t at; (at = text_search(text, TEXT("p="))) != SIZE_MAX;)
		text = text_from(text, at + 2);
	assert_null(encode_base64_decode(text, out));
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);
	char *error = NULL;
	snprintf(f->folder, sizeof f->folder, "/tmp/waybill-keys-XXXXXX");
	assert_non_null(mkdtemp(f->folder));
	snprintf(f->path, sizeof f->path, "%s/seal.key", f->folder);
	assert_int_equal(seal_create(f->path), 0);
	f->seal = seal_open(f->path, &error);
	assert_non_null(f->seal);
	read_base64("tests/golden/milter/ed25519.key", &f->der);
	read_base64("tests/golden/milter/keys", &f->public);
	f->keys = keys_new(f->seal, 4);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;
	keys_free(&f->keys);
	seal_close(&f->seal);
	seal_wipe(&f->der);
	buffer_free(&f->public);
	unlink(f->path);
	rmdir(f->folder);
	free(f);
	return 0;
}

/* A record of example.com with SELECTOR, sealed anew into SEALED. */
static struct directory_key record(const struct fixture *f, const char *selector, struct buffer *sealed)
{
	char name[64];
	snprintf(name, sizeof name, "example.com %s", selector);
	assert_int_equal(seal_secret(f->seal, buffer_view(&f->der), text_of(name), sealed), 0);
	return (struct directory_key){.selector = text_of(selector),
				      .algorithm = DIRECTORY_ED25519_SHA256,
				      .state = DIRECTORY_KEY_ACTIVE,
				      .sealed = buffer_view(sealed),
				      .public_key = buffer_view(&f->public)};
}

static struct keys_entry *take(struct fixture *f, const struct directory_key *key, const char **why)
{
	return keys_take(f->keys, TEXT("example.com"), key, why);
}

static void a_key_is_parsed_once(void **state)
{
	struct fixture *f = *state;
	struct buffer sealed = {0};
	struct directory_key key = record(f, "a", &sealed);
	const char *why;
	struct keys_entry *first = take(f, &key, &why), *second = take(f, &key, &why);
	assert_non_null(first);
	assert_null(why);
	assert_ptr_equal(keys_signer(first), keys_signer(second));
	keys_release(f->keys, first);
	keys_release(f->keys, second);
	buffer_free(&sealed);
}

static void a_damaged_seal_is_refused_alone(void **state)
{
	struct fixture *f = *state;
	struct buffer sealed = {0}, other = {0};
	struct directory_key bad = record(f, "bad", &sealed), good = record(f, "good", &other);
	const char *why;
	sealed.ptr[sealed.len - 1] ^= 1;
	for (int i = 0; i < 3; i++) {
		assert_null(take(f, &bad, &why));
		assert_non_null(why);
		struct keys_entry *entry = take(f, &good, &why);
		assert_non_null(entry);
		assert_null(why);
		keys_release(f->keys, entry);
	}
	buffer_free(&sealed);
	buffer_free(&other);
}

static void the_last_good_one_stays_and_is_told_of(void **state)
{
	struct fixture *f = *state;
	struct buffer sealed = {0}, again = {0};
	struct directory_key good = record(f, "a", &sealed), bad = record(f, "a", &again);
	const char *why;
	again.ptr[again.len - 1] ^= 1;
	struct keys_entry *entry = take(f, &good, &why), *kept = take(f, &bad, &why);
	assert_ptr_equal(kept, entry);
	assert_non_null(why);
	keys_release(f->keys, kept);
	keys_release(f->keys, take(f, &bad, &why));
	assert_non_null(why);
	keys_release(f->keys, take(f, &good, &why));
	assert_null(why);
	keys_release(f->keys, entry);
	buffer_free(&sealed);
	buffer_free(&again);
}

/* A reload: what was sealed under a key unknown before is tried again, what is in memory stays. */
static void a_renewed_seal_opens_what_the_former_could_not(void **state)
{
	struct fixture *f = *state;
	struct buffer sealed = {0}, other = {0};
	struct directory_key known = record(f, "a", &sealed);
	const char *why;
	char *error = NULL;
	struct keys_entry *entry = take(f, &known, &why);
	struct seal *former = f->seal;
	assert_int_equal(unlink(f->path) | seal_create(f->path), 0);
	f->seal = seal_open(f->path, &error);
	struct directory_key new = record(f, "b", &other);
	assert_null(take(f, &new, &why));
	assert_non_null(why);
	keys_renew_seal(f->keys, f->seal);
	seal_close(&former);
	struct keys_entry *opened = take(f, &new, &why), *kept = take(f, &known, &why);
	assert_non_null(opened);
	assert_ptr_equal(kept, entry);
	keys_release(f->keys, opened);
	keys_release(f->keys, kept);
	keys_release(f->keys, entry);
	buffer_free(&sealed);
	buffer_free(&other);
}

static void another_public_half_or_none_is_refused(void **state)
{
	struct fixture *f = *state;
	struct buffer sealed = {0};
	struct directory_key key = record(f, "p", &sealed);
	const char *why;
	key.public_key = TEXT("0123456789abcdef0123456789abcdef");
	assert_null(take(f, &key, &why));
	assert_string_equal(why, "the private key does not fit the public key of its record");
	buffer_free(&sealed);
	key = record(f, "q", &sealed);
	key.public_key = TEXT("");
	assert_null(take(f, &key, &why));
	assert_string_equal(why, "its public half is missing, so it cannot be compared");
	buffer_free(&sealed);
}

/* A key in use when its successor arrives, or when the cache is full, stays whole until it is given back. */
static void a_key_in_use_outlives_its_place(void **state)
{
	struct fixture *f = *state;
	struct buffer sealed = {0}, again = {0}, signature = {0};
	struct directory_key old = record(f, "a", &sealed), new = record(f, "a", &again);
	const char *why;
	struct keys_entry *held = take(f, &old, &why), *next = take(f, &new, &why);
	if (!next)
		print_error("%s\n", why);
	assert_non_null(next);
	assert_ptr_not_equal(keys_signer(held), keys_signer(next));
	keys_release(f->keys, next);
	for (int i = 0; i < 20; i++) {
		struct buffer other = {0};
		char selector[16];
		snprintf(selector, sizeof selector, "s%d", i);
		struct directory_key key = record(f, selector, &other);
		keys_release(f->keys, take(f, &key, &why));
		buffer_free(&other);
	}
	assert_int_equal(signer_sign(keys_signer(held), TEXT("data"), &signature), 0);
	assert_int_equal(signature.len, 88); /* base64 of 64 bytes */
	keys_release(f->keys, held);
	buffer_free(&sealed);
	buffer_free(&again);
	buffer_free(&signature);
}

struct shared {
	struct fixture *f;
	struct directory_key records[SELECTORS];
	unsigned seed;
};

static void *hammer(void *argument)
{
	struct shared *shared = argument;
	unsigned seed = __atomic_add_fetch(&shared->seed, 1, __ATOMIC_RELAXED);
	for (int i = 0; i < ROUNDS; i++) {
		const char *why;
		struct buffer signature = {0};
		seed = seed * 1103515245 + 12345;
		struct keys_entry *entry = take(shared->f, &shared->records[(seed >> 16) % SELECTORS], &why);
		if (!entry || signer_sign(keys_signer(entry), TEXT("data"), &signature) != 0)
			abort();
		keys_release(shared->f->keys, entry);
		buffer_free(&signature);
	}
	return NULL;
}

static void many_threads(void **state)
{
	struct shared shared = {.f = *state};
	struct buffer sealed[SELECTORS] = {0};
	char names[SELECTORS][16];
	pthread_t threads[THREADS];
	for (int i = 0; i < SELECTORS; i++) {
		snprintf(names[i], sizeof names[i], "t%d", i / 2); /* two forms of each, that replace one another */
		shared.records[i] = record(shared.f, names[i], &sealed[i]);
	}
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, hammer, &shared), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	for (int i = 0; i < SELECTORS; i++)
		buffer_free(&sealed[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_key_is_parsed_once, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_damaged_seal_is_refused_alone, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_last_good_one_stays_and_is_told_of, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_renewed_seal_opens_what_the_former_could_not, set_up, tear_down),
		cmocka_unit_test_setup_teardown(another_public_half_or_none_is_refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_key_in_use_outlives_its_place, set_up, tear_down),
		cmocka_unit_test_setup_teardown(many_threads, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
