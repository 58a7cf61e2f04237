/* The policy files of tests/golden/policyd: what a postmaster expects of which request, asked of the whole service with a
 * real directory. Their grammar: the README there. POLICY_BLESS=1 prints the files with the answers of today. */

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "policyd/service.h"
#include "tests/unit/policyd/world.h"

#define FOLDER "tests/golden/policyd"

struct answer {
	int count;
	char action[4096];
};

struct play {
	const char *file;
	int line, failures, asked;
	struct world *world;
	struct service_session session;
	struct buffer request;
	struct answer answer;
	FILE *bless;
};

static void take_answer(void *context, struct text action)
{
	struct answer *answer = context;
	answer->count++;
	text_put(action.len ? text_head(action, action.len - 2) : TEXT("disconnect"), answer->action,
		 sizeof answer->action);
}

static void ask(struct play *play)
{
	struct request request;
	buffer_char(&play->request, '\n');
	play->answer = (struct answer){0};
	size_t len;
	const char *why = request_take(&(struct request_scan){0}, buffer_view(&play->request), &len, &request);
	if (why) {
		snprintf(play->answer.action, sizeof play->answer.action, "malformed: %s", why);
		return;
	}
	struct service *service = service_new(&(struct service_options){
		.directory = world_directory(play->world),
		.counters = world_counters(play->world),
		.node = "mx1",
		.now_s = world_now_s,
		.now_us = world_now_s,
		.takeover = {.score = 80,
			     .networks = 20,
			     .volume = 500,
			     .bounces = 50,
			     .bounce_percent = 10,
			     .shadow_s = 7 * 86400},
	});
	service_ask(service, &play->session, &request, take_answer, &play->answer);
	service_free(&service);
	play->asked++;
	if (play->answer.count != 1)
		snprintf(play->answer.action, sizeof play->answer.action, "%d answers", play->answer.count);
}

static void expect(struct play *play, const char *line, const char *got)
{
	if (play->bless)
		fprintf(play->bless, "%s\n", got);
	if (strcmp(line, got) == 0)
		return;
	play->failures++;
	if (!play->bless)
		fprintf(stderr, "%s:%d: expected %s\n%*sgot %s\n", play->file, play->line, line,
			(int)strlen(play->file) + 9, "", got);
}

static void expect_log(struct play *play, const char *line)
{
	char got[4200];
	snprintf(got, sizeof got, "log %s", world_log());
	expect(play, line, got);
}

static void describe(struct play *play, const char *line)
{
	const char *why = world_line(play->world, line);
	if (!why)
		return;
	fprintf(stderr, "%s:%d: %s\n", play->file, play->line, why);
	play->failures++;
}

static bool starts(const char *line, const char *word)
{
	return strncmp(line, word, strlen(word)) == 0;
}

/* A request's lines are kept until the empty line behind them; then come the expectations. */
static void play_line(struct play *play, const char *line)
{
	bool inside = play->request.len > 0;
	if (inside && *line) {
		buffer_format(&play->request, "%s\n", line);
	} else if (inside) {
		ask(play);
		buffer_free(&play->request);
	} else if (starts(line, "request=")) {
		buffer_format(&play->request, "%s\n", line);
	} else if (starts(line, "action=") || starts(line, "disconnect") || starts(line, "malformed")) {
		expect(play, line, play->answer.action);
		return;
	} else if (starts(line, "log ")) {
		expect_log(play, line);
		return;
	} else if (*line && *line != '#') {
		describe(play, line);
	}
	if (play->bless)
		fprintf(play->bless, "%s\n", line);
}

static int play_file(const char *name)
{
	char path[512], line[4096], blessed[600];
	snprintf(path, sizeof path, FOLDER "/%s", name);
	snprintf(blessed, sizeof blessed, "%s.new", path);
	struct play play = {.file = path, .world = world_new()};
	if (getenv("POLICY_BLESS"))
		play.bless = fopen(blessed, "w");
	FILE *file = fopen(path, "r");
	assert_non_null(file);
	while (fgets(line, sizeof line, file)) {
		line[strcspn(line, "\n")] = '\0';
		play.line++;
		play_line(&play, line);
	}
	fclose(file);
	if (play.bless) {
		fclose(play.bless);
		rename(blessed, path);
	}
	buffer_free(&play.request);
	world_free(&play.world);
	if (play.failures || !play.asked)
		fprintf(stderr, "%s: %d requests, %d failures\n", path, play.asked, play.failures);
	return play.failures + !play.asked;
}

static void policy_files_hold(void **state)
{
	(void)state;
	int failures = 0, files = 0;
	DIR *folder = opendir(FOLDER);
	assert_non_null(folder);
	for (struct dirent *entry; (entry = readdir(folder));) {
		size_t len = strlen(entry->d_name);
		if (len < 7 || strcmp(entry->d_name + len - 7, ".policy") != 0)
			continue;
		failures += play_file(entry->d_name);
		files++;
	}
	closedir(folder);
	assert_true(files > 0);
	assert_int_equal(failures, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(policy_files_hold),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
