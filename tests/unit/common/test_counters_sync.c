/* The threads' Redis client against a real Redis: answers, receipts, keys; and a Redis that is away, hung, flushed,
 * restarted or asks for a password. */

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <hiredis/hiredis.h>

#include "common/breaker.h"
#include "common/counters_script.h"
#include "common/counters_sync.h"
#include "tests/unit/common/redis_server.h"

#define PATIENCE_MS 2000 /* where the server is up: a busy machine must not fail the test */

static struct redis_server server;

static struct counters *client(const char *password)
{
	struct counters_options options = {.socket = server.socket, .password = password, .timeout_ms = PATIENCE_MS};
	return counters_new(&options);
}

static struct counters_request request_of(const char *limit, const char *spec, int64_t cost)
{
	struct counters_request request = {.customer = TEXT("acme"),
					   .node = TEXT("mx1"),
					   .queue_id = TEXT("4F1C2A"),
					   .instance = TEXT("1a.2b.3c.0"),
					   .count = 1};
	size_t at;
	request.items[0] =
		(struct counters_item){.limit.id = text_of(limit), .subject = TEXT("app@acme.test"), .cost = cost};
	assert_null(limit_spec_parse(text_of(spec), &request.items[0].limit.spec, &at));
	return request;
}

static enum counters_answer charge(struct counters *counters, struct counters_request request,
				   struct counters_result *result)
{
	counters_charge(counters, &request, result);
	return result->answer;
}

static void charges_until_the_limit_then_refuses(void **state)
{
	(void)state;
	struct counters *counters = client(NULL);
	struct counters_result result;
	struct counters_request request = request_of("sync-hour", "5/h", 1);
	request.queue_id = TEXT("");
	for (int i = 0; i < 5; i++) {
		assert_int_equal(charge(counters, request, &result), COUNTERS_CHARGED);
		assert_int_equal(result.usage[0].used, i);
	}
	assert_int_equal(charge(counters, request, &result), COUNTERS_REFUSED);
	assert_int_equal(result.binding, 0);
	assert_int_equal(result.usage[0].used, 5);
	assert_true(result.usage[0].retry_after_us > 0 && result.usage[0].retry_after_us <= INT64_C(720000000));
	assert_true(counters_healthy(counters));
	counters_free(&counters);
	assert_null(counters);
}

/* Two limits, the second is full: the first keeps its room. The binding one is the one that waits longest. */
static void charges_all_or_none(void **state)
{
	(void)state;
	struct counters *counters = client(NULL);
	struct counters_result result;
	struct counters_request request = request_of("all-wide", "100/h", 60);
	request.queue_id = TEXT("");
	request.items[1] = request_of("all-narrow", "100/h", 60).items[0];
	request.items[2] = request_of("all-minute", "100/min", 60).items[0];
	request.count = 3;
	assert_int_equal(charge(counters, request, &result), COUNTERS_CHARGED);
	request.items[0].cost = 40;
	assert_int_equal(charge(counters, request, &result), COUNTERS_REFUSED);
	assert_int_equal(result.binding, 1);
	assert_int_equal(result.count, 3);
	assert_true(result.usage[0].allowed);
	assert_false(result.usage[2].allowed);
	request.count = 1;
	assert_int_equal(charge(counters, request, &result), COUNTERS_CHARGED);
	assert_int_equal(result.usage[0].used, 60);
	counters_free(&counters);
}

static void a_shadow_limit_never_refuses(void **state)
{
	(void)state;
	struct counters *counters = client(NULL);
	struct counters_result result;
	struct counters_request request = request_of("shadow", "2/day", 1);
	request.queue_id = TEXT("");
	request.items[0].limit.action = LIMIT_SHADOW;
	request.items[0].window_end = 4102444800;
	for (int i = 0; i < 4; i++) {
		assert_int_equal(charge(counters, request, &result), COUNTERS_CHARGED);
		assert_int_equal(result.shadowed, i >= 2);
		assert_int_equal(result.usage[0].used, i < 2 ? i : 2);
	}
	counters_free(&counters);
}

