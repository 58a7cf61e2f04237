/* The event loop's Redis client against a real Redis: many questions in one round, and a Redis that is away, hung,
 * flushed or restarted. */

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <event2/event.h>
#include <hiredis/hiredis.h>

#include "common/breaker.h"
#include "common/counters_async.h"
#include "tests/unit/common/redis_server.h"

#define PATIENCE_MS 2000
#define MANY        300

static struct redis_server server;
static struct event_base *base;

struct tally {
	int open;
	int answers[COUNTERS_ANSWER_MAX];
	struct counters_result last;
};

static void count(void *context, const struct counters_result *result)
{
	struct tally *tally = context;
	tally->open--;
	tally->answers[result->answer]++;
	tally->last = *result;
}

static struct counters_request request_of(const char *limit, const char *spec)
{
	struct counters_request request = {.customer = TEXT("acme"), .node = TEXT("mx1"), .count = 1};
	size_t at;
	request.items[0] =
		(struct counters_item){.limit.id = text_of(limit), .subject = TEXT("app@acme.test"), .cost = 1};
	assert_null(limit_spec_parse(text_of(spec), &request.items[0].limit.spec, &at));
	return request;
}

static struct counters_async *client(int timeout_ms)
{
	struct counters_options options = {.socket = server.socket, .timeout_ms = timeout_ms};
	return counters_async_new(base, &options);
}

static void ask(struct counters_async *counters, const struct counters_request *request, struct tally *tally, int times)
{
	tally->open += times;
	for (int i = 0; i < times; i++)
		counters_async_charge(counters, request, count, tally);
}

static void await(struct tally *tally)
{
	while (tally->open)
		event_base_loop(base, EVLOOP_ONCE);
}

static void many_questions_of_one_round(void **state)
{
	(void)state;
	struct counters_async *counters = client(PATIENCE_MS);
	struct counters_request request = request_of("async", "100/h");
	struct tally tally = {0};
	ask(counters, &request, &tally, MANY);
	assert_int_equal(tally.open, MANY);
	await(&tally);
	assert_int_equal(tally.answers[COUNTERS_CHARGED], 100);
	assert_int_equal(tally.answers[COUNTERS_REFUSED], MANY - 100);
	assert_int_equal(tally.last.usage[0].used, 100);
	counters_async_free(&counters);
	assert_null(counters);
}

/* Redis knows the script of refunds from the call itself. */
static void a_charge_is_given_back(void **state)
{
	(void)state;
	struct counters_async *counters = client(PATIENCE_MS);
	struct counters_request request = request_of("given-back", "1/h");
	struct tally tally = {0};
	request.queue_id = TEXT("4F1C2A");
	request.begins = true;
	for (int turn = 0; turn < 3; turn++) {
		request.instance = turn == 1 ? TEXT("another") : TEXT("one");
		ask(counters, &request, &tally, 1);
		await(&tally);
		counters_async_refund(counters, request.customer, request.node, request.queue_id);
	}
	assert_int_equal(tally.answers[COUNTERS_CHARGED], 3);
	assert_int_equal(tally.last.usage[0].used, 0);
	counters_async_free(&counters);
}

/* Flushed questions are on their way before the loop comes round. */
static void what_is_flushed_waits_for_no_round(void **state)
{
	(void)state;
	struct counters_async *counters = client(PATIENCE_MS);
	struct counters_request request = request_of("flushed", "100/h");
	struct tally tally = {0};
	redisContext *redis = redisConnectUnix(server.socket);
	ask(counters, &request, &tally, 1);
	await(&tally);
	freeReplyObject(redisCommand(redis, "FLUSHALL"));
	ask(counters, &request, &tally, 1);
	counters_async_flush(counters);
	for (long long keys = 0; !keys;) {
		redisReply *reply = redisCommand(redis, "DBSIZE");
		keys = reply->integer;
		freeReplyObject(reply);
	}
	assert_int_equal(tally.open, 1);
	await(&tally);
	assert_int_equal(tally.answers[COUNTERS_CHARGED], 2);
	redisFree(redis);
	counters_async_free(&counters);
}

