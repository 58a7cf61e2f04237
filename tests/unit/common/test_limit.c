/* Limits: grammar, windows, arithmetic. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/limit.h"

#define SECOND INT64_C(1000000)
#define NOW    INT64_C(1795190400000000)

static const struct {
	const char *spec;
	int64_t amount, burst;
	enum limit_period period;
	const char *printed;
} good[] = {
	{"100/h", 100, 100, LIMIT_HOUR, "100/h"},
	{"20/s burst 100", 20, 100, LIMIT_SECOND, "20/s burst 100"},
	{"  5/min   burst   5  ", 5, 5, LIMIT_MINUTE, "5/min"},
	{"50k/day", 50000, 50000, LIMIT_DAY, "50000/day"},
	{"1M/month", 1000000, 1000000, LIMIT_MONTH, "1000000/month"},
	{"1000G/month", LIMIT_MAX_AMOUNT, LIMIT_MAX_AMOUNT, LIMIT_MONTH, "1000000000000/month"},
	{"0/h", 0, 0, LIMIT_HOUR, "0/h"},
	{"1/s burst 2k", 1, 2000, LIMIT_SECOND, "1/s burst 2000"},
};

static void parses_what_is_a_limit(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		struct limit_spec spec;
		char printed[LIMIT_SPEC_TEXT_MAX];
		size_t at;
		assert_null(limit_spec_parse(text_of(good[i].spec), &spec, &at));
		assert_int_equal(spec.amount, good[i].amount);
		assert_int_equal(spec.burst, good[i].burst);
		assert_int_equal(spec.period, good[i].period);
		limit_spec_print(&spec, printed);
		assert_string_equal(printed, good[i].printed);
		assert_null(limit_spec_parse(text_of(printed), &spec, &at));
		assert_int_equal(spec.burst, good[i].burst);
	}
}

static const struct {
	const char *spec;
	size_t at;
	const char *why;
} bad[] = {
	{"", 0, "a number is missing"},
	{"x/h", 0, "a number is missing"},
	{"-1/h", 0, "a number is missing"},
	{"1001G/h", 0, "the number is too large"},
	{"99999999999999999999/h", 0, "the number is too large"},
	{"100", 3, "a slash must follow the number, as in 100/h"},
	{"100 /h", 3, "a slash must follow the number, as in 100/h"},
	{"100/", 4, "the period must be s, min, h, day or month"},
	{"100/hour", 4, "the period must be s, min, h, day or month"},
	{"100/day burst 5", 8, "a day or month has no burst"},
	{"100/h bursts", 11, "a number is missing"},
	{"100/h burst", 11, "a number is missing"},
	{"100/h burst 0", 12, "a burst must be at least 1"},
	{"0/h burst 5", 10, "a limit of 0 has no burst"},
	{"100/h burst 5 x", 14, "more text than a limit has"},
	{"100/h, 5/s", 5, "only \"burst B\" may follow the period"},
};

static void refuses_what_is_none(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct limit_spec spec = {0};
		size_t at = SIZE_MAX;
		const char *why = limit_spec_parse(text_of(bad[i].spec), &spec, &at);
		assert_non_null(why);
		assert_string_equal(why, bad[i].why);
		assert_int_equal(at, bad[i].at);
	}
}

static struct limit_spec spec_of(const char *text)
{
	struct limit_spec spec;
	size_t at;
	assert_null(limit_spec_parse(text_of(text), &spec, &at));
	return spec;
}

static bool take(const struct limit_spec *spec, struct limit_state *state, int64_t cost, int64_t now_us)
{
	struct limit_usage usage = limit_check(spec, state, cost, now_us, 0, 86400);
	if (usage.allowed)
		limit_charge(spec, state, cost, now_us, 0);
	return usage.allowed;
}

static const char *const speeds[] = {"1/s",      "7/s",         "100/h",       "3/min burst 10",
				     "999983/h", "1/h burst 7", "17/s burst 1"};

/* Whatever the rate's fraction: B units at once, not one more; and after one unit's time one more. */
static void a_burst_passes_whole(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof speeds / sizeof *speeds; i++) {
		struct limit_spec spec = spec_of(speeds[i]);
		struct limit_state bucket = {0};
		int64_t burst = spec.burst > 1000 ? 1000 : spec.burst;
		spec.burst = burst;
		for (int64_t n = 0; n < burst; n++)
			assert_true(take(&spec, &bucket, 1, NOW));
		struct limit_usage usage = limit_check(&spec, &bucket, 1, NOW, 0, 0);
		assert_false(usage.allowed);
		assert_int_equal(usage.used, burst);
		assert_int_equal(usage.allowed_units, burst);
		assert_true(usage.retry_after_us > 0 && usage.retry_after_us <= limit_cost(&spec, 1));
		assert_false(take(&spec, &bucket, 1, NOW + usage.retry_after_us - 1));
		assert_true(take(&spec, &bucket, 1, NOW + usage.retry_after_us));
	}
}

