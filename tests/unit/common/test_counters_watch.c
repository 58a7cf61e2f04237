/* What the takeover guard is told with a charge, by a real Redis: networks, recipients, habits, bounces, and how hours,
 * days and weeks go by. Redis' clock cannot be set, so the past is written into its keys. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <event2/event.h>
#include <hiredis/hiredis.h>

#include "common/counters_async.h"
#include "common/counters_script.h"
#include "common/counters_sync.h"
#include "tests/unit/common/redis_server.h"

#define WEEK    168
#define SPARE_S 10

static struct redis_server server;
static redisContext *redis;
static struct counters *counters;

static long long command(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* A command in Redis' own words; its number. */
static long long command(const char *format, ...)
{
	char line[512];
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(line, sizeof line, format, arguments);
	va_end(arguments);
	redisReply *reply = redisCommand(redis, line);
	assert_non_null(reply);
	assert_int_not_equal(reply->type, REDIS_REPLY_ERROR);
	long long number = reply->type == REDIS_REPLY_STRING ? strtoll(reply->str, NULL, 10) : reply->integer;
	freeReplyObject(reply);
	return number;
}

static void assert_string_at(const char *get, const char *wanted)
{
	redisReply *reply = redisCommand(redis, get);
	assert_int_equal(reply->type, REDIS_REPLY_STRING);
	assert_string_equal(reply->str, wanted);
	freeReplyObject(reply);
}

static int64_t now_s(void)
{
	redisReply *reply = redisCommand(redis, "TIME");
	int64_t seconds = strtoll(reply->element[0]->str, NULL, 10);
	freeReplyObject(reply);
	return seconds;
}

static int64_t hour_now(void)
{
	return now_s() / 3600;
}

static struct counters_request request_of(const char *login, const char *network, int64_t recipients)
{
	return (struct counters_request){
		.customer = TEXT("acme"),
		.node = TEXT("mx1"),
		.watch = {.login = text_of(login), .network = text_of(network), .recipients = recipients}};
}

static struct takeover_facts ask(const struct counters_request *request, enum counters_answer answer)
{
	struct counters_result result;
	counters_charge(counters, request, &result);
	assert_int_equal(result.answer, answer);
	assert_true(result.watched);
	return result.takeover;
}

static struct takeover_facts send_one(const char *login, const char *network, int64_t recipients)
{
	struct counters_request request = request_of(login, network, recipients);
	return ask(&request, COUNTERS_CHARGED);
}

static struct takeover_facts look(const char *login, int64_t since)
{
	struct counters_request request = request_of(login, "", 0);
	request.watch.looks = true;
	request.watch.since = since;
	return ask(&request, COUNTERS_CHARGED);
}

static void networks_and_recipients_add_up(void **state)
{
	(void)state;
	char network[32];
	struct takeover_facts facts = {0};
	for (int i = 0; i < 90; i++) {
		snprintf(network, sizeof network, "10.0.%d.0/24", i % 30);
		facts = send_one("sums", network, 3);
	}
	assert_in_range(facts.networks, 29, 31); /* a HyperLogLog's guess */
	assert_int_equal(facts.volume, 270);
	assert_int_equal(facts.networks_usual + facts.volume_usual + facts.volume_before + facts.bad_mailboxes, 0);
	facts = send_one("sums", "", 1);
	assert_int_equal(facts.volume, 271);
	assert_int_equal(send_one("other", "10.0.0.0/24", 1).networks, 1);
}

static void only_charged_recipients_count(void **state)
{
	(void)state;
	size_t at;
	struct counters_request request = request_of("refused", "10.0.1.0/24", 5);
	request.queue_id = TEXT("4F1C2A");
	request.instance = TEXT("1a");
	request.begins = true;
	request.count = 1;
	request.items[0] = (struct counters_item){.limit.id = TEXT("hour"), .subject = TEXT("refused"), .cost = 5};
	assert_null(limit_spec_parse(TEXT("5/h"), &request.items[0].limit.spec, &at));
	assert_int_equal(ask(&request, COUNTERS_CHARGED).volume, 5);
	request.watch.network = TEXT("10.0.2.0/24");
	struct takeover_facts facts = ask(&request, COUNTERS_REPEATED);
	assert_int_equal(facts.volume, 5);
	assert_int_equal(facts.networks, 1);
	request.instance = TEXT("1b");
	request.begins = false;
	facts = ask(&request, COUNTERS_REFUSED);
	assert_int_equal(facts.volume, 5);
	assert_int_equal(facts.networks, 2);
}

