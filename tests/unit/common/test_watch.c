/* The takeover guard's memory, with a clock that the test holds; and, step by step, the same as counters_charge.lua keeps it
 * in a real Redis. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <hiredis/hiredis.h>

#include "common/counters_sync.h"
#include "common/watch.h"
#include "tests/unit/common/draw.h"
#include "tests/unit/common/redis_server.h"

#define HOUR  3600
#define NOON  1795262400 /* 2026-11-21T12:00:00Z, a Saturday */
#define STEPS 4000
#define SPARE 20 /* seconds that the comparison may take */

static struct counters_watch from(const char *network)
{
	return (struct counters_watch){.login = TEXT("app"), .network = text_of(network)};
}

static struct takeover_facts send_at(struct watch_memory *m, const char *network, int64_t recipients, int64_t now_s)
{
	struct counters_watch watch = from(network);
	return watch_ask(m, &watch, recipients, true, now_s);
}

static void networks_are_known_one_by_one(void **state)
{
	(void)state;
	struct watch_memory m = {0};
	char network[32];
	struct takeover_facts facts = {0};
	for (int i = 0; i < 2 * WATCH_NETWORKS_MAX; i++) {
		snprintf(network, sizeof network, "10.%d.%d.0/24", i / 256, i % 256);
		facts = send_at(&m, network, 1, NOON);
		assert_int_equal(facts.networks, i < WATCH_NETWORKS_MAX ? i + 1 : WATCH_NETWORKS_MAX);
		assert_int_equal(send_at(&m, network, 0, NOON).networks, facts.networks);
	}
	assert_int_equal(facts.volume, 2 * WATCH_NETWORKS_MAX);
}

/* A login that sends 100 at noon each Saturday, and nothing else, for ten weeks; then nothing. */
static void a_habit_grows_and_fades(void **state)
{
	(void)state;
	struct watch_memory m = {0};
	for (int week = 0; week < 10; week++)
		send_at(&m, "a", 100, NOON + week * WATCH_WEEK * HOUR);
	int64_t then = NOON + 10 * WATCH_WEEK * HOUR;
	struct takeover_facts facts = send_at(&m, "a", 7, then);
	assert_int_equal(facts.volume_usual, 100);
	assert_int_equal(facts.networks_usual, 1);
	assert_int_equal(send_at(&m, "a", 0, then + HOUR).volume_usual, 100);
	assert_int_equal(send_at(&m, "a", 0, then + 2 * HOUR).volume_usual, 0);
	facts = send_at(&m, "a", 0, then + (4 * WATCH_WEEK) * HOUR);
	assert_in_range(facts.volume_usual, 25, 45); /* 7 once, then three weeks of nothing */
}

static void a_suspension_ends_with_a_new_beginning(void **state)
{
	(void)state;
	struct watch_memory m = {0};
	struct counters_watch watch = from("a");
	assert_false(watch_ask(&m, &watch, 1, true, NOON).suspended);
	watch_suspend(&m, 0);
	watch_bounces(&m, 5, NOON);
	struct takeover_facts facts = watch_ask(&m, &watch, 1, true, NOON);
	assert_true(facts.suspended);
	assert_int_equal(facts.bad_mailboxes, 5);
	watch.since = NOON + 60;
	facts = watch_ask(&m, &watch, 1, true, NOON + 61);
	assert_false(facts.suspended);
	assert_int_equal(facts.bad_mailboxes, 0);
	assert_int_equal(facts.volume, 1);
	assert_int_equal(facts.networks, 1);
}

static redisContext *redis;

static int64_t redis_now_s(void)
{
	redisReply *reply = redisCommand(redis, "TIME");
	int64_t now_s = strtoll(reply->element[0]->str, NULL, 10);
	freeReplyObject(reply);
	return now_s;
}

