/* Return paths: what is made is read back by any of the keys, in any case of letters; whatever else is refused. */

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "common/digest.h"
#include "common/return_path.h"

static const struct text keys[] = {{"the key of today", 16}, {"the key of the quarter before", 29}};

static void what_is_made_is_read(void **state)
{
	static const char *const ids[] = {"4", "4F1C2A", "4bX3yZ1abczz9vQ", "zzzzzzzzzzzzzzzzzzzzzzzz", "000000000000"};
	(void)state;
	for (size_t i = 0; i < sizeof ids / sizeof *ids; i++)
		for (size_t key = 0; key < 2; key++) {
			char local[RETURN_PATH_LOCAL_SIZE];
			unsigned char customer[RETURN_PATH_CUSTOMER], node[RETURN_PATH_NODE];
			struct return_path found;
			assert_null(return_path_make(keys[key], TEXT("acme"), TEXT("mx1"), text_of(ids[i]), local));
			assert_true(strlen(local) <= 64);
			assert_null(return_path_verify(keys, 2, text_of(local), &found));
			assert_string_equal(found.queue_id, ids[i]);
			return_path_customer(TEXT("acme"), customer);
			return_path_node(TEXT("mx1"), node);
			assert_memory_equal(found.customer, customer, sizeof customer);
			assert_memory_equal(found.node, node, sizeof node);
		}
}

/* The database finds a customer by the head of the SHA-256 of its name. */
static void a_customer_is_the_head_of_its_digest(void **state)
{
	unsigned char digest[32], customer[RETURN_PATH_CUSTOMER];
	(void)state;
	digest_sha256(TEXT("acme"), digest);
	return_path_customer(TEXT("acme"), customer);
	assert_memory_equal(customer, digest, sizeof customer);
}

static void case_does_not_matter(void **state)
{
	char local[RETURN_PATH_LOCAL_SIZE];
	struct return_path found;
	(void)state;
	assert_null(return_path_make(keys[0], TEXT("acme"), TEXT("mx1"), TEXT("4bX3yZ"), local));
	for (char *c = local; *c; c++)
		if (*c >= 'a' && *c <= 'z')
			*c = (char)(*c - 'a' + 'A');
	assert_null(return_path_verify(keys, 1, text_of(local), &found));
	assert_string_equal(found.queue_id, "4bX3yZ");
}

static void every_change_is_found(void **state)
{
	char local[RETURN_PATH_LOCAL_SIZE];
	struct return_path found;
	(void)state;
	assert_null(return_path_make(keys[0], TEXT("acme"), TEXT("mx1"), TEXT("4F1C2A"), local));
	assert_non_null(return_path_verify(keys + 1, 1, text_of(local), &found));
	assert_non_null(return_path_verify(keys, 0, text_of(local), &found));
	for (size_t i = 0; i < strlen(local); i++) {
		char was = local[i];
		local[i] = was == 'k' ? 'l' : 'k';
		assert_non_null(return_path_verify(keys, 2, text_of(local), &found));
		assert_non_null(return_path_verify(keys, 2, text_at(local, i), &found));
		local[i] = was;
	}
	assert_non_null(return_path_verify(keys, 2, TEXT(""), &found));
	assert_non_null(return_path_verify(keys, 2, TEXT("b+"), &found));
	assert_non_null(return_path_verify(keys, 2, TEXT("bounces+abcdefgh"), &found));
	assert_non_null(return_path_verify(keys, 2, TEXT("b+not-base32"), &found));
}

static void queue_ids_that_do_not_fit(void **state)
{
	char local[RETURN_PATH_LOCAL_SIZE];
	(void)state;
	assert_non_null(return_path_make(keys[0], TEXT("acme"), TEXT("mx1"), TEXT(""), local));
	assert_non_null(return_path_make(keys[0], TEXT("acme"), TEXT("mx1"), TEXT("4F-1C"), local));
	assert_non_null(return_path_make(keys[0], TEXT("acme"), TEXT("mx1"), text_at("4\0F", 3), local));
	assert_non_null(return_path_make(keys[0], TEXT("acme"), TEXT("mx1"), TEXT("zzzzzzzzzzzzzzzzzzzzzzzzz"), local));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_made_is_read),      cmocka_unit_test(a_customer_is_the_head_of_its_digest),
		cmocka_unit_test(case_does_not_matter),      cmocka_unit_test(every_change_is_found),
		cmocka_unit_test(queue_ids_that_do_not_fit),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