static void a_repeated_question_is_free_and_a_refund_gives_back(void **state)
{
	(void)state;
	struct counters *counters = client(NULL);
	struct counters_result result;
	struct counters_request request = request_of("receipt", "10/h", 7);
	assert_int_equal(charge(counters, request, &result), COUNTERS_CHARGED);
	assert_int_equal(charge(counters, request, &result), COUNTERS_REPEATED);
	request.instance = TEXT("another");
	assert_int_equal(charge(counters, request, &result), COUNTERS_REFUSED);
	assert_int_equal(counters_refund(counters, request.customer, request.node, request.queue_id, 0), 0);
	assert_int_equal(charge(counters, request, &result), COUNTERS_CHARGED);
	assert_int_equal(result.usage[0].used, 0);
	assert_int_equal(counters_refund(counters, request.customer, request.node, request.queue_id, 0), 0);
	assert_int_equal(counters_refund(counters, request.customer, request.node, request.queue_id, 0), 0);
	counters_free(&counters);
}

/* A new message with an old queue id: what the old one was charged stays charged when the new one is given back. */
static void a_reused_queue_id_begins_anew(void **state)
{
	(void)state;
	struct counters *counters = client(NULL);
	struct counters_result result;
	struct counters_request request = request_of("reused", "10/h", 3);
	request.queue_id = TEXT("REUSED");
	request.begins = true;
	assert_int_equal(charge(counters, request, &result), COUNTERS_CHARGED);
	request.instance = TEXT("next");
	assert_int_equal(charge(counters, request, &result), COUNTERS_CHARGED);
	assert_int_equal(counters_refund(counters, request.customer, request.node, request.queue_id, 0), 0);
	request.instance = TEXT("last");
	assert_int_equal(charge(counters, request, &result), COUNTERS_CHARGED);
	assert_int_equal(result.usage[0].used, 3);
	counters_free(&counters);
}

static void the_final_size_settles_the_claimed_one(void **state)
{
	(void)state;
	struct counters *counters = client(NULL);
	struct counters_result result;
	struct counters_request claimed = request_of("bytes", "1000/h", 900), final = claimed;
	claimed.queue_id = final.queue_id = TEXT("SETTLED");
	assert_int_equal(charge(counters, claimed, &result), COUNTERS_CHARGED);
	final.instance = TEXT("milter");
	final.items[0].settles = true;
	final.items[0].cost = 1001;
	assert_int_equal(charge(counters, final, &result), COUNTERS_REFUSED);
	final.items[0].cost = 400;
	assert_int_equal(charge(counters, final, &result), COUNTERS_CHARGED);
	claimed.queue_id = TEXT("");
	claimed.items[0].cost = 600;
	assert_int_equal(charge(counters, claimed, &result), COUNTERS_CHARGED);
	assert_int_equal(result.usage[0].used, 400);
	assert_int_equal(charge(counters, claimed, &result), COUNTERS_REFUSED);
	counters_free(&counters);
}

static const struct {
	const char *customer, *subject, *key;
} keys[] = {
	{"acme", "app@acme.test", "wb:{acme}:l:id:app@acme.test"},
	{"acme", "a:b", "wb:{acme}:l:id:a%3Ab"},
	{"acme", "a%3Ab", "wb:{acme}:l:id:a%253Ab"},
	{"a}c{e", "x\ny z", "wb:{a%7Dc%7Be}:l:id:x%0Ay%20z"},
	{"acme", "b\xc3\xbc~", "wb:{acme}:l:id:b%C3%BC%7E"},
};