/* One who asks again from within an answer. */
struct asker {
	struct counters_async *counters;
	struct counters_request request;
	struct tally tally;
	int more;
};

static void count_and_ask(void *context, const struct counters_result *result)
{
	struct asker *asker = context;
	count(&asker->tally, result);
	while (asker->more) {
		asker->more--;
		asker->tally.open++;
		counters_async_charge(asker->counters, &asker->request, count_and_ask, asker);
	}
}

/* Redis is gone, and what writes to it first is the pipeline that is full, be it within an answer. */
static void a_pipeline_into_the_void_is_unavailable(void **state)
{
	(void)state;
	struct asker asker = {.counters = client(PATIENCE_MS), .request = request_of("void", "100/h")};
	ask(asker.counters, &asker.request, &asker.tally, 1);
	await(&asker.tally);
	asker.tally.open++;
	asker.more = MANY;
	counters_async_charge(asker.counters, &asker.request, count_and_ask, &asker);
	await(&asker.tally);
	assert_int_equal(asker.tally.answers[COUNTERS_CHARGED], 100);
	redis_server_stop(&server);
	ask(asker.counters, &asker.request, &asker.tally, MANY);
	await(&asker.tally);
	assert_int_equal(asker.tally.answers[COUNTERS_UNAVAILABLE], MANY);
	redis_server_restart(&server);
	counters_async_free(&asker.counters);
}

static void a_lost_script_is_sent_again(void **state)
{
	(void)state;
	struct counters_async *counters = client(PATIENCE_MS);
	struct counters_request request = request_of("lost-script", "100/h");
	struct tally tally = {0};
	ask(counters, &request, &tally, 1);
	await(&tally);
	redisContext *redis = redisConnectUnix(server.socket);
	freeReplyObject(redisCommand(redis, "SCRIPT FLUSH"));
	redisFree(redis);
	ask(counters, &request, &tally, 5);
	await(&tally);
	assert_int_equal(tally.answers[COUNTERS_CHARGED], 6);
	counters_async_free(&counters);
}

static void a_restart_is_noticed_by_the_connection(void **state)
{
	(void)state;
	struct counters_async *counters = client(PATIENCE_MS);
	struct counters_request request = request_of("restart", "100/h");
	struct tally tally = {0};
	ask(counters, &request, &tally, 1);
	await(&tally);
	redis_server_restart(&server);
	for (int i = 0; i < 3; i++)
		event_base_loop(base, EVLOOP_NONBLOCK);
	ask(counters, &request, &tally, 1);
	await(&tally);
	assert_int_equal(tally.answers[COUNTERS_CHARGED], 2);
	counters_async_free(&counters);
}

static void an_absent_redis_answers_at_once_and_is_probed(void **state)
{
	(void)state;
	redis_server_stop(&server);
	struct counters_async *counters = client(PATIENCE_MS);
	struct counters_request request = request_of("absent", "100/h");
	struct tally tally = {0};
	ask(counters, &request, &tally, 2 * BREAKER_ERRORS);
	await(&tally);
	assert_int_equal(tally.answers[COUNTERS_UNAVAILABLE], 2 * BREAKER_ERRORS);
	redis_server_restart(&server);
	while (!tally.answers[COUNTERS_CHARGED]) {
		event_base_loop(base, EVLOOP_ONCE);
		ask(counters, &request, &tally, 1);
		await(&tally);
	}
	counters_async_free(&counters);
}

/* The breaker opens after three time-outs; then nobody waits any more; a probe closes it, and no late answer is taken
 * for another question's. */
static void a_hung_redis_costs_three_timeouts(void **state)
{
	(void)state;
	struct counters_async *counters = client(15);
	struct counters_request request = request_of("hung", "100/h"), other = request_of("hung-other", "9/h");
	struct tally tally = {0};
	kill(server.pid, SIGSTOP);
	for (int i = 0; i < BREAKER_ERRORS; i++) {
		ask(counters, &request, &tally, 5);
		assert_true(tally.open > 0);
		await(&tally);
	}
	assert_int_equal(tally.answers[COUNTERS_UNAVAILABLE], 5 * BREAKER_ERRORS);
	ask(counters, &request, &tally, 1);
	assert_int_equal(tally.open, 0);
	kill(server.pid, SIGCONT);
	while (!tally.answers[COUNTERS_CHARGED]) {
		event_base_loop(base, EVLOOP_ONCE);
		ask(counters, &other, &tally, 1);
		await(&tally);
	}
	assert_int_equal(tally.last.usage[0].allowed_units, 9);
	counters_async_free(&counters);
}

