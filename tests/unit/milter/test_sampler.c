/* milter/sampler: what the child's end means, and that neither a hung nor a missing one keeps anything waiting. */

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "milter/sampler.h"

struct outcome {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	int count;
	enum sampler_result result;
	char name[64], why[256];
};

static void done(void *context, enum sampler_result result, struct text name, struct text why)
{
	struct outcome *outcome = context;
	pthread_mutex_lock(&outcome->lock);
	outcome->count++;
	outcome->result = result;
	text_put(name, outcome->name, sizeof outcome->name);
	text_put(why, outcome->why, sizeof outcome->why);
	pthread_cond_signal(&outcome->changed);
	pthread_mutex_unlock(&outcome->lock);
}

static void wait_for(struct outcome *outcome, int count)
{
	pthread_mutex_lock(&outcome->lock);
	while (outcome->count < count)
		pthread_cond_wait(&outcome->changed, &outcome->lock);
	pthread_mutex_unlock(&outcome->lock);
}

static void check(const char *const *command, int64_t timeout_ms, enum sampler_result result, const char *why)
{
	struct outcome outcome = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
	struct sampler *sampler = sampler_new(command, 1, timeout_ms, done, &outcome);
	struct buffer message = {0};
	assert_true(sampler_wants(sampler));
	for (int i = 0; i < 100000; i++) /* more than a pipe holds */
		buffer_text(&message, TEXT("a line\r\n"));
	sampler_submit(sampler, TEXT("4F1C2A"), &message);
	wait_for(&outcome, 1);
	assert_int_equal(outcome.result, result);
	assert_string_equal(outcome.name, "4F1C2A");
	assert_string_equal(outcome.why, why);
	buffer_free(&message);
	sampler_free(&sampler);
}

static void results_by_exit_status(void **state)
{
	(void)state;
	static const struct {
		const char *script;
		int64_t timeout_ms;
		enum sampler_result result;
		const char *why;
	} cases[] = {
		{"test $(wc -c) = 800000 && echo passed", 60000, SAMPLER_PASSED, "passed"},
		{"cat >/dev/null; echo ' bad '; exit 1", 60000, SAMPLER_FAILED, "bad"},
		{"cat >/dev/null; echo later; exit 75", 60000, SAMPLER_UNKNOWN, "later"},
		{"echo early; exit 1", 60000, SAMPLER_FAILED, "early"}, /* without reading all */
		{"kill -SEGV $$", 60000, SAMPLER_UNKNOWN, "no answer in time"},
		{"exec sleep 600", 100, SAMPLER_UNKNOWN, "no answer in time"},                 /* reads nothing */
		{"cat >/dev/null; exec sleep 600", 500, SAMPLER_UNKNOWN, "no answer in time"}, /* says nothing */
		{"cat >/dev/null; exec sleep 600 >&-", 500, SAMPLER_UNKNOWN,
		 "no answer in time"}, /* will say nothing */
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		check((const char *const[]){"/bin/sh", "-c", cases[i].script, NULL}, cases[i].timeout_ms,
		      cases[i].result, cases[i].why);
	check((const char *const[]){"/nonexistent", NULL}, 60000, SAMPLER_UNKNOWN, "the program cannot be started");
}

static void one_in_so_many(void **state)
{
	(void)state;
	struct outcome outcome = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
	const char *const command[] = {"/bin/true", NULL};
	struct sampler *sampler = sampler_new(command, 5, 60000, done, &outcome);
	int wanted = 0;
	for (int i = 0; i < 20; i++)
		wanted += sampler_wants(sampler);
	assert_int_equal(wanted, 4);
	sampler_free(&sampler);
	assert_false(sampler_wants(NULL));
}

/* While one is checked no other one is: neither kept nor taken. */
static void one_at_a_time(void **state)
{
	(void)state;
	struct outcome outcome = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
	const char *const command[] = {"/bin/sh", "-c", "cat >/dev/null; sleep 1", NULL};
	struct sampler *sampler = sampler_new(command, 1, 60000, done, &outcome);
	struct buffer message = {0};
	sampler_submit(sampler, TEXT("first"), &message);
	assert_false(sampler_wants(sampler));
	sampler_submit(sampler, TEXT("second"), &message);
	sampler_free(&sampler);
	assert_int_equal(outcome.count, 1);
	assert_string_equal(outcome.name, "first");
	buffer_free(&message);
}

/* The pid that the child has written to the file at PATH. */
static pid_t wait_for_pid(const char *path)
{
	for (;;) {
		int pid = 0;
		FILE *file = fopen(path, "r");
		int count = file ? fscanf(file, "%d;", &pid) : 0;
		if (file)
			fclose(file);
		if (count == 1 && pid)
			return pid;
		nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
	}
}

/* Whoever stops the daemon waits for no check: a hung child is gone with it. */
static void the_end_ends_a_hung_child(void **state)
{
	(void)state;
	struct outcome outcome = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
	char folder[] = "/tmp/waybill-sampler-XXXXXX", path[64], script[256];
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof path, "%s/pid", folder);
	snprintf(script, sizeof script, "echo \"$$;\" >%s.new && mv %s.new %s; exec sleep 86400", path, path, path);
	const char *const command[] = {"/bin/sh", "-c", script, NULL};
	struct sampler *sampler = sampler_new(command, 1, 86400000, done, &outcome);
	struct buffer message = {0};
	sampler_submit(sampler, TEXT("hung"), &message);
	pid_t pid = wait_for_pid(path);
	sampler_free(&sampler);
	assert_int_equal(kill(pid, 0), -1);
	assert_int_equal(outcome.count, 1);
	assert_int_equal(outcome.result, SAMPLER_UNKNOWN);
	buffer_free(&message);
	unlink(path);
	rmdir(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(results_by_exit_status),
		cmocka_unit_test(one_in_so_many),
		cmocka_unit_test(one_at_a_time),
		cmocka_unit_test(the_end_ends_a_hung_child),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
