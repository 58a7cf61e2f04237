/* What policyd leaves in the event spool. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "policyd/record.h"

#define NOON 1795262400 /* 2026-11-21T12:00:00Z */

static const struct record_context context = {{"mx1", 3}, NOON, {"acme", 4}};

static struct request request_of(const char *sender)
{
	struct request request = {.state = REQUEST_AT_DATA};
	request.values[REQUEST_LOGIN] = TEXT("app@acme.test");
	request.values[REQUEST_QUEUE_ID] = TEXT("4F1C2A");
	request.values[REQUEST_SENDER] = text_of(sender);
	request.values[REQUEST_RECIPIENT_COUNT] = TEXT("3");
	request.values[REQUEST_SIZE] = TEXT("4096");
	request.values[REQUEST_CLIENT_ADDRESS] = TEXT("192.0.2.7");
	return request;
}

static void plan_one(struct decide_plan *plan, const char *spec)
{
	size_t at;
	plan->request.count = 1;
	plan->request.items[0] =
		(struct counters_item){.limit.id = TEXT("acme-hour"), .subject = TEXT("app@acme.test"), .cost = 3};
	assert_null(limit_spec_parse(text_of(spec), &plan->request.items[0].limit.spec, &at));
}

static void a_refusal_holds_all_that_was_known(void **state)
{
	(void)state;
	struct buffer line = {0};
	struct request request = request_of("news@acme.test");
	struct decide_plan *plan = calloc(1, sizeof *plan);
	plan_one(plan, "100/h");
	struct counters_result result = {.answer = COUNTERS_REFUSED, .count = 1};
	result.usage[0] = (struct limit_usage){.used = 99, .allowed_units = 100, .retry_after_us = 72000000};
	struct verdict verdict = {
		.reason = REPLY_LIMIT_DEFERRED, .item = &plan->request.items[0], .usage = result.usage[0]};
	record_refusal(&context, "abcdefgh", &request, &verdict, plan, &result, &line);
	assert_string_equal(
		buffer_string(&line),
		"{\"type\":\"policy.refused\",\"time\":\"2026-11-21T12:00:00Z\",\"host\":\"mx1\",\"customer\":\"acme\","
		"\"login\":\"app@acme.test\",\"queue_id\":\"4F1C2A\",\"id\":\"abcdefgh\",\"action\":\"defer\","
		"\"reason\":\"limit\","
		"\"detail\":\"\",\"sender\":\"news@acme.test\",\"recipient\":\"\",\"recipients\":3,\"size\":4096,"
		"\"client_ip\":\"192.0.2.7\",\"limits\":[{\"scope\":\"login\",\"limit\":\"acme-hour\",\"spec\":\"100/"
		"h\","
		"\"unit\":\"messages\",\"action\":\"defer\",\"subject\":\"app@acme.test\",\"cost\":3,\"used\":99,"
		"\"allowed\":100,"
		"\"retry_after_ms\":72000,\"fits\":false}]}");
	buffer_free(&line);
	free(plan);
}