/* Makes a present older by HOURS: the number at AT of a key's value is an hour. */
static void age_key(const char *key, int at, int64_t hours)
{
	redisReply *reply = redisCommand(redis, "GET %s", key);
	if (reply->type == REDIS_REPLY_STRING) {
		struct buffer older = {0};
		struct text rest = text_at(reply->str, reply->len), word;
		for (int i = 0; text_take(&rest, ' ', &word); i++) {
			if (i)
				buffer_char(&older, ' ');
			if (i == at)
				buffer_format(&older, "%lld", strtoll(word.ptr, NULL, 10) - (long long)hours);
			else
				buffer_text(&older, word);
		}
		freeReplyObject(redisCommand(redis, "SET %s %s", key, buffer_string(&older)));
		buffer_free(&older);
	}
	freeReplyObject(reply);
}

static void age(struct watch_memory *m)
{
	static const int64_t ages[] = {1, 1, 1, 2, 3, 23, 24, 25, 167, 168, 169, 336, 1000, -1, -2, -3};
	int64_t hours = ages[draw(sizeof ages / sizeof *ages)];
	if (!m->hour)
		return;
	m->hour -= hours;
	m->bounce_hour -= hours;
	age_key("wb:{acme}:t:app:s", 2, hours);
	age_key("wb:{acme}:t:app:b", 0, hours);
}

static void compare(struct counters *counters, struct watch_memory *m, int64_t since, int64_t now_s)
{
	char network[32];
	struct counters_request request = {.customer = TEXT("acme"), .watch = from(network)};
	struct counters_result result;
	snprintf(network, sizeof network, "10.0.%d.0/24", (int)draw(12));
	request.watch.network = text_of(network);
	request.watch.since = since;
	request.watch.recipients = draw(4) ? draw(50) : draw(100000);
	request.watch.looks = draw(8) == 0;
	struct watch_memory looked = *m;
	bool counts = !request.watch.looks;
	struct takeover_facts facts =
		watch_ask(counts ? m : &looked, &request.watch, counts ? request.watch.recipients : 0, counts, now_s);
	counters_charge(counters, &request, &result);
	assert_int_equal(result.answer, COUNTERS_CHARGED);
	const struct takeover_facts *told = &result.takeover;
	assert_int_equal(told->networks, facts.networks);
	assert_int_equal(told->networks_usual, facts.networks_usual);
	assert_int_equal(told->volume, facts.volume);
	assert_int_equal(told->volume_before, facts.volume_before);
	assert_int_equal(told->volume_usual, facts.volume_usual);
	assert_int_equal(told->bad_mailboxes, facts.bad_mailboxes);
	assert_int_equal(told->suspended, facts.suspended);
}

static void redis_and_the_memory_agree(void **state)
{
	struct redis_server *server = *state;
	struct counters *counters =
		counters_new(&(struct counters_options){.socket = server->socket, .timeout_ms = 2000});
	struct watch_memory m = {0};
	int64_t since = 0;
	while (redis_now_s() % HOUR > HOUR - SPARE)
		sleep(1); /* no hour ends within the comparison */
	int64_t now_s = redis_now_s();
	for (int step = 0; step < STEPS; step++) {
		if (draw(12) == 0)
			age(&m);
		if (draw(300) == 0)
			since = since ? since + 10 : NOON;
		if (draw(30) == 0) {
			int64_t bounces = draw(40);
			counters_bounces(counters, TEXT("acme"), TEXT("app"), bounces);
			watch_bounces(&m, bounces, now_s);
		}
		if (draw(100) == 0) {
			freeReplyObject(redisCommand(redis, "SET wb:{acme}:t:app:x %lld", (long long)since));
			watch_suspend(&m, since);
		}
		compare(counters, &m, since, now_s);
	}
	counters_free(&counters);
}

static int start(void **state)
{
	static struct redis_server server;
	redis_server_start(&server, "");
	redis = redisConnectUnix(server.socket);
	*state = &server;
	return 0;
}

static int stop(void **state)
{
	redisFree(redis);
	redis_server_remove(*state);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(networks_are_known_one_by_one),
		cmocka_unit_test(a_habit_grows_and_fades),
		cmocka_unit_test(a_suspension_ends_with_a_new_beginning),
		cmocka_unit_test(redis_and_the_memory_agree),
	};
	return cmocka_run_group_tests(tests, start, stop);
}
