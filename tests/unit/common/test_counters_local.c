/* The local store: the same answers as Redis', from a file; shared by threads and processes, killed ones included; as a
 * stand-in for a Redis that is away, in the threads' client and in the loop's. */

#include <grp.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <event2/event.h>

#include "common/counters_async.h"
#include "common/counters_stand_in.h"
#include "common/counters_sync.h"

static char folder[64], path[96], absent[96];

static struct counters_local *store(void)
{
	return counters_local_new(&(struct counters_local_options){.path = path, .nodes = 1});
}

static struct counters_request request_of(const char *limit, const char *spec, int64_t cost)
{
	struct counters_request request = {
		.customer = TEXT("acme"), .node = TEXT("mx1"), .instance = TEXT("1a.2b"), .count = 1};
	size_t at;
	request.items[0] = (struct counters_item){
		.limit.id = text_of(limit), .subject = TEXT("app@acme.test"), .cost = cost, .window_end = 4102444800};
	assert_null(limit_spec_parse(text_of(spec), &request.items[0].limit.spec, &at));
	return request;
}

static enum counters_answer charge(struct counters_local *local, const struct counters_request *request,
				   struct counters_result *result)
{
	counters_local_charge(local, request, result);
	return result->answer;
}

static void charges_all_or_none(void **state)
{
	(void)state;
	struct counters_local *local = store();
	struct counters_result result;
	struct counters_request request = request_of("wide", "100/h", 60);
	request.items[1] = request_of("narrow", "70/day", 60).items[0];
	request.items[2] = request_of("dark", "10/h", 60).items[0];
	request.items[2].limit.action = LIMIT_SHADOW;
	request.count = 3;
	assert_int_equal(charge(local, &request, &result), COUNTERS_CHARGED);
	assert_true(result.shadowed);
	request.items[0].cost = request.items[1].cost = 40;
	assert_int_equal(charge(local, &request, &result), COUNTERS_REFUSED);
	assert_int_equal(result.binding, 1);
	assert_int_equal(result.usage[1].used, 60);
	request.count = 1;
	assert_int_equal(charge(local, &request, &result), COUNTERS_CHARGED);
	assert_int_equal(result.usage[0].used, 60);
	counters_local_free(&local);
	assert_null(local);
}

/* A hold limit that is used up holds mail, which the other limits are charged with all the same and may refuse. */
static void a_hold_limit_leaves_the_others_alone(void **state)
{
	(void)state;
	struct counters_local *local = store();
	struct counters_result result;
	struct counters_request request = request_of("hold", "1/day", 1);
	request.items[0].limit.action = LIMIT_HOLD;
	request.items[1] = request_of("hold-minute", "3/h", 1).items[0];
	request.count = 2;
	request.queue_id = TEXT("HOLD");
	static const char *const instances[] = {"first", "second", "second", "third", "fourth", "fourth"};
	static const enum counters_answer answers[] = {COUNTERS_CHARGED, COUNTERS_CHARGED, COUNTERS_REPEATED,
						       COUNTERS_CHARGED, COUNTERS_REFUSED, COUNTERS_REFUSED};
	for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
		request.instance = text_of(instances[i]);
		assert_int_equal(charge(local, &request, &result), answers[i]);
		assert_int_equal(result.held, i > 0 && i < 4);
		assert_int_equal(result.binding, answers[i] == COUNTERS_REFUSED);
	}
	assert_int_equal(result.usage[0].used, 1);
	counters_local_free(&local);
}

static void outlives_the_process_and_its_kill(void **state)
{
	(void)state;
	struct counters_request request = request_of("killed", "1000/day", 1);
	pid_t child = fork();
	if (child == 0) {
		struct counters_local *local = store();
		struct counters_result result;
		for (int i = 0; i < 100; i++)
			counters_local_charge(local, &request, &result);
		raise(SIGKILL);
	}
	waitpid(child, NULL, 0);
	struct counters_local *local = store();
	struct counters_result result;
	assert_int_equal(charge(local, &request, &result), COUNTERS_CHARGED);
	assert_int_equal(result.usage[0].used, 100);
	counters_local_free(&local);
}