static const struct {
	const char *sender, *json;
} strings[] = {
	{"a\"b\\c", "a\\\"b\\\\c"},
	{"a\x01\x1b\x7f", "a\\u0001\\u001b\\u007f"},
	{"b\xc3\xbc\xf0\x9f\x90\xb4", "b\xc3\xbc\xf0\x9f\x90\xb4"},
	{"\xc3", "\xef\xbf\xbd"},
	{"\xff\xc0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
	{"\xed\xa0\x80x", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbdx"},
	{"\xe0\x80\x80\xf4\x90\x80\x80",
	 "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
};

static void what_strangers_write_stays_inside_its_string(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof strings / sizeof *strings; i++) {
		struct buffer line = {0}, expected = {0};
		struct request request = request_of(strings[i].sender);
		struct verdict verdict = {.reason = REPLY_SENDER_MALFORMED, .detail = TEXT("")};
		record_refusal(&context, "id", &request, &verdict, NULL, NULL, &line);
		buffer_format(&expected, "\"sender\":\"%s\",\"recipient\"", strings[i].json);
		if (text_search(buffer_view(&line), buffer_view(&expected)) == SIZE_MAX)
			fail_msg("%s not in %s", buffer_string(&expected), buffer_string(&line));
		buffer_free(&line);
		buffer_free(&expected);
	}
}

static void a_warning_tells_limit_and_share(void **state)
{
	(void)state;
	struct buffer line = {0};
	struct request request = request_of("news@acme.test");
	struct decide_plan *plan = calloc(1, sizeof *plan);
	plan_one(plan, "100/day");
	struct limit_usage after = {.allowed = true, .used = 81, .allowed_units = 100};
	record_warning(&context, &request, &plan->request.items[0], &after, 80, &line);
	assert_true(
		text_starts(buffer_view(&line), TEXT("{\"type\":\"limit.warning\",\"time\":\"2026-11-21T12:00:00Z\"")));
	assert_true(text_search(buffer_view(&line), TEXT("\"threshold\":80,\"limits\":[{")) != SIZE_MAX);
	assert_true(text_search(buffer_view(&line), TEXT("\"used\":81,\"allowed\":100,\"fits\":true}]}")) != SIZE_MAX);
	buffer_free(&line);
	free(plan);
}

static struct takeover_marks marks = {.score = 80, .networks = 20, .volume = 500, .bounces = 50, .bounce_percent = 10};

static void a_taken_over_login_is_told_with_its_reasons(void **state)
{
	(void)state;
	struct buffer line = {0};
	struct request request = request_of("news@acme.test");
	struct decide_plan *plan = calloc(1, sizeof *plan);
	struct counters_result result = {.watched = true,
					 .takeover = {.networks = 24, .networks_usual = 2, .volume = 3}};
	struct verdict verdict = {.reason = REPLY_ALLOWED};
	plan->rule = (struct takeover_rule){TAKEOVER_SUSPEND, NOON - 30 * 86400};
	plan->request.watch.since = 1790000000;
	decide_takeover(plan, &result, &marks, NOON, &verdict);
	record_takeover(&context, &request, plan, &verdict, &line);
	static const struct text parts[] = {
		TEXT("{\"type\":\"credential.suspended\",\"time\":\"2026-11-21T12:00:00Z\""),
		TEXT(",\"action\":\"suspend\",\"reason\":\"score 100 of 80: 24 networks today (usual 2; 100 points), "
		     "3 recipients this hour (usual 0; 0 points), 0 bounces of unknown mailboxes (0 points)\""),
		TEXT(",\"since\":1790000000,\"takeover\":{\"score\":100,\"threshold\":80,"),
		TEXT("\"networks\":{\"count\":24,\"usual\":2,\"mark\":20,\"points\":100}"),
	};
	for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
		assert_true(text_search(buffer_view(&line), parts[i]) != SIZE_MAX);
	line.len = 0;
	record_refusal(&context, "abcdefgh", &request, &verdict, plan, &result, &line);
	assert_true(text_search(buffer_view(&line), TEXT("\"takeover\":{\"score\":100,")) != SIZE_MAX);
	buffer_free(&line);
	free(plan);
}

static void a_suspicion_is_told_once_an_hour(void **state)
{
	(void)state;
	struct reminders *told = calloc(1, sizeof *told);
	struct decide_plan *plan = calloc(1, sizeof *plan);
	plan->request.watch.login = TEXT("app@acme.test");
	assert_true(record_takeover_due(told, plan, TAKEOVER_ALERTED, NOON));
	assert_false(record_takeover_due(told, plan, TAKEOVER_ALERTED, NOON + 3599));
	assert_true(record_takeover_due(told, plan, TAKEOVER_SUSPENDED, NOON));
	assert_true(record_takeover_due(told, plan, TAKEOVER_ALERTED, NOON + 3600));
	plan->request.watch.since = NOON;
	assert_true(record_takeover_due(told, plan, TAKEOVER_SUSPENDED, NOON + 1));
	free(plan);
	free(told);
}

static void ids_are_short_and_unlike(void **state)
{
	(void)state;
	char one[RECORD_ID_SIZE], two[RECORD_ID_SIZE];
	record_id_print(1, one);
	record_id_print(2, two);
	assert_int_equal(strlen(one), 8);
	assert_int_equal(strspn(one, "abcdefghijklmnopqrstuvwxyz234567"), 8);
	assert_string_not_equal(one, two);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_refusal_holds_all_that_was_known),
		cmocka_unit_test(what_strangers_write_stays_inside_its_string),
		cmocka_unit_test(a_warning_tells_limit_and_share),
		cmocka_unit_test(a_taken_over_login_is_told_with_its_reasons),
		cmocka_unit_test(a_suspicion_is_told_once_an_hour),
		cmocka_unit_test(ids_are_short_and_unlike),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