/* A Redis that answers but cannot write counts as away, and its probes do not close the breaker. */
static void a_redis_that_cannot_write_is_away(void **state)
{
	(void)state;
	struct counters_async *counters = client(PATIENCE_MS);
	struct counters_request request = request_of("read-only", "100/h");
	struct tally tally = {0};
	ask(counters, &request, &tally, 1);
	await(&tally);
	redisContext *redis = redisConnectUnix(server.socket);
	freeReplyObject(redisCommand(redis, "REPLICAOF 127.0.0.1 1"));
	ask(counters, &request, &tally, BREAKER_ERRORS);
	await(&tally);
	ask(counters, &request, &tally, 1);
	await(&tally);
	assert_int_equal(tally.answers[COUNTERS_UNAVAILABLE], BREAKER_ERRORS + 1);
	freeReplyObject(redisCommand(redis, "REPLICAOF NO ONE"));
	redisFree(redis);
	while (tally.answers[COUNTERS_CHARGED] < 2) {
		event_base_loop(base, EVLOOP_ONCE);
		ask(counters, &request, &tally, 1);
		await(&tally);
	}
	counters_async_free(&counters);
}

static void what_is_pending_at_the_end_is_unavailable(void **state)
{
	(void)state;
	struct counters_async *counters = client(PATIENCE_MS);
	struct counters_request request = request_of("pending", "100/h");
	struct tally tally = {0};
	ask(counters, &request, &tally, 7);
	counters_async_free(&counters);
	assert_int_equal(tally.open, 0);
	assert_int_equal(tally.answers[COUNTERS_UNAVAILABLE], 7);
}

static void a_password_is_given(void **state)
{
	(void)state;
	struct redis_server open = server;
	redis_server_start(&server, "se cret");
	struct counters_options options = {.socket = server.socket, .password = "se cret", .timeout_ms = PATIENCE_MS};
	struct counters_async *counters = counters_async_new(base, &options), *wrong = client(PATIENCE_MS);
	struct counters_request request = request_of("password", "100/h");
	struct tally tally = {0}, refused = {0};
	ask(counters, &request, &tally, 1);
	await(&tally);
	ask(wrong, &request, &refused, 1);
	await(&refused);
	assert_int_equal(tally.answers[COUNTERS_CHARGED], 1);
	assert_int_equal(refused.answers[COUNTERS_UNAVAILABLE], 1);
	counters_async_free(&counters);
	counters_async_free(&wrong);
	redis_server_remove(&server);
	server = open;
}

static int start(void **state)
{
	(void)state;
	signal(SIGPIPE, SIG_IGN);
	redis_server_start(&server, "");
	base = event_base_new();
	return base ? 0 : -1;
}

static int stop(void **state)
{
	(void)state;
	event_base_free(base);
	libevent_global_shutdown();
	redis_server_remove(&server);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(many_questions_of_one_round),
		cmocka_unit_test(a_charge_is_given_back),
		cmocka_unit_test(what_is_flushed_waits_for_no_round),
		cmocka_unit_test(a_pipeline_into_the_void_is_unavailable),
		cmocka_unit_test(a_lost_script_is_sent_again),
		cmocka_unit_test(a_restart_is_noticed_by_the_connection),
		cmocka_unit_test(an_absent_redis_answers_at_once_and_is_probed),
		cmocka_unit_test(a_hung_redis_costs_three_timeouts),
		cmocka_unit_test(a_redis_that_cannot_write_is_away),
		cmocka_unit_test(what_is_pending_at_the_end_is_unavailable),
		cmocka_unit_test(a_password_is_given),
	};
	return cmocka_run_group_tests(tests, start, stop);
}