static void receipts_repeat_refund_and_settle(void **state)
{
	(void)state;
	struct counters_local *local = store();
	struct counters_result result;
	struct counters_request request = request_of("receipt", "1000/h", 900), final = request;
	request.queue_id = final.queue_id = TEXT("4F1C2A");
	request.begins = true;
	assert_int_equal(charge(local, &request, &result), COUNTERS_CHARGED);
	assert_int_equal(charge(local, &request, &result), COUNTERS_REPEATED);
	final.instance = TEXT("milter");
	final.items[0].settles = true;
	final.items[0].cost = 1001;
	assert_int_equal(charge(local, &final, &result), COUNTERS_REFUSED);
	final.items[0].cost = 400;
	assert_int_equal(charge(local, &final, &result), COUNTERS_CHARGED);
	assert_int_equal(counters_local_refund(local, TEXT("acme"), TEXT("mx1"), TEXT("4F1C2A")), 0);
	assert_int_equal(counters_local_refund(local, TEXT("acme"), TEXT("mx1"), TEXT("4F1C2A")), 0);
	request.instance = TEXT("next");
	assert_int_equal(charge(local, &request, &result), COUNTERS_CHARGED);
	assert_int_equal(result.usage[0].used, 0);
	counters_local_free(&local);
}

static void quotas_are_given_back(void **state)
{
	(void)state;
	struct counters_local *local = store();
	struct counters_result result;
	struct counters_request request = request_of("quota", "10/day", 7);
	request.queue_id = TEXT("QUOTA");
	assert_int_equal(charge(local, &request, &result), COUNTERS_CHARGED);
	assert_int_equal(counters_local_refund(local, TEXT("acme"), TEXT("mx1"), TEXT("QUOTA")), 0);
	assert_int_equal(charge(local, &request, &result), COUNTERS_CHARGED);
	assert_int_equal(result.usage[0].used, 0);
	counters_local_free(&local);
}

static const struct {
	int nodes;
	const char *spec;
	int64_t allowed;
} shares[] = {
	{1, "100/h", 120}, {2, "100/h", 60}, {3, "100/day", 40}, {1000, "100/h", 1},
	{1, "1/h", 1},     {4, "0/h", 0},    {1, "5/min", 6},
};

static void a_stand_in_counts_this_hosts_share(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof shares / sizeof *shares; i++) {
		char id[16];
		snprintf(id, sizeof id, "share-%zu", i);
		struct counters_local *local = counters_local_new(
			&(struct counters_local_options){.path = path, .nodes = shares[i].nodes, .stand_in = true});
		struct counters_request request = request_of(id, shares[i].spec, 1);
		struct counters_result result;
		int64_t charged = 0;
		while (charge(local, &request, &result) == COUNTERS_CHARGED)
			charged++;
		assert_int_equal(result.answer, COUNTERS_REFUSED);
		assert_int_equal(charged, shares[i].allowed);
		counters_local_free(&local);
	}
}

/* 5,000 sources come once with a limit whose state is worth nothing after a moment; what is over is swept out. */
static void what_is_over_is_removed(void **state)
{
	(void)state;
	struct stat before, after;
	struct counters_local *local = store();
	struct counters_request request = request_of("swept", "100/s", 1);
	struct counters_result result;
	for (int round = 0; round < 2; round++) {
		request.items[0].window_end = 1;
		assert_null(limit_spec_parse(TEXT("1000/day"), &request.items[0].limit.spec, &(size_t){0}));
		for (int i = 0; i < 5000; i++) {
			char subject[32];
			snprintf(subject, sizeof subject, "%d-%d", round, i);
			request.items[0].subject = text_of(subject);
			assert_int_equal(charge(local, &request, &result), COUNTERS_CHARGED);
		}
		assert_int_equal(stat(path, round ? &after : &before), 0);
	}
	assert_true(after.st_size <= before.st_size + 65536);
	counters_local_free(&local);
}

static void a_damaged_file_is_begun_anew(void **state)
{
	(void)state;
	struct counters_result result;
	struct counters_request request = request_of("damaged", "10/h", 1);
	FILE *file = fopen(path, "w");
	for (int i = 0; i < 10000; i++)
		fputs("this is no database ", file);
	fclose(file);
	struct counters_local *local = store();
	assert_int_equal(charge(local, &request, &result), COUNTERS_CHARGED);
	counters_local_free(&local);
}

static void a_file_that_cannot_be_made_is_unavailable(void **state)
{
	(void)state;
	struct counters_result result;
	struct counters_request request = request_of("nowhere", "10/h", 1);
	struct counters_local *local =
		counters_local_new(&(struct counters_local_options){.path = "/nonexistent/counters.mdb"});
	assert_int_equal(charge(local, &request, &result), COUNTERS_UNAVAILABLE);
	assert_int_equal(counters_local_refund(local, TEXT("acme"), TEXT("mx1"), TEXT("X")), -1);
	counters_local_free(&local);
}