static void the_first_message_counts_in_full(void **state)
{
	(void)state;
	struct limit_spec spec = spec_of("100/h");
	struct limit_state bucket = {0};
	struct limit_usage usage = limit_check(&spec, &bucket, 5000, NOW, 0, 0);
	assert_false(usage.allowed);
	assert_true(usage.retry_after_us == INT64_MAX);
	assert_true(take(&spec, &bucket, 100, NOW));
	assert_int_equal(limit_check(&spec, &bucket, 1, NOW, 0, 0).retry_after_us, 36 * SECOND);
}

static void an_edit_keeps_the_usage(void **state)
{
	(void)state;
	struct limit_spec old = spec_of("100/h"), wider = spec_of("200/h"), per_minute = spec_of("60/min burst 120");
	struct limit_spec tight = spec_of("10/h");
	struct limit_state bucket = {0};
	assert_true(take(&old, &bucket, 60, NOW));
	assert_int_equal(limit_check(&wider, &bucket, 0, NOW, 0, 0).used, 60);
	assert_int_equal(limit_check(&per_minute, &bucket, 0, NOW, 0, 0).used, 60);
	struct limit_usage usage = limit_check(&tight, &bucket, 1, NOW, 0, 0);
	assert_int_equal(usage.used, 10);
	assert_false(usage.allowed);
	assert_int_equal(usage.retry_after_us, 360 * SECOND);
	limit_charge(&wider, &bucket, 40, NOW, 0);
	assert_int_equal(limit_check(&wider, &bucket, 1, NOW, 0, 0).used, 100);
}

static void giving_back_undoes_a_charge(void **state)
{
	(void)state;
	struct limit_spec speed = spec_of("100/h"), quota = spec_of("10/day");
	struct limit_state bucket = {0}, window = {0};
	assert_true(take(&speed, &bucket, 30, NOW));
	limit_charge(&speed, &bucket, -10, NOW, 0);
	assert_int_equal(limit_check(&speed, &bucket, 0, NOW, 0, 0).used, 20);
	limit_charge(&speed, &bucket, -100, NOW, 0);
	assert_int_equal(limit_check(&speed, &bucket, 0, NOW, 0, 0).used, 0);
	assert_true(take(&quota, &window, 10, NOW));
	limit_charge(&quota, &window, -4, NOW, 0);
	assert_int_equal(window.used, 6);
	limit_charge(&quota, &window, -40, NOW, 0);
	assert_int_equal(window.used, 0);
}

static void a_quota_counts_its_window(void **state)
{
	(void)state;
	struct limit_spec quota = spec_of("10/day");
	struct limit_state window = {0};
	limit_charge(&quota, &window, 10, NOW, 1795132800);
	struct limit_usage usage = limit_check(&quota, &window, 1, NOW, 1795132800, 1795219200);
	assert_false(usage.allowed);
	assert_int_equal(usage.retry_after_us, 1795219200 * SECOND - NOW);
	assert_false(limit_check(&quota, &window, 1, NOW, 1795132800 + 3600, 1795219200).allowed);
	assert_true(limit_check(&quota, &window, 10, NOW, 1795132800 + 86400, 1795219200 + 86400).allowed);
	assert_true(limit_check(&quota, &window, 11, NOW, 0, 0).retry_after_us == INT64_MAX);
}

