/* The circuit breaker. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/breaker.h"

static void opens_after_three_errors_in_a_row(void **state)
{
	(void)state;
	struct breaker breaker = {0};
	assert_false(breaker_failed(&breaker, 10));
	assert_false(breaker_failed(&breaker, 11));
	assert_false(breaker_answered(&breaker));
	assert_false(breaker_failed(&breaker, 12));
	assert_false(breaker_failed(&breaker, 13));
	assert_true(breaker_allows(&breaker, 13));
	assert_true(breaker_failed(&breaker, 14));
	assert_true(breaker_is_open(&breaker));
	assert_false(breaker_failed(&breaker, 15));
}

static void lets_one_probe_through_each_second(void **state)
{
	(void)state;
	struct breaker breaker = {0};
	for (int i = 0; i < BREAKER_ERRORS; i++)
		breaker_failed(&breaker, 1000);
	assert_false(breaker_allows(&breaker, 1999));
	assert_true(breaker_allows(&breaker, 2000));
	assert_false(breaker_allows(&breaker, 2001));
	assert_false(breaker_failed(&breaker, 2010));
	assert_false(breaker_allows(&breaker, 2999));
	assert_true(breaker_allows(&breaker, 3000));
	assert_true(breaker_answered(&breaker));
	assert_true(breaker_allows(&breaker, 3001));
	assert_false(breaker_answered(&breaker));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(opens_after_three_errors_in_a_row),
		cmocka_unit_test(lets_one_probe_through_each_second),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
