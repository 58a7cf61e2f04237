#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bouncer/retry.h"

#define S INT64_C(1000)
#define M (60 * S)
#define H (60 * M)

static void test_ladder(void **state)
{
	static const int64_t ladder[RETRY_TRIES + 1] = {0,     0,      5 * S,  5 * M,  30 * M, 2 * H,
							5 * H, 10 * H, 14 * H, 20 * H, 24 * H};
	int64_t total = 0;
	(void)state;
	for (int try = 1; try < RETRY_TRIES; try++) {
		struct retry_verdict least = retry_decide(try, 500, 0, 0), most = retry_decide(try, 500, 0, UINT32_MAX);
		assert_int_equal(least.outcome, RETRY_AGAIN);
		assert_int_equal(least.wait_ms, ladder[try + 1]);
		assert_int_equal(most.wait_ms, ladder[try + 1] + ladder[try + 1] / 5);
		assert_int_equal(least.pause_ms, 0);
		total += least.wait_ms;
	}
	assert_true(total > 75 * H && total < 76 * H);
	assert_int_equal(retry_decide(RETRY_TRIES, 500, 0, 0).outcome, RETRY_EXHAUSTED);
	assert_int_equal(retry_decide(RETRY_TRIES + 1, 0, 0, 0).outcome, RETRY_EXHAUSTED);
}

static void test_status(void **state)
{
	static const struct {
		int status;
		enum retry_outcome outcome;
	} rows[] = {
		{200, RETRY_DELIVERED}, {201, RETRY_DELIVERED}, {202, RETRY_DELIVERED}, {204, RETRY_DELIVERED},
		{299, RETRY_DELIVERED}, {0, RETRY_AGAIN},       {100, RETRY_AGAIN},     {199, RETRY_AGAIN},
		{300, RETRY_AGAIN},     {301, RETRY_AGAIN},     {302, RETRY_AGAIN},     {307, RETRY_AGAIN},
		{308, RETRY_AGAIN},     {400, RETRY_AGAIN},     {401, RETRY_AGAIN},     {403, RETRY_AGAIN},
		{404, RETRY_AGAIN},     {409, RETRY_AGAIN},     {411, RETRY_AGAIN},     {429, RETRY_AGAIN},
		{410, RETRY_GONE},      {500, RETRY_AGAIN},     {502, RETRY_AGAIN},     {503, RETRY_AGAIN},
		{599, RETRY_AGAIN},     {999, RETRY_AGAIN},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (retry_decide(1, rows[i].status, 0, 0).outcome != rows[i].outcome)
			fail_msg("status %d", rows[i].status);
}

static void test_retry_after(void **state)
{
	static const struct {
		int status, try;
		int64_t asked, wait, pause;
	} rows[] = {
		{429, 1, 60 * S, 60 * S, 60 * S},
		{503, 1, 60 * S, 60 * S, 60 * S},
		{429, 1, 1 * S, 5 * S, 1 * S}, /* never sooner than the ladder */
		{429, 5, 60 * S, 5 * H, 60 * S},
		{429, 1, 48 * H, 24 * H, 24 * H}, /* a day at most */
		{429, 1, 0, 5 * S, 0},
		{500, 1, 60 * S, 5 * S, 0}, /* only those two may ask */
		{302, 1, 60 * S, 5 * S, 0},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct retry_verdict v = retry_decide(rows[i].try, rows[i].status, rows[i].asked, 0);
		if (v.wait_ms != rows[i].wait || v.pause_ms != rows[i].pause)
			fail_msg("row %zu: wait %lld, pause %lld", i, (long long)v.wait_ms, (long long)v.pause_ms);
	}
	assert_int_equal(retry_decide(RETRY_TRIES, 429, 60 * S, 0).outcome, RETRY_EXHAUSTED);
	assert_int_equal(retry_decide(RETRY_TRIES, 429, 60 * S, 0).pause_ms, 60 * S);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ladder),
		cmocka_unit_test(test_status),
		cmocka_unit_test(test_retry_after),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
