/* The log's lines, as a child process writes them to standard error. */

#include <pthread.h>
#include <regex.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/log.h"

#define STAMP "^[A-Z][a-z]{2} [0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2} [^ ]+ waybill/policyd\\[[0-9]+\\]: "

/* What WRITE leaves on standard error. */
static void capture(void (*write_lines)(int fd), char *out, size_t size)
{
	FILE *file = tmpfile();
	assert_non_null(file);
	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		dup2(fileno(file), STDERR_FILENO);
		write_lines(fileno(file));
		_exit(0);
	}
	int status;
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	rewind(file);
	size_t len = fread(out, 1, size - 1, file);
	out[len] = '\0';
	fclose(file);
}

static void assert_matches(const char *text, const char *pattern)
{
	regex_t regex;
	assert_int_equal(regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB | REG_NEWLINE), 0);
	if (regexec(&regex, text, 0, NULL, 0) != 0)
		print_error("%s\ndoes not match %s\n", text, pattern);
	assert_int_equal(regexec(&regex, text, 0, NULL, 0), 0);
	regfree(&regex);
}

static void write_levels(int fd)
{
	(void)fd;
	log_open("policyd", LOG_TARGET_STDERR, LOG_LEVEL_INFO);
	log_error("one %d", 1);
	log_warning("two");
	log_info("4F1C2A: customer=%s", "acme");
	log_debug("never seen");
	log_set_level(LOG_LEVEL_DEBUG);
	log_debug("seen");
	log_set_level(LOG_LEVEL_ERROR);
	log_warning("never seen");
}

static void levels(void **state)
{
	char out[4096];
	(void)state;
	unsetenv("JOURNAL_STREAM");
	capture(write_levels, out, sizeof out);
	assert_matches(out, STAMP "error: one 1$");
	assert_matches(out, STAMP "warning: two$");
	assert_matches(out, STAMP "4F1C2A: customer=acme$");
	assert_matches(out, STAMP "seen$");
	assert_null(strstr(out, "never"));
}

static void write_to_journal(int fd)
{
	struct stat st;
	char stream[64];
	fstat(fd, &st);
	snprintf(stream, sizeof stream, "%llu:%llu", (unsigned long long)st.st_dev, (unsigned long long)st.st_ino);
	setenv("JOURNAL_STREAM", stream, 1);
	write_levels(fd);
}

static void journal(void **state)
{
	char out[4096];
	(void)state;
	capture(write_to_journal, out, sizeof out);
	assert_string_equal(out, "<3>error: one 1\n<4>warning: two\n<6>4F1C2A: customer=acme\n<7>seen\n");
}

static void write_beside_journal(int fd)
{
	setenv("JOURNAL_STREAM", "1:1", 1);
	write_levels(fd);
}

static void redirected_from_journal(void **state)
{
	char out[4096];
	(void)state;
	capture(write_beside_journal, out, sizeof out);
	assert_matches(out, STAMP "warning: two$");
}

static void write_hostile(int fd)
{
	(void)fd;
	log_open("policyd", LOG_TARGET_STDERR, LOG_LEVEL_INFO);
	log_info("a\r\nb\x1b[2J\x7f\xc2\x9b"
		 "c\xc2\xa0\xc3\xb6\xc2");
	log_info("%s", "%s%n");
}

static void controls(void **state)
{
	char out[4096];
	(void)state;
	capture(write_hostile, out, sizeof out);
	assert_matches(out, ": a[?][?]b[?]\\[2J[?][?][?]c");
	assert_non_null(strstr(out, "c\xc2\xa0\xc3\xb6\xc2\n"));
	assert_matches(out, ": %s%n$");
}

static off_t size_of(int fd)
{
	struct stat st;
	return fstat(fd, &st) == 0 ? st.st_size : -1;
}

/* Ends the child with a word where a line is out too early, or not. */
static void write_gathered(int fd)
{
	log_open("policyd", LOG_TARGET_STDERR, LOG_LEVEL_INFO);
	log_gather();
	log_info("one");
	if (size_of(fd) != 0)
		log_error("one did not wait");
	log_warning("two");
	log_info("three");
	off_t before = size_of(fd);
	log_flush();
	if (before == 0 || size_of(fd) <= before)
		log_error("three did not wait");
	before = size_of(fd);
	log_info("four");
	if (size_of(fd) <= before)
		log_error("four waited");
	log_gather();
	for (int i = 0; i < 1000; i++)
		log_info("line %d", i);
	log_flush();
}

static void gathers(void **state)
{
	static char out[200000];
	(void)state;
	unsetenv("JOURNAL_STREAM");
	capture(write_gathered, out, sizeof out);
	const char *at[] = {strstr(out, ": one\n"),  strstr(out, ": warning: two\n"), strstr(out, ": three\n"),
			    strstr(out, ": four\n"), strstr(out, ": line 0\n"),       strstr(out, ": line 999\n")};
	for (size_t i = 0; i < sizeof at / sizeof *at; i++) {
		assert_non_null(at[i]);
		assert_true(i == 0 || at[i] > at[i - 1]);
	}
	assert_null(strstr(out, "wait"));
}

static void write_long(int fd)
{
	static char text[10000];
	(void)fd;
	memset(text, 'x', sizeof text - 1);
	log_open("policyd", LOG_TARGET_STDERR, LOG_LEVEL_INFO);
	log_info("%s", text);
	log_info("next");
}

static void cuts(void **state)
{
	static char out[20000];
	(void)state;
	capture(write_long, out, sizeof out);
	assert_true(strlen(out) > 2000 && strlen(out) < 3000);
	assert_matches(out, "x\\.\\.\\.$");
	assert_matches(out, STAMP "next$");
}

#define LINES 200

static void *log_many(void *letter)
{
	char text[101];
	memset(text, *(const char *)letter, 100);
	text[100] = '\0';
	for (int i = 0; i < LINES; i++)
		log_info("<%s>", text);
	return NULL;
}

static void write_from_threads(int fd)
{
	static const char letters[] = "abcd";
	pthread_t threads[4];
	(void)fd;
	log_open("policyd", LOG_TARGET_STDERR, LOG_LEVEL_INFO);
	for (int i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, log_many, (void *)(uintptr_t)&letters[i]);
	for (int i = 0; i < LINES; i++)
		log_set_level(i % 2 ? LOG_LEVEL_INFO : LOG_LEVEL_DEBUG);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
}

/* Every line is whole: one letter between its brackets. */
static void threads(void **state)
{
	static char out[400000];
	int count = 0;
	(void)state;
	capture(write_from_threads, out, sizeof out);
	for (char *line = out, *end; (end = strchr(line, '\n')); line = end + 1, count++) {
		const char *open = strchr(line, '<');
		assert_true(open && open < end);
		assert_int_equal(strspn(open + 1, (char[]){open[1], '\0'}), 100);
		assert_memory_equal(open + 101, ">\n", 2);
	}
	assert_int_equal(count, 4 * LINES);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(levels),   cmocka_unit_test(journal), cmocka_unit_test(redirected_from_journal),
		cmocka_unit_test(controls), cmocka_unit_test(gathers), cmocka_unit_test(cuts),
		cmocka_unit_test(threads),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