static void looking_changes_nothing(void **state)
{
	(void)state;
	assert_int_equal(look("unseen", 0).volume, 0);
	assert_int_equal(command("EXISTS wb:{acme}:t:unseen:s"), 0);
	send_one("seen", "10.0.1.0/24", 7);
	assert_int_equal(look("seen", 0).volume, 7);
	assert_int_equal(look("seen", 0).networks, 1);
	assert_int_equal(look("seen", 1790000000).volume, 0);
	assert_int_equal(look("seen", 0).volume, 7);
}

static void hours_and_days_go_by(void **state)
{
	(void)state;
	int64_t hour = hour_now(), slot = (hour - 1) % WEEK;
	freeReplyObject(redisCommand(redis, "SET wb:{acme}:t:turn:s %s", "nonsense"));
	assert_int_equal(send_one("turn", "", 1).volume, 1);
	char present[128], entry[32], get[96];
	snprintf(present, sizeof present, "0 - %lld 40 9 11 6 0", (long long)hour - 1);
	freeReplyObject(redisCommand(redis, "SET wb:{acme}:t:turn:s %s", present));
	struct takeover_facts facts = look("turn", 0);
	assert_int_equal(facts.volume_before, 40);
	assert_int_equal(facts.volume, 0);
	facts = send_one("turn", "10.0.1.0/24", 2);
	assert_int_equal(facts.volume_before, 40);
	assert_int_equal(facts.volume, 2);
	/* The hour that is over is a habit now, also for the hour beside it. */
	snprintf(get, sizeof get, "HGET wb:{acme}:t:turn:h %lld", (long long)slot);
	snprintf(entry, sizeof entry, "%lld 40", (long long)(hour - 1) / WEEK);
	assert_string_at(get, entry);
	/* Nine days later in one step: the day's networks are a habit, and the HyperLogLog begins anew. */
	snprintf(present, sizeof present, "0 - %lld 4 0 0 6 2", (long long)hour - 216);
	freeReplyObject(redisCommand(redis, "SET wb:{acme}:t:turn:s %s", present));
	facts = send_one("turn", "10.0.9.0/24", 1);
	assert_int_equal(facts.networks, 1);
	assert_int_equal(facts.networks_usual, 3); /* 2 * 3/4 + 6 * 1/4 */
	assert_int_equal(facts.volume_before, 0);
}

/* habit: the entry at an hour of the week, written WEEKS ago; expected: what is usual now. */
static const struct {
	int shift;
	int weeks, value, usual;
} habits[] = {
	{0, 1, 100, 100}, {1, 1, 100, 100}, {-1, 1, 100, 100}, {2, 1, 100, 0},
	{0, 2, 100, 75},  {0, 5, 100, 32},  {0, 0, 100, 100},
};

static void weeks_fade(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof habits / sizeof *habits; i++) {
		char login[32];
		int64_t hour = hour_now(), slot = (hour + habits[i].shift) % WEEK;
		snprintf(login, sizeof login, "fade-%zu", i);
		char entry[32];
		snprintf(entry, sizeof entry, "%lld %d.00", (long long)(hour / WEEK - habits[i].weeks),
			 habits[i].value);
		freeReplyObject(redisCommand(redis, "HSET wb:{acme}:t:%s:h %lld %s", login, (long long)slot, entry));
		assert_int_equal(look(login, 0).volume_usual, habits[i].usual);
	}
}

