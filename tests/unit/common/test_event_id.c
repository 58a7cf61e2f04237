/* Event ids: golden values, made by another program; and that no two identities share their material. */

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "common/digest.h"
#include "common/event_id.h"

static struct event_identity sample(void)
{
	return (struct event_identity){
		.host = TEXT("mx1.example"),
		.instance = TEXT("postfix"),
		.queue_id = TEXT("4ZXyz1234"),
		.recipient = TEXT("bob@example.com"),
		.type = TEXT("deferred"),
		.session_start_us = 1790000000123456,
		.ordinal = 2,
	};
}

static void print(const struct event_identity *identity, char out[EVENT_ID_SIZE])
{
	struct buffer material = {0};
	unsigned char digest[32];
	event_id_material(identity, &material);
	digest_sha256(buffer_view(&material), digest);
	event_id_print(digest, out);
	buffer_free(&material);
}

static void golden(void **state)
{
	struct event_identity identity = sample();
	unsigned char ones[32];
	char out[EVENT_ID_SIZE];
	(void)state;
	print(&identity, out);
	assert_string_equal(out, "evt_6hdbryabkn4dmt532udg7pelkq");
	memset(ones, 0xff, sizeof ones);
	event_id_print(ones, out);
	assert_string_equal(out, "evt_77777777777777777777777774");
}

static void every_field_counts(void **state)
{
	struct event_identity others[8];
	char ids[9][EVENT_ID_SIZE];
	(void)state;
	for (size_t i = 0; i < 8; i++)
		others[i] = sample();
	others[0].host = TEXT("mx2.example");
	others[1].instance = TEXT("postfix-2");
	others[2].queue_id = TEXT("4ZXyz1235");
	others[3].recipient = TEXT("bob@example.org");
	others[4].type = TEXT("delivered");
	others[5].session_start_us++;
	others[6].ordinal++;
	others[7].host = TEXT("mx1.examplep"); /* the same bytes in a row, cut elsewhere */
	others[7].instance = TEXT("ostfix");
	for (size_t i = 0; i < 8; i++)
		print(&others[i], ids[i]);
	struct event_identity first = sample();
	print(&first, ids[8]);
	for (size_t i = 0; i < 9; i++)
		for (size_t k = 0; k < i; k++)
			assert_string_not_equal(ids[i], ids[k]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(golden), cmocka_unit_test(every_field_counts)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