static void keys_cannot_alias(void **state)
{
	(void)state;
	char key[COUNTERS_KEY_MAX], other[COUNTERS_KEY_MAX], hostile[4096];
	struct counters_request request = request_of("id", "1/h", 1);
	for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
		request.customer = text_of(keys[i].customer);
		request.items[0].subject = text_of(keys[i].subject);
		assert_true(text_equal(text_at(key, counters_script_key(&request, 0, key)), text_of(keys[i].key)));
	}
	memset(hostile, ':', sizeof hostile);
	request.customer = request.items[0].limit.id = request.items[0].subject = text_at(hostile, sizeof hostile);
	request.items[0].limit.spec.period = LIMIT_MONTH;
	request.items[0].window_start = 1793491200;
	size_t len = counters_script_key(&request, 0, key);
	assert_in_range(len, 1, COUNTERS_KEY_MAX);
	assert_true(text_ends(text_at(key, len), TEXT(":20261101")));
	request.items[0].subject.len--;
	size_t other_len = counters_script_key(&request, 0, other);
	assert_false(text_equal(text_at(key, len), text_at(other, other_len)));
}

/* Europe/Berlin, 2026-03-29: midnight is 23:00 UTC by winter time and 22:00 by summer time; one day, one key. */
static void a_change_of_summer_time_keeps_the_window(void **state)
{
	(void)state;
	char winter[COUNTERS_KEY_MAX], summer[COUNTERS_KEY_MAX];
	struct counters_request request = request_of("id", "1/day", 1);
	int64_t noon = 1774778400, end;
	limit_window(LIMIT_DAY, noon, 3600, &request.items[0].window_start, &end);
	size_t winter_len = counters_script_key(&request, 0, winter);
	limit_window(LIMIT_DAY, noon, 7200, &request.items[0].window_start, &end);
	size_t summer_len = counters_script_key(&request, 0, summer);
	assert_true(text_equal(text_at(winter, winter_len), text_at(summer, summer_len)));
	assert_true(text_ends(text_at(summer, summer_len), TEXT(":20260329")));
}

static void survives_a_flush_and_a_restart(void **state)
{
	(void)state;
	struct counters *counters = client(NULL);
	struct counters_result result;
	struct counters_request request = request_of("flush", "5/h", 5);
	request.queue_id = TEXT("");
	redisContext *redis = redisConnectUnix(server.socket);
	assert_int_equal(charge(counters, request, &result), COUNTERS_CHARGED);
	freeReplyObject(redisCommand(redis, "FLUSHALL"));
	freeReplyObject(redisCommand(redis, "SCRIPT FLUSH"));
	redisFree(redis);
	assert_int_equal(charge(counters, request, &result), COUNTERS_CHARGED);
	redis_server_restart(&server);
	assert_int_equal(charge(counters, request, &result), COUNTERS_CHARGED);
	counters_free(&counters);
}

static void an_absent_redis_opens_the_breaker_and_is_probed(void **state)
{
	(void)state;
	struct counters *counters = client(NULL);
	struct counters_result result;
	struct counters_request request = request_of("absent", "5/h", 1);
	request.queue_id = TEXT("");
	redis_server_stop(&server);
	for (int i = 0; i < BREAKER_ERRORS; i++) {
		assert_true(counters_healthy(counters));
		assert_int_equal(charge(counters, request, &result), COUNTERS_UNAVAILABLE);
	}
	assert_false(counters_healthy(counters));
	assert_int_equal(counters_refund(counters, request.customer, request.node, TEXT("X"), 0), -1);
	redis_server_restart(&server);
	while (charge(counters, request, &result) == COUNTERS_UNAVAILABLE)
		usleep(10000);
	assert_int_equal(result.answer, COUNTERS_CHARGED);
	assert_true(counters_healthy(counters));
	counters_free(&counters);
}