/* A burst after the first week moves the habit by a quarter of four times the habit and 100. */
static void a_burst_is_no_habit(void **state)
{
	(void)state;
	int64_t hour = hour_now(), week = (hour - 1) / WEEK, slot = (hour - 1) % WEEK;
	char present[128], entry[32], get[96];
	snprintf(present, sizeof present, "0 - %lld 100000 0 40 0 0", (long long)hour - 1);
	freeReplyObject(redisCommand(redis, "SET wb:{acme}:t:burst:s %s", present));
	snprintf(entry, sizeof entry, "%lld 40.00", (long long)week - 1);
	freeReplyObject(redisCommand(redis, "HSET wb:{acme}:t:burst:h first %lld %lld %s", (long long)week - 3,
				     (long long)slot, entry));
	send_one("burst", "", 1);
	snprintf(get, sizeof get, "HGET wb:{acme}:t:burst:h %lld", (long long)slot);
	snprintf(entry, sizeof entry, "%lld 95", (long long)week); /* 40 * 3/4 + 260 * 1/4 */
	assert_string_at(get, entry);
}

static void local_time_counts(void **state)
{
	(void)state;
	struct counters_request request = request_of("berlin", "", 1);
	char get[] = "GET wb:{acme}:t:berlin:s", wanted[64];
	request.watch.utc_offset = 7200;
	ask(&request, COUNTERS_CHARGED);
	snprintf(wanted, sizeof wanted, "0 - %lld 1 0 0 0 0", (long long)hour_now() + 2);
	assert_string_at(get, wanted);
	/* The end of daylight saving time: the clock goes back, and the hour goes on. */
	request.watch.utc_offset = 3600;
	assert_int_equal(ask(&request, COUNTERS_CHARGED).volume, 2);
}

static void bounces_are_those_of_two_hours(void **state)
{
	(void)state;
	char past[64];
	assert_int_equal(counters_bounces(counters, TEXT("acme"), TEXT("bounces"), 5), 0);
	assert_int_equal(counters_bounces(counters, TEXT("acme"), TEXT("bounces"), 2), 0);
	assert_int_equal(look("bounces", 0).bad_mailboxes, 7);
	snprintf(past, sizeof past, "%lld 9 100", (long long)hour_now() - 1);
	freeReplyObject(redisCommand(redis, "SET wb:{acme}:t:bounces:b %s", past));
	assert_int_equal(look("bounces", 0).bad_mailboxes, 9);
	assert_int_equal(counters_bounces(counters, TEXT("acme"), TEXT("bounces"), 1), 0);
	assert_int_equal(look("bounces", 0).bad_mailboxes, 10);
	snprintf(past, sizeof past, "%lld 9 100", (long long)hour_now() - 2);
	freeReplyObject(redisCommand(redis, "SET wb:{acme}:t:bounces:b %s", past));
	assert_int_equal(look("bounces", 0).bad_mailboxes, 0);
}

static void a_new_beginning_forgets(void **state)
{
	(void)state;
	struct counters_request request = request_of("again", "10.0.1.0/24", 50);
	ask(&request, COUNTERS_CHARGED);
	counters_bounces(counters, TEXT("acme"), TEXT("again"), 5);
	request.watch.network = TEXT("10.0.2.0/24");
	request.watch.since = 1790000000;
	struct takeover_facts facts = ask(&request, COUNTERS_CHARGED);
	assert_int_equal(facts.volume, 50);
	assert_int_equal(facts.networks, 1);
	assert_int_equal(facts.bad_mailboxes, 0);
	/* A host that has not heard of it yet counts along. */
	request.watch.since = 0;
	assert_int_equal(ask(&request, COUNTERS_CHARGED).volume, 100);
}

static void a_suspension_is_known_to_all(void **state)
{
	(void)state;
	struct event_base *base = event_base_new();
	struct counters_async *loop =
		counters_async_new(base, &(struct counters_options){.socket = server.socket, .timeout_ms = 2000});
	assert_false(send_one("stolen", "", 1).suspended);
	counters_async_suspend(loop, TEXT("acme"), TEXT("stolen"), 1700000000);
	while (!command("EXISTS wb:{acme}:t:stolen:x"))
		event_base_loop(base, EVLOOP_ONCE);
	assert_true(look("stolen", 0).suspended);
	assert_true(look("stolen", 1700000000).suspended);
	assert_false(look("stolen", 1790000000).suspended);
	counters_async_free(&loop);
	event_base_free(base);
	libevent_global_shutdown();
}

