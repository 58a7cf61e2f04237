/* The event spool: lines, rotation, several processes' files, a folder that is not there. */

#include <dirent.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/spool.h"

static char folder[64], spools[96];

struct tally {
	int lines;
	char last[256];
};

static void count(void *context, struct text line)
{
	struct tally *tally = context;
	tally->lines++;
	text_put(line, tally->last, sizeof tally->last);
}

static struct tally search(const char *needle)
{
	struct tally tally = {0};
	assert_int_equal(spool_search(spools, text_of(needle), count, &tally), 0);
	return tally;
}

static void lines_are_found_again(void **state)
{
	(void)state;
	struct spool *policyd = spool_open(spools, "policyd"), *milter = spool_open(spools, "milter");
	spool_add(policyd, TEXT("{\"id\":\"one\"}"));
	spool_add(policyd, TEXT("{\"id\":\"two\"}"));
	spool_add(milter, TEXT("{\"id\":\"three\"}"));
	assert_int_equal(search("\"id\":\"").lines, 3);
	assert_int_equal(search("\"two\"").lines, 1);
	assert_string_equal(search("\"three\"").last, "{\"id\":\"three\"}");
	spool_close(&policyd);
	spool_close(&milter);
	assert_null(policyd);
	policyd = spool_open(spools, "policyd");
	spool_add(policyd, TEXT("{\"id\":\"four\"}"));
	spool_close(&policyd);
	assert_int_equal(search("\"id\":\"").lines, 4);
}

static void a_killed_process_loses_no_line(void **state)
{
	(void)state;
	pid_t child = fork();
	if (child == 0) {
		struct spool *spool = spool_open(spools, "killed");
		for (int i = 0; i < 100; i++)
			spool_add(spool, TEXT("killed-line"));
		raise(SIGKILL);
	}
	waitpid(child, NULL, 0);
	assert_int_equal(search("killed-line").lines, 100);
}

static int64_t bytes_in_folder(int *files)
{
	int64_t sum = 0;
	DIR *list = opendir(spools);
	*files = 0;
	for (struct dirent *entry; (entry = readdir(list));) {
		char path[512];
		struct stat status;
		snprintf(path, sizeof path, "%s/%s", spools, entry->d_name);
		if (strncmp(entry->d_name, "full", 4) || stat(path, &status) != 0)
			continue;
		sum += status.st_size;
		++*files;
	}
	closedir(list);
	return sum;
}

/* Eleven files' worth of lines: nine are kept, the newest, and no line is torn by a rotation. */
static void full_files_are_rotated(void **state)
{
	(void)state;
	size_t len = 1 << 20;
	char *line = memset(malloc(len), 'x', len);
	struct spool *spool = spool_open(spools, "full");
	int files;
	for (int i = 0; i < 11 * (SPOOL_MAX_BYTES >> 20); i++)
		spool_add(spool, text_at(line, len));
	spool_add(spool, TEXT("the last line"));
	spool_close(&spool);
	int64_t bytes = bytes_in_folder(&files);
	assert_int_equal(files, SPOOL_FILES + 1);
	assert_true(bytes <= (int64_t)(SPOOL_FILES + 1) * (SPOOL_MAX_BYTES + 2 * (int64_t)len));
	assert_int_equal(search("the last line").lines, 1);
	assert_int_equal(bytes % (int64_t)(len + 1), (int64_t)strlen("the last line\n"));
	free(line);
}

/* Two processes of one program: whoever finds the file full renames it, and the other one writes to the new one. */
static void a_file_that_another_one_renamed_is_left(void **state)
{
	(void)state;
	char first[256], second[256];
	size_t len = 1 << 20;
	char *line = memset(malloc(len), 'y', len);
	struct spool *one = spool_open(spools, "shared"), *two = spool_open(spools, "shared");
	struct stat status;
	spool_add(two, TEXT("the second's first line"));
	for (int i = 0; i < (SPOOL_MAX_BYTES >> 20); i++)
		spool_add(one, text_at(line, len));
	spool_add(one, TEXT("the first's last line"));
	spool_add(two, TEXT("the second's last line"));
	snprintf(first, sizeof first, "%s/shared.jsonl", spools);
	snprintf(second, sizeof second, "%s/shared.jsonl.1", spools);
	assert_int_equal(stat(first, &status), 0);
	assert_int_equal(status.st_size, (int)strlen("the first's last line\nthe second's last line\n"));
	assert_int_equal(stat(second, &status), 0);
	assert_int_equal(status.st_size,
			 (int)strlen("the second's first line\n") + SPOOL_MAX_BYTES + (SPOOL_MAX_BYTES >> 20));
	unlink(first);
	spool_add(one, TEXT("a file that was taken away is made anew"));
	assert_int_equal(search("made anew").lines, 1);
	spool_close(&one);
	spool_close(&two);
	free(line);
}