/* Limits of a login, 2/h, and of a network, 1/h, by what is told of each; the answers to three questions in turn. */
static const struct {
	enum counters_unavailable login, network;
	enum counters_answer answers[3];
	size_t binding; /* of the third, when it is refused */
	enum counters_unavailable rule;
} stand_ins[] = {
	{COUNTERS_FALL_LOCAL, COUNTERS_FALL_LOCAL, {COUNTERS_CHARGED, COUNTERS_REFUSED, COUNTERS_REFUSED}, 1, 0},
	{COUNTERS_FALL_LOCAL, COUNTERS_FALL_ACCEPT, {COUNTERS_CHARGED, COUNTERS_CHARGED, COUNTERS_REFUSED}, 0, 0},
	{COUNTERS_FALL_ACCEPT, COUNTERS_FALL_LOCAL, {COUNTERS_CHARGED, COUNTERS_REFUSED, COUNTERS_REFUSED}, 1, 0},
	{COUNTERS_FALL_LOCAL,
	 COUNTERS_FALL_DEFER,
	 {COUNTERS_UNAVAILABLE, COUNTERS_UNAVAILABLE, COUNTERS_UNAVAILABLE},
	 0,
	 COUNTERS_FALL_DEFER},
	{COUNTERS_FALL_ACCEPT,
	 COUNTERS_FALL_DEFER,
	 {COUNTERS_UNAVAILABLE, COUNTERS_UNAVAILABLE, COUNTERS_UNAVAILABLE},
	 0,
	 COUNTERS_FALL_DEFER},
	{COUNTERS_FALL_ACCEPT,
	 COUNTERS_FALL_ACCEPT,
	 {COUNTERS_UNAVAILABLE, COUNTERS_UNAVAILABLE, COUNTERS_UNAVAILABLE},
	 0,
	 COUNTERS_FALL_ACCEPT},
};

static void stands_in_by_the_rule_of_each_scope(void **state)
{
	(void)state;
	struct counters_local *local = store();
	for (size_t i = 0; i < sizeof stand_ins / sizeof *stand_ins; i++) {
		enum counters_unavailable rules[LIMIT_SCOPE_MAX] = {COUNTERS_FALL_LOCAL};
		char login[32], network[32], instance[32];
		snprintf(login, sizeof login, "login-%zu", i);
		snprintf(network, sizeof network, "network-%zu", i);
		struct counters_request request = request_of(login, "2/h", 1);
		request.items[1] = request_of(network, "1/h", 1).items[0];
		request.items[1].limit.scope = LIMIT_NETWORK;
		request.count = 2;
		rules[LIMIT_LOGIN] = stand_ins[i].login;
		rules[LIMIT_NETWORK] = stand_ins[i].network;
		struct counters_result result;
		for (int ask = 0; ask < 3; ask++) {
			snprintf(instance, sizeof instance, "%zu.%d", i, ask);
			request.instance = text_of(instance);
			counters_stand_in(local, rules, &request, &result);
			assert_int_equal(result.answer, stand_ins[i].answers[ask]);
			assert_int_equal(result.count, result.answer == COUNTERS_UNAVAILABLE ? 0 : 2);
		}
		assert_int_equal(result.rule, stand_ins[i].rule);
		if (result.answer == COUNTERS_REFUSED) {
			assert_int_equal(result.binding, stand_ins[i].binding);
			assert_false(result.usage[result.binding].allowed);
		}
	}
	struct counters_request request = request_of("no-store", "1/h", 1);
	static const enum counters_unavailable all_local[LIMIT_SCOPE_MAX];
	struct counters_result result;
	counters_stand_in(NULL, all_local, &request, &result);
	assert_int_equal(result.answer, COUNTERS_UNAVAILABLE);
	assert_int_equal(result.rule, COUNTERS_FALL_LOCAL);
	counters_local_free(&local);
}

/* One of two hosts may not let pass what the limit does: it says that it only stood in, and that a wait is short. */
static void a_stand_in_refuses_nothing_for_long(void **state)
{
	(void)state;
	static const enum counters_unavailable all_local[LIMIT_SCOPE_MAX];
	static const char *const wide[] = {"100/h", "100/day"};
	struct counters_local *local =
		counters_local_new(&(struct counters_local_options){.path = path, .nodes = 2, .stand_in = true});
	for (size_t i = 0; i < sizeof wide / sizeof *wide; i++) {
		struct counters_request request = request_of(wide[i], wide[i], 61);
		struct counters_result result;
		for (int turn = 0; turn < 3; turn++) {
			counters_stand_in(local, all_local, &request, &result);
			assert_true(result.stood_in);
			assert_int_equal(result.answer, turn == 1 ? COUNTERS_CHARGED : COUNTERS_REFUSED);
			if (turn != 1)
				assert_int_equal(result.usage[0].retry_after_us, COUNTERS_STAND_IN_RETRY_S * 1000000);
			request.items[0].cost = 60;
		}
		assert_int_equal(charge(local, &request, &result), COUNTERS_REFUSED);
		assert_false(result.stood_in);
	}
	counters_local_free(&local);
}