static void zero_lets_nothing_pass(void **state)
{
	(void)state;
	static const char *const zeros[] = {"0/s", "0/h", "0/day", "0/month"};
	for (size_t i = 0; i < sizeof zeros / sizeof *zeros; i++) {
		struct limit_spec spec = spec_of(zeros[i]);
		struct limit_state empty = {0};
		assert_false(limit_check(&spec, &empty, 1, NOW, 0, 86400).allowed);
		assert_false(limit_check(&spec, &empty, 0, NOW, 0, 86400).allowed);
		assert_true(limit_check(&spec, &empty, 1, NOW, 0, 86400).retry_after_us == INT64_MAX);
		limit_charge(&spec, &empty, 1, NOW, 0);
		assert_int_equal(empty.tat_us + empty.used, 0);
	}
}

static void a_clock_gone_back_stalls_nobody(void **state)
{
	(void)state;
	struct limit_spec spec = spec_of("60/h");
	struct limit_state bucket = {0};
	assert_true(take(&spec, &bucket, 60, NOW));
	struct limit_usage usage = limit_check(&spec, &bucket, 1, NOW - 86400 * SECOND, 0, 0);
	assert_false(usage.allowed);
	assert_int_equal(usage.retry_after_us, 60 * SECOND);
}

static const struct {
	enum limit_period period;
	int64_t now_s;
	int32_t offset_s;
	int64_t start, end;
} windows[] = {
	{LIMIT_DAY, 0, 0, 0, 86400},
	{LIMIT_DAY, -1, 0, -86400, 0},
	{LIMIT_DAY, 1795219199, 0, 1795132800, 1795219200},             /* 2026-11-20 23:59:59 UTC */
	{LIMIT_DAY, 1795219199, 3600, 1795215600, 1795302000},          /* already the 21st in Paris */
	{LIMIT_DAY, 1795132800, -18000, 1795064400, 1795150800},        /* still the 19th in New York */
	{LIMIT_MONTH, 1795219199, 0, 1793491200, 1796083200},           /* November 2026 */
	{LIMIT_MONTH, 1709164800, 0, 1706745600, 1709251200},           /* 2024-02-29: 29 days */
	{LIMIT_MONTH, 1767225599, 0, 1764547200, 1767225600},           /* December 2025 */
	{LIMIT_MONTH, 1767225600 - 1800, 3600, 1767222000, 1769900400}, /* January 2026 in Paris */
	{LIMIT_MONTH, 951782400, 0, 949363200, 951868800},              /* 2000-02-29 */
};

static void windows_follow_the_calendar(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof windows / sizeof *windows; i++) {
		int64_t start, end;
		limit_window(windows[i].period, windows[i].now_s, windows[i].offset_s, &start, &end);
		assert_int_equal(start, windows[i].start);
		assert_int_equal(end, windows[i].end);
	}
}

static void the_worst_case_is_stated(void **state)
{
	(void)state;
	struct limit_spec speed = spec_of("100/h burst 250"), quota = spec_of("100/day");
	assert_int_equal(limit_worst_case(&speed), 350);
	assert_int_equal(limit_worst_case(&quota), 100);
}

static void extremes_stay_in_range(void **state)
{
	(void)state;
	struct limit_spec slow = spec_of("1/h burst 1000G");
	struct limit_state bucket = {0};
	assert_true(limit_room(&slow) == LIMIT_MAX_COST);
	assert_true(take(&slow, &bucket, LIMIT_MAX_AMOUNT, NOW));
	assert_true(bucket.tat_us == NOW + LIMIT_MAX_COST);
	assert_false(take(&slow, &bucket, 1, NOW));
	struct limit_spec fast = spec_of("1000G/s");
	assert_true(limit_check(&fast, &bucket, 1, NOW, 0, 0).used <= LIMIT_MAX_AMOUNT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parses_what_is_a_limit),
		cmocka_unit_test(refuses_what_is_none),
		cmocka_unit_test(a_burst_passes_whole),
		cmocka_unit_test(the_first_message_counts_in_full),
		cmocka_unit_test(an_edit_keeps_the_usage),
		cmocka_unit_test(giving_back_undoes_a_charge),
		cmocka_unit_test(a_quota_counts_its_window),
		cmocka_unit_test(zero_lets_nothing_pass),
		cmocka_unit_test(a_clock_gone_back_stalls_nobody),
		cmocka_unit_test(windows_follow_the_calendar),
		cmocka_unit_test(the_worst_case_is_stated),
		cmocka_unit_test(extremes_stay_in_range),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
