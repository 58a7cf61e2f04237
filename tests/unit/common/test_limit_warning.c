/* Limits that come close to their end: what crosses a threshold, and that it is told once a window. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/limit_warning.h"

#define NOON 1795262400 /* 2026-11-21T12:00:00Z */

static const struct {
	int64_t used, allowed, cost;
	int threshold;
} crossings[] = {
	{0, 100, 79, 0},   {79, 100, 1, 80},   {80, 100, 1, 0},  {94, 100, 1, 95},
	{99, 100, 1, 100}, {0, 100, 100, 100}, {100, 100, 1, 0}, {70, 100, 26, 95},
	{0, 1, 1, 100},    {0, 0, 1, 0},       {3, 5, 1, 80},    {799999999999, 1000000000000, 1, 80},
};

static void thresholds_are_crossed_once(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof crossings / sizeof *crossings; i++) {
		struct limit_usage before = {
			.allowed = true, .used = crossings[i].used, .allowed_units = crossings[i].allowed};
		assert_int_equal(limit_warning_threshold(&before, crossings[i].cost), crossings[i].threshold);
	}
}

static struct counters_item item_of(const char *spec, int64_t window_start)
{
	struct counters_item item = {.limit.id = TEXT("acme"), .subject = TEXT("app@acme.test"), .cost = 3};
	size_t at;
	assert_null(limit_spec_parse(text_of(spec), &item.limit.spec, &at));
	if (window_start) {
		item.window_start = window_start;
		item.window_end = window_start + 86400;
	}
	return item;
}

static void a_speed_warns_once_an_hour(void **state)
{
	(void)state;
	struct reminders *told = calloc(1, sizeof *told);
	struct counters_item item = item_of("100/h", 0);
	assert_true(limit_warning_due(told, &item, 80, NOON));
	assert_false(limit_warning_due(told, &item, 80, NOON + 3599));
	assert_true(limit_warning_due(told, &item, 95, NOON));
	assert_true(limit_warning_due(told, &item, 80, NOON + 3600));
	item.subject = TEXT("other@acme.test");
	assert_true(limit_warning_due(told, &item, 80, NOON));
	free(told);
}

/* Also when a charge was given back and the threshold is crossed again. */
static void a_quota_warns_once_a_window(void **state)
{
	(void)state;
	struct reminders *told = calloc(1, sizeof *told);
	struct counters_item item = item_of("100/day", NOON), next = item_of("100/day", NOON + 86400);
	assert_true(limit_warning_due(told, &item, 80, NOON));
	assert_false(limit_warning_due(told, &item, 80, NOON + 86399));
	assert_true(limit_warning_due(told, &item, 95, NOON + 86399));
	assert_true(limit_warning_due(told, &next, 80, NOON + 86400));
	free(told);
}

static const struct {
	enum counters_answer answer;
	enum limit_action action;
	bool held, stood_in;
	int64_t cost, used; /* used: as told; 79 before */
	int threshold;
} results[] = {
	{COUNTERS_CHARGED, LIMIT_DEFER, false, false, 1, 80, 80},
	{COUNTERS_REFUSED, LIMIT_DEFER, false, false, 30, 79, 100},
	{COUNTERS_REFUSED, LIMIT_REJECT, false, false, 30, 79, 100},
	{COUNTERS_CHARGED, LIMIT_HOLD, true, false, 30, 79, 100},
	{COUNTERS_CHARGED, LIMIT_SHADOW, false, false, 30, 79, 0},
	{COUNTERS_REFUSED, LIMIT_DEFER, false, true, 30, 79, 0},   /* a part of it */
	{COUNTERS_REFUSED, LIMIT_DEFER, false, false, 101, 79, 0}, /* more than ever fits */
	{COUNTERS_REFUSED, LIMIT_DEFER, false, false, 1, 79, 0},   /* another one refused */
	{COUNTERS_REPEATED, LIMIT_DEFER, false, false, 1, 79, 0},
	{COUNTERS_UNAVAILABLE, LIMIT_DEFER, false, false, 1, 79, 0},
};

/* A charge that jumps over the mark is refused each time, and would never be told of. */
static void what_a_limit_refuses_is_told_as_all_of_it(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof results / sizeof *results; i++) {
		struct counters_item item = item_of("100/h", 0);
		struct counters_result result = {
			.answer = results[i].answer, .held = results[i].held, .stood_in = results[i].stood_in};
		struct limit_usage after;
		item.limit.action = results[i].action;
		item.cost = results[i].cost;
		result.usage[0] = limit_usage_of(&item.limit.spec, 79 * INT64_C(36000000), item.cost, 0, 0);
		assert_int_equal(limit_warning_of(&item, &result, 0, &after), results[i].threshold);
		assert_int_equal(after.used, results[i].used);
	}
	/* Whoever used up the last of it has told so. */
	struct counters_item item = item_of("100/h", 0);
	struct counters_result full = {.answer = COUNTERS_REFUSED};
	struct limit_usage after;
	full.usage[0] = limit_usage_of(&item.limit.spec, limit_room(&item.limit.spec), item.cost, 0, 0);
	assert_int_equal(limit_warning_of(&item, &full, 0, &after), 0);
}

static void a_newer_reminder_may_push_an_older_one_out(void **state)
{
	(void)state;
	struct reminders *told = calloc(1, sizeof *told);
	assert_true(reminders_due(told, 7, NOON, NOON + 60));
	assert_false(reminders_due(told, 7, NOON, NOON + 60));
	assert_true(reminders_due(told, 7 + REMINDERS_MAX, NOON, NOON + 60));
	assert_true(reminders_due(told, 7, NOON, NOON + 60));
	assert_int_not_equal(reminders_name(0, TEXT("a"), 1), reminders_name(0, TEXT("a"), 2));
	assert_int_not_equal(reminders_name(0, TEXT("a"), 1), reminders_name(0, TEXT("b"), 1));
	free(told);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(thresholds_are_crossed_once),
		cmocka_unit_test(a_speed_warns_once_an_hour),
		cmocka_unit_test(a_quota_warns_once_a_window),
		cmocka_unit_test(what_a_limit_refuses_is_told_as_all_of_it),
		cmocka_unit_test(a_newer_reminder_may_push_an_older_one_out),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