/* What an account of the shared group does with the store, under a daemon's umask; its exit status. */
static int as_account(uid_t account, const char *file, bool charges)
{
	pid_t child = fork();
	if (child == 0) {
		const gid_t shared = 65534;
		struct counters_result result;
		struct counters_request request = request_of("two", "10/h", 1);
		umask(027);
		if (setgroups(0, NULL) != 0 || setgid(shared) != 0 || setuid(account) != 0)
			_exit(2);
		struct counters_local *local = counters_local_new(&(struct counters_local_options){.path = file});
		bool good = charges ? charge(local, &request, &result) == COUNTERS_CHARGED
				    : counters_local_bounces(local, TEXT("acme"), TEXT("app@acme.test"), 1) == 0;
		_exit(good ? 0 : 1);
	}
	int status;
	waitpid(child, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* policyd and the bouncer have accounts of their own; whoever starts first makes the file. */
static void two_accounts_of_a_group_share_it(void **state)
{
	(void)state;
	if (geteuid() != 0)
		skip();
	for (int first = 0; first < 2; first++) {
		char shared[80], file[112], lock[128];
		snprintf(shared, sizeof shared, "/tmp/waybill-shared-XXXXXX");
		assert_non_null(mkdtemp(shared));
		assert_int_equal(chown(shared, 3, 65534), 0);
		assert_int_equal(chmod(shared, 02770), 0);
		snprintf(file, sizeof file, "%s/counters.mdb", shared);
		snprintf(lock, sizeof lock, "%s-lock", file);
		assert_int_equal(as_account(1, file, first == 0), 0);
		assert_int_equal(as_account(2, file, first != 0), 0);
		assert_int_equal(as_account(1, file, first == 0), 0);
		assert_int_equal(unlink(file) | unlink(lock) | rmdir(shared), 0);
	}
}

#define THREADS 6
#define EACH    300

static void *charge_often(void *context)
{
	struct counters_request request = request_of("threads", "1000/day", 1);
	intptr_t charged = 0;
	for (int i = 0; i < EACH; i++) {
		struct counters_result result;
		counters_local_charge(context, &request, &result);
		charged += result.answer == COUNTERS_CHARGED;
	}
	return (void *)charged;
}

static void threads_share_it_and_the_sum_is_exact(void **state)
{
	(void)state;
	struct counters_local *local = store();
	pthread_t threads[THREADS];
	intptr_t sum = 0;
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, charge_often, local), 0);
	for (int i = 0; i < THREADS; i++) {
		void *charged;
		pthread_join(threads[i], &charged);
		sum += (intptr_t)charged;
	}
	assert_int_equal(sum, 1000);
	counters_local_free(&local);
}

static void take_result(void *context, const struct counters_result *result)
{
	*(struct counters_result *)context = *result;
}

/* Redis is away: both clients answer from the same file, alone or as a stand-in, and give back from it. */
static void both_clients_fall_back_on_it(void **state)
{
	(void)state;
	struct event_base *base = event_base_new();
	for (int alone = 0; alone < 2; alone++) {
		struct counters_options options = {
			.socket = absent, .timeout_ms = 15, .local_path = path, .nodes = 1, .only_local = alone};
		struct counters *sync = counters_new(&options);
		struct counters_async *async = counters_async_new(base, &options);
		struct counters_request request = request_of(alone ? "alone" : "fallen", "10/h", alone ? 5 : 6);
		struct counters_result result = {.answer = COUNTERS_ANSWER_MAX};
		request.queue_id = alone ? TEXT("ALONE") : TEXT("FALLEN");
		counters_async_charge(async, &request, take_result, &result);
		assert_int_equal(result.answer, COUNTERS_CHARGED);
		request.instance = TEXT("another");
		counters_charge(sync, &request, &result);
		assert_int_equal(result.answer, COUNTERS_CHARGED);
		assert_int_equal(result.usage[0].used, alone ? 5 : 6);
		request.instance = TEXT("third");
		counters_charge(sync, &request, &result);
		assert_int_equal(result.answer, COUNTERS_REFUSED);
		assert_int_equal(counters_refund(sync, request.customer, request.node, request.queue_id, 0), 0);
		counters_charge(sync, &request, &result);
		assert_int_equal(result.usage[0].used, 0);
		counters_free(&sync);
		counters_async_free(&async);
	}
	event_base_free(base);
	libevent_global_shutdown();
}