static void an_answer_that_is_none_is_unavailable(void **state)
{
	(void)state;
	static const struct {
		struct text facts;
		enum counters_answer answer;
	} rows[] = {
		{TEXT("1 2 3 4 5"), COUNTERS_CHARGED},      {TEXT(""), COUNTERS_UNAVAILABLE},
		{TEXT("1 2 3 4"), COUNTERS_UNAVAILABLE},    {TEXT("1 2 3 4 x"), COUNTERS_UNAVAILABLE},
		{TEXT("1 2  3 4 5"), COUNTERS_UNAVAILABLE},
	};
	const int64_t values[] = {0, 1790000000000000, 7, 0};
	const struct counters_expected expected = {.watched = true};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct counters_result result;
		const char *why = counters_script_result(&expected, values, 4, rows[i].facts, &result);
		assert_int_equal(why == NULL, rows[i].answer == COUNTERS_CHARGED);
		assert_int_equal(result.answer, rows[i].answer);
		assert_int_equal(result.watched, why == NULL);
	}
}

static void every_key_expires(void **state)
{
	(void)state;
	char present[64];
	snprintf(present, sizeof present, "0 - %lld 40 9 11 6 0", (long long)hour_now() - 1);
	freeReplyObject(redisCommand(redis, "SET wb:{acme}:t:ends:s %s", present));
	send_one("ends", "10.0.1.0/24", 1);
	counters_bounces(counters, TEXT("acme"), TEXT("ends"), 5);
	static const struct {
		char kind;
		int most_s;
	} keys[] = {{'s', 40 * 86400}, {'n', 2 * 86400}, {'h', 60 * 86400}, {'b', 3 * 3600}};
	for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
		assert_in_range(command("TTL wb:{acme}:t:ends:%c", keys[i].kind), 1, keys[i].most_s);
	assert_in_range(command("TTL wb:{acme}:t:stolen:x"), 1, 7 * 86400);
}

static void an_absent_redis_tells_nothing(void **state)
{
	(void)state;
	struct counters *nowhere =
		counters_new(&(struct counters_options){.socket = "/nonexistent/redis.sock", .timeout_ms = 15});
	struct counters_request request = request_of("absent", "", 1);
	struct counters_result result;
	counters_charge(nowhere, &request, &result);
	assert_int_equal(result.answer, COUNTERS_UNAVAILABLE);
	assert_false(result.watched);
	assert_int_equal(counters_bounces(nowhere, TEXT("acme"), TEXT("absent"), 1), -1);
	counters_free(&nowhere);
}

static int start(void **state)
{
	(void)state;
	redis_server_start(&server, "");
	redis = redisConnectUnix(server.socket);
	counters = counters_new(&(struct counters_options){.socket = server.socket, .timeout_ms = 2000});
	while (now_s() % 3600 > 3600 - SPARE_S)
		sleep(1); /* no hour ends within the tests */
	return 0;
}

static int stop(void **state)
{
	(void)state;
	redisFree(redis);
	counters_free(&counters);
	redis_server_remove(&server);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(networks_and_recipients_add_up),
		cmocka_unit_test(only_charged_recipients_count),
		cmocka_unit_test(looking_changes_nothing),
		cmocka_unit_test(hours_and_days_go_by),
		cmocka_unit_test(weeks_fade),
		cmocka_unit_test(a_burst_is_no_habit),
		cmocka_unit_test(local_time_counts),
		cmocka_unit_test(bounces_are_those_of_two_hours),
		cmocka_unit_test(a_new_beginning_forgets),
		cmocka_unit_test(a_suspension_is_known_to_all),
		cmocka_unit_test(an_answer_that_is_none_is_unavailable),
		cmocka_unit_test(every_key_expires),
		cmocka_unit_test(an_absent_redis_tells_nothing),
	};
	return cmocka_run_group_tests(tests, start, stop);
}