/* The late answer of a hung Redis must not be taken for the answer to the next question. */
static void a_hung_redis_costs_the_timeout_and_its_late_answer_is_dropped(void **state)
{
	(void)state;
	struct counters_options options = {.socket = server.socket, .timeout_ms = 15};
	struct counters *counters = counters_new(&options), *patient = client(NULL);
	struct counters_result result;
	struct counters_request request = request_of("hung", "100/h", 1);
	request.queue_id = TEXT("");
	charge(counters, request, &result);
	kill(server.pid, SIGSTOP);
	assert_int_equal(charge(counters, request, &result), COUNTERS_UNAVAILABLE);
	/* What is given back behind it does not wait once more: it is no error either, and the breaker stays closed. */
	for (int i = 0; i < BREAKER_ERRORS; i++)
		assert_int_equal(counters_refund(counters, request.customer, request.node, TEXT("X"), result.waited_ms),
				 -1);
	assert_true(counters_healthy(counters));
	kill(server.pid, SIGCONT);
	request = request_of("hung-other", "9/h", 1);
	request.queue_id = TEXT("");
	assert_int_equal(charge(patient, request, &result), COUNTERS_CHARGED);
	while (charge(counters, request, &result) == COUNTERS_UNAVAILABLE)
		usleep(10000);
	assert_int_equal(result.usage[0].allowed_units, 9);
	assert_true(result.usage[0].used >= 1);
	counters_free(&counters);
	counters_free(&patient);
}

#define THREADS 8
#define EACH    250

static void *charge_often(void *context)
{
	struct counters_request request = request_of("threads", "1000/day", 1);
	request.queue_id = TEXT("");
	request.items[0].window_end = 4102444800;
	intptr_t charged = 0;
	for (int i = 0; i < EACH; i++) {
		struct counters_result result;
		counters_charge(context, &request, &result);
		charged += result.answer == COUNTERS_CHARGED;
	}
	return (void *)charged;
}

/* 2,000 questions of 8 threads against a quota of 1,000: exactly 1,000 pass. */
static void threads_share_it_and_the_sum_is_exact(void **state)
{
	(void)state;
	struct counters *counters = client(NULL);
	pthread_t threads[THREADS];
	intptr_t sum = 0;
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, charge_often, counters), 0);
	for (int i = 0; i < THREADS; i++) {
		void *charged;
		pthread_join(threads[i], &charged);
		sum += (intptr_t)charged;
	}
	assert_int_equal(sum, 1000);
	counters_free(&counters);
}

static void a_password_is_given(void **state)
{
	(void)state;
	struct counters_result result;
	struct counters_request request = request_of("password", "5/h", 1);
	struct redis_server open = server;
	redis_server_start(&server, "se cret");
	struct counters *counters = client("se cret"), *wrong = client("wrong");
	assert_int_equal(charge(counters, request, &result), COUNTERS_CHARGED);
	assert_int_equal(charge(wrong, request, &result), COUNTERS_UNAVAILABLE);
	counters_free(&counters);
	counters_free(&wrong);
	redis_server_remove(&server);
	server = open;
}

static int start_redis(void **state)
{
	(void)state;
	signal(SIGPIPE, SIG_IGN);
	redis_server_start(&server, "");
	return 0;
}

static int stop_redis(void **state)
{
	(void)state;
	redis_server_remove(&server);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(charges_until_the_limit_then_refuses),
		cmocka_unit_test(charges_all_or_none),
		cmocka_unit_test(a_shadow_limit_never_refuses),
		cmocka_unit_test(a_repeated_question_is_free_and_a_refund_gives_back),
		cmocka_unit_test(a_reused_queue_id_begins_anew),
		cmocka_unit_test(the_final_size_settles_the_claimed_one),
		cmocka_unit_test(keys_cannot_alias),
		cmocka_unit_test(a_change_of_summer_time_keeps_the_window),
		cmocka_unit_test(survives_a_flush_and_a_restart),
		cmocka_unit_test(an_absent_redis_opens_the_breaker_and_is_probed),
		cmocka_unit_test(a_hung_redis_costs_the_timeout_and_its_late_answer_is_dropped),
		cmocka_unit_test(threads_share_it_and_the_sum_is_exact),
		cmocka_unit_test(a_password_is_given),
	};
	return cmocka_run_group_tests(tests, start_redis, stop_redis);
}