/* The guard's facts, kept where this store is the only one; a stand-in for Redis tells none. */
static void the_takeover_guard_is_told(void **state)
{
	(void)state;
	struct event_base *base = event_base_new();
	struct counters_options options = {
		.socket = absent, .timeout_ms = 15, .local_path = path, .nodes = 1, .only_local = true};
	struct counters *sync = counters_new(&options);
	struct counters_async *async = counters_async_new(base, &options);
	struct counters_request request = request_of("watched", "5/h", 5);
	struct counters_result result;
	request.queue_id = TEXT("WATCHED");
	request.watch = (struct counters_watch){
		.login = TEXT("app@acme.test"), .network = TEXT("192.0.2.0/24"), .recipients = 5};
	counters_async_charge(async, &request, take_result, &result);
	assert_int_equal(result.answer, COUNTERS_CHARGED);
	assert_true(result.watched && result.takeover.networks == 1 && result.takeover.volume == 5);
	/* Repeated: told, not counted. Refused: the network counts, the recipients do not. */
	request.watch.network = TEXT("198.51.100.0/24");
	counters_charge(sync, &request, &result);
	assert_int_equal(result.answer, COUNTERS_REPEATED);
	assert_true(result.watched && result.takeover.networks == 1 && result.takeover.volume == 5);
	request.instance = TEXT("next");
	counters_charge(sync, &request, &result);
	assert_int_equal(result.answer, COUNTERS_REFUSED);
	assert_true(result.watched && result.takeover.networks == 2 && result.takeover.volume == 5);
	assert_int_equal(counters_bounces(sync, request.customer, request.watch.login, 3), 0);
	counters_async_suspend(async, request.customer, request.watch.login, 0);
	struct counters_request look = {.customer = request.customer, .watch = request.watch};
	look.watch.looks = true;
	counters_charge(sync, &look, &result);
	assert_true(result.watched && result.takeover.suspended && result.takeover.bad_mailboxes == 3);
	assert_int_equal(result.takeover.networks, 2);
	counters_async_refund(async, request.customer, request.node, request.queue_id);
	counters_charge(sync, &request, &result);
	assert_int_equal(result.answer, COUNTERS_CHARGED);
	counters_free(&sync);
	counters_async_free(&async);
	options.only_local = false;
	sync = counters_new(&options);
	counters_charge(sync, &request, &result);
	assert_false(result.watched);
	assert_int_equal(counters_bounces(sync, request.customer, request.watch.login, 3), -1);
	counters_free(&sync);
	event_base_free(base);
	libevent_global_shutdown();
}

static int start(void **state)
{
	(void)state;
	snprintf(folder, sizeof folder, "/tmp/waybill-local-XXXXXX");
	if (!mkdtemp(folder))
		return -1;
	snprintf(path, sizeof path, "%s/counters.mdb", folder);
	snprintf(absent, sizeof absent, "%s/redis.sock", folder);
	return 0;
}

static int stop(void **state)
{
	(void)state;
	char lock[112];
	snprintf(lock, sizeof lock, "%s-lock", path);
	unlink(path);
	unlink(lock);
	return rmdir(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(charges_all_or_none),
		cmocka_unit_test(a_hold_limit_leaves_the_others_alone),
		cmocka_unit_test(outlives_the_process_and_its_kill),
		cmocka_unit_test(receipts_repeat_refund_and_settle),
		cmocka_unit_test(quotas_are_given_back),
		cmocka_unit_test(a_stand_in_counts_this_hosts_share),
		cmocka_unit_test(what_is_over_is_removed),
		cmocka_unit_test(a_damaged_file_is_begun_anew),
		cmocka_unit_test(a_file_that_cannot_be_made_is_unavailable),
		cmocka_unit_test(stands_in_by_the_rule_of_each_scope),
		cmocka_unit_test(a_stand_in_refuses_nothing_for_long),
		cmocka_unit_test(two_accounts_of_a_group_share_it),
		cmocka_unit_test(threads_share_it_and_the_sum_is_exact),
		cmocka_unit_test(both_clients_fall_back_on_it),
		cmocka_unit_test(the_takeover_guard_is_told),
	};
	return cmocka_run_group_tests(tests, start, stop);
}