static void a_folder_that_cannot_be_made_loses_only_lines(void **state)
{
	(void)state;
	struct spool *spool = spool_open("/nonexistent/folder", "policyd");
	spool_add(spool, TEXT("lost"));
	spool_add(spool, TEXT("lost"));
	spool_close(&spool);
	assert_int_equal(spool_search("/nonexistent/folder", TEXT("lost"), count, NULL), -1);
}

static int64_t size_of(const char *name)
{
	char path[256];
	struct stat status;
	snprintf(path, sizeof path, "%s/%s", spools, name);
	assert_int_equal(stat(path, &status), 0);
	return status.st_size;
}

/* A folder in each older file's place: nothing can be renamed. The full file grows, and one that can is renamed again. */
static void a_full_file_that_cannot_be_renamed_grows(void **state)
{
	(void)state;
	char path[256], inside[300];
	struct spool *spool = spool_open(spools, "stuck");
	spool_add(spool, TEXT("the first line"));
	snprintf(path, sizeof path, "%s/stuck.jsonl", spools);
	assert_int_equal(truncate(path, SPOOL_MAX_BYTES), 0);
	for (int number = 1; number <= SPOOL_FILES; number++) {
		snprintf(inside, sizeof inside, "%s.%d", path, number);
		assert_int_equal(mkdir(inside, 0700), 0);
		snprintf(inside, sizeof inside, "%s.%d/in", path, number);
		assert_int_equal(mkdir(inside, 0700), 0);
	}
	alarm(60);
	spool_add(spool, TEXT("behind the first"));
	spool_add(spool, TEXT("behind the second"));
	alarm(0);
	assert_int_equal(size_of("stuck.jsonl"),
			 SPOOL_MAX_BYTES + (int64_t)strlen("behind the first\nbehind the second\n"));
	for (int number = 1; number <= SPOOL_FILES; number++) {
		snprintf(inside, sizeof inside, "%s.%d/in", path, number);
		assert_int_equal(rmdir(inside), 0);
		snprintf(inside, sizeof inside, "%s.%d", path, number);
		assert_int_equal(rmdir(inside), 0);
	}
	assert_int_equal(truncate(path, SPOOL_MAX_BYTES + (2 << 20)), 0);
	spool_add(spool, TEXT("in a new file"));
	assert_int_equal(size_of("stuck.jsonl"), (int64_t)strlen("in a new file\n"));
	assert_int_equal(size_of("stuck.jsonl.1"), SPOOL_MAX_BYTES + (2 << 20));
	spool_close(&spool);
}

/* The disk is full within a line: the next one that fits stands by itself. */
static void a_line_that_is_cut_is_taken_back(void **state)
{
	(void)state;
	pid_t child = fork();
	if (child == 0) {
		struct spool *spool = spool_open(spools, "cut");
		signal(SIGXFSZ, SIG_IGN);
		setrlimit(RLIMIT_FSIZE, &(struct rlimit){40, 40});
		spool_add(spool, TEXT("twenty bytes of text"));
		spool_add(spool, TEXT("twenty more that end too late"));
		spool_add(spool, TEXT("it fits"));
		raise(SIGKILL);
	}
	waitpid(child, NULL, 0);
	assert_int_equal(size_of("cut.jsonl"), (int64_t)strlen("twenty bytes of text\nit fits\n"));
	assert_int_equal(search("it fits").lines, 1);
	assert_string_equal(search("it fits").last, "it fits");
}

static int start(void **state)
{
	(void)state;
	snprintf(folder, sizeof folder, "/tmp/waybill-spool-XXXXXX");
	if (!mkdtemp(folder))
		return -1;
	snprintf(spools, sizeof spools, "%s/spool", folder);
	return 0;
}

static int stop(void **state)
{
	(void)state;
	DIR *list = opendir(spools);
	for (struct dirent *entry; (entry = readdir(list));) {
		char path[512];
		snprintf(path, sizeof path, "%s/%s", spools, entry->d_name);
		unlink(path);
	}
	closedir(list);
	return rmdir(spools) || rmdir(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_are_found_again),
		cmocka_unit_test(a_killed_process_loses_no_line),
		cmocka_unit_test(full_files_are_rotated),
		cmocka_unit_test(a_file_that_another_one_renamed_is_left),
		cmocka_unit_test(a_full_file_that_cannot_be_renamed_grows),
		cmocka_unit_test(a_line_that_is_cut_is_taken_back),
		cmocka_unit_test(a_folder_that_cannot_be_made_loses_only_lines),
	};
	return cmocka_run_group_tests(tests, start, stop);
}
