/* Configuration files: what is read, and the one line that tells what is wrong where. */

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/conf.h"
#include "common/conf_value.h"
#include "common/counters_conf.h"

struct settings {
	char *listen, *path;
	bool flag;
	int64_t limit, wait_ms, size;
	int action, mode;
};

static const char *const actions[] = {"defer", "accept", NULL};

static const struct conf_row rows[] = {
	{"policyd", "listen", CONF_STRING, offsetof(struct settings, listen), NULL, 0, 0, NULL, false, "Where."},
	{"policyd", "path", CONF_PATH, offsetof(struct settings, path), "/var/x", 0, 0, NULL, true, "A path."},
	{"policyd", "flag", CONF_BOOL, offsetof(struct settings, flag), "no", 0, 0, NULL, true, "A flag."},
	{"policyd", "limit", CONF_INT, offsetof(struct settings, limit), "10", -5, 100, NULL, true, "A number."},
	{"policyd", "wait", CONF_DURATION, offsetof(struct settings, wait_ms), "300s", 0, 86400000, NULL, true,
	 "A time."},
	{"redis", "size", CONF_SIZE, offsetof(struct settings, size), "64k", 0, 1LL << 40, NULL, false, "A size."},
	{"redis", "action", CONF_ENUM, offsetof(struct settings, action), "defer", 0, 0, actions, true, "A choice."},
	{"redis", "mode", CONF_MODE, offsetof(struct settings, mode), "660", 0, 0, NULL, true, "A mode."},
};
#define ROWS rows, sizeof rows / sizeof *rows

static char folder[] = "/tmp/waybill-conf-XXXXXX", file[64], conf_d[64];

static int set_up(void **state)
{
	(void)state;
	if (!mkdtemp(folder))
		return -1;
	snprintf(file, sizeof file, "%s/waybill.conf", folder);
	snprintf(conf_d, sizeof conf_d, "%s/conf.d", folder);
	return 0;
}

static void write_file(const char *name, struct text content)
{
	FILE *out = fopen(name, "we");
	assert_non_null(out);
	assert_int_equal(fwrite(content.ptr, 1, content.len, out), content.len);
	fclose(out);
}

static int tear_down(void **state)
{
	(void)state;
	unlink(file);
	return rmdir(folder);
}

static struct settings load(struct text content)
{
	struct settings settings = {0};
	char *error;
	write_file(file, content);
	if (conf_load(file, ROWS, &settings, &error) != 0)
		print_error("%s\n", error);
	assert_null(error);
	return settings;
}

#define LISTEN "[policyd]\nlisten = x\n"

static void defaults(void **state)
{
	struct settings s = load(TEXT(LISTEN));
	(void)state;
	assert_string_equal(s.listen, "x");
	assert_string_equal(s.path, "/var/x");
	assert_false(s.flag);
	assert_int_equal(s.limit, 10);
	assert_int_equal(s.wait_ms, 300000);
	assert_int_equal(s.size, 65536);
	assert_int_equal(s.action, 0);
	assert_int_equal(s.mode, 0660);
	conf_free(ROWS, &s);
	assert_null(s.listen);
}

static void reads(void **state)
{
	struct settings s = load(
		TEXT("# a comment\n; another\n\n[ctl]\nanything = goes here\n[policyd]\r\n"
		     "  listen = unix:/run/x ; no # comment = here\r\n\tpath =\n  # indented\nflag=yes\nlimit= -5\n"
		     "wait = 90min\n[redis]\nsize = 3G\naction = accept\nmode = 0600"));
	(void)state;
	assert_string_equal(s.listen, "unix:/run/x ; no # comment = here");
	assert_null(s.path);
	assert_true(s.flag);
	assert_int_equal(s.limit, -5);
	assert_int_equal(s.wait_ms, 5400000);
	assert_int_equal(s.size, 3LL << 30);
	assert_int_equal(s.action, 1);
	assert_int_equal(s.mode, 0600);
	conf_free(ROWS, &s);
}

static void long_line(void **state)
{
	struct buffer text = {0};
	(void)state;
	buffer_text(&text, TEXT("[policyd]\nlisten = "));
	while (text.len < 10 + CONF_MAX_LINE)
		buffer_char(&text, 'x');
	buffer_char(&text, '\n');
	struct settings s = load(buffer_view(&text));
	assert_int_equal(strlen(s.listen), CONF_MAX_LINE - strlen("listen = "));
	conf_free(ROWS, &s);
	buffer_free(&text);
}

static void wrong(void **state)
{
	static const struct {
		struct text content;
		const char *error; /* behind the file's name */
	} cases[] = {
		{TEXT(""), ": [policyd] listen: is missing; add \"listen = ...\" below [policyd]"},
		{TEXT("[policyd]\nlisten =\n"), ": [policyd] listen: is missing; add \"listen = ...\" below [policyd]"},
		{TEXT("limit = 1\n"), ":1: a setting stands before the first [section]"},
		{TEXT("\n[polcyd]\n"), ":2: there is no such section"},
		{TEXT("[]\n"), ":1: there is no such section"},
		{TEXT("[\n"), ":1: there is no such section"},
		{TEXT("[policyd] x\n"), ":1: a section's line ends with its ]"},
		{TEXT("[policyd\n"), ":1: a section's line ends with its ]"},
		{TEXT("[policyd]\nnonsense\n"), ":2: neither [section] nor key = value"},
		{TEXT(LISTEN "limt = 5\n"), ":3: [policyd] limt: there is no such setting; did you mean \"limit\"?"},
		{TEXT(LISTEN "colour = 5\n"), ":3: [policyd] colour: there is no such setting"},
		{TEXT("[redis]\nlimit = 5\n"), ":2: [redis] limit: there is no such setting"},
		{TEXT(LISTEN "listen = y\n"), ":3: [policyd] listen: is set twice, first in line 2"},
		{TEXT(LISTEN "[redis]\nsize=1\n[policyd]\nlisten=y\n"),
		 ":6: [policyd] listen: is set twice, first in line 2"},
		{TEXT(LISTEN "path = var\n"), ":3: [policyd] path: \"var\" is not an absolute path"},
		{TEXT(LISTEN "flag = true\n"), ":3: [policyd] flag: \"true\" is neither yes nor no"},
		{TEXT(LISTEN "flag =\n"), ":3: [policyd] flag: \"\" is neither yes nor no"},
		{TEXT(LISTEN "limit = 101\n"), ":3: [policyd] limit: \"101\" is out of range: -5 to 100"},
		{TEXT(LISTEN "limit = -6\n"), ":3: [policyd] limit: \"-6\" is out of range: -5 to 100"},
		{TEXT(LISTEN "limit = 5x\n"), ":3: [policyd] limit: \"5x\" is not a number: -5 to 100"},
		{TEXT(LISTEN "limit =\n"), ":3: [policyd] limit: \"\" is not a number: -5 to 100"},
		{TEXT(LISTEN "limit = 99999999999999999999\n"),
		 ":3: [policyd] limit: \"99999999999999999999\" is not a number: -5 to 100"},
		{TEXT(LISTEN "wait = 2d\n"), ":3: [policyd] wait: \"2d\" is out of range: 0 to 1d"},
		{TEXT(LISTEN "wait = 9223372036854775807d\n"),
		 ":3: [policyd] wait: \"9223372036854775807d\" is out of range: 0 to 1d"},
		{TEXT(LISTEN "wait = 5 parsec\n"),
		 ":3: [policyd] wait: \"5 parsec\" has an unknown unit; use ms, s, min, h or d: 0 to 1d"},
		{TEXT(LISTEN "[redis]\nsize = 64K\n"),
		 ":4: [redis] size: \"64K\" has an unknown unit; use k, M or G: 0 to 1024G"},
		{TEXT(LISTEN "[redis]\naction = reject\n"),
		 ":4: [redis] action: \"reject\" is not one of the choices: defer, accept"},
		{TEXT(LISTEN "[redis]\nmode = 0888\n"), ":4: [redis] mode: \"0888\" is not an octal file mode"},
		{TEXT(LISTEN "[redis]\nmode = 10000\n"), ":4: [redis] mode: \"10000\" is not an octal file mode"},
		{TEXT("[policyd]\nlisten = a\x01\n"), ":2: the line holds a control character"},
		{TEXT("[policyd]\nlisten = a\0b\n"), ":2: the line holds a control character"},
		{TEXT("[policyd]\nlisten = a\rb\n"), ":2: the line holds a control character"},
		{TEXT("# \x1b[2J\n"), ":1: the line holds a control character"},
		/* the first error counts */
		{TEXT("[policyd]\nlimt = 1\nnonsense\n[x]\n"),
		 ":2: [policyd] limt: there is no such setting; did you mean \"limit\"?"},
		{TEXT("[policyd]\nnonsense\nlimt = 1\n"), ":2: neither [section] nor key = value"},
	};
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct settings s = {0};
		char *error;
		write_file(file, cases[i].content);
		assert_int_equal(conf_load(file, ROWS, &s, &error), -1);
		assert_non_null(error);
		assert_int_equal(strncmp(error, file, strlen(file)), 0);
		assert_string_equal(error + strlen(file), cases[i].error);
		free(error);
		conf_free(ROWS, &s);
	}
}

static void assert_error(const char *name, const char *want)
{
	struct settings s = {0};
	char *error;
	assert_int_equal(conf_load(name, ROWS, &s, &error), -1);
	if (!strstr(error, want))
		print_error("%s\n", error);
	assert_non_null(strstr(error, want));
	free(error);
	conf_free(ROWS, &s);
}

static void too_long_line(void **state)
{
	struct buffer text = {0};
	(void)state;
	buffer_text(&text, TEXT("[policyd]\n\nlisten = "));
	while (text.len < 11 + CONF_MAX_LINE + 1)
		buffer_char(&text, 'x');
	buffer_text(&text, TEXT("\nlimit = 5\n"));
	write_file(file, buffer_view(&text));
	assert_error(file, "waybill.conf:3: the line is too long");
	buffer_free(&text);
}

static void no_file(void **state)
{
	(void)state;
	unlink(file);
	assert_error(file, "waybill.conf: No such file or directory");
	assert_error(folder, "Is a directory");
}

static void folder_of_files(void **state)
{
	char a[80], b[80], ignored[80], hidden[80];
	struct settings s;
	(void)state;
	assert_int_equal(mkdir(conf_d, 0700), 0);
	snprintf(a, sizeof a, "%s/10-a.conf", conf_d);
	snprintf(b, sizeof b, "%s/20-b.conf", conf_d);
	snprintf(ignored, sizeof ignored, "%s/30.conf.bak", conf_d);
	snprintf(hidden, sizeof hidden, "%s/.40.conf", conf_d);
	write_file(b, TEXT("[policyd]\nlimit = 3\n"));
	write_file(a, TEXT("[policyd]\nlimit = 2\nwait = 1s\n"));
	write_file(ignored, TEXT("[policyd]\nlimit = 4\n"));
	write_file(hidden, TEXT("[policyd]\nlimit = 5\n"));
	s = load(TEXT(LISTEN "limit = 1\nwait = 7s\n"));
	assert_int_equal(s.limit, 3);
	assert_int_equal(s.wait_ms, 1000);
	conf_free(ROWS, &s);
	write_file(b, TEXT("\n[policyd]\nlimit = many\n"));
	assert_error(file, "/conf.d/20-b.conf:3: [policyd] limit: \"many\" is not a number");
	unlink(a);
	unlink(b);
	unlink(ignored);
	unlink(hidden);
	assert_int_equal(rmdir(conf_d), 0);
	write_file(conf_d, TEXT(""));
	assert_error(file, "conf.d: Not a directory");
	unlink(conf_d);
}

static void reloads(void **state)
{
	struct settings now = load(TEXT(LISTEN "limit = 1\n"));
	struct settings next =
		load(TEXT("[policyd]\nlisten = y\nlimit = 2\npath = /new\nflag = yes\n[redis]\nsize = 1M\n"));
	char *names = conf_needs_restart(ROWS, &now, &next);
	(void)state;
	assert_string_equal(names, "policyd.listen, redis.size");
	free(names);
	conf_take(ROWS, &now, &next);
	assert_string_equal(now.listen, "x");
	assert_int_equal(now.size, 65536);
	assert_int_equal(now.limit, 2);
	assert_string_equal(now.path, "/new");
	assert_true(now.flag);
	conf_free(ROWS, &next);
	next = load(TEXT(LISTEN));
	assert_null(conf_needs_restart(ROWS, &now, &next));
	conf_free(ROWS, &next);
	conf_free(ROWS, &now);
}

static char *printed(void (*print)(FILE *, const struct settings *), const struct settings *s)
{
	char *out = NULL;
	size_t len;
	FILE *stream = open_memstream(&out, &len);
	assert_non_null(stream);
	print(stream, s);
	fclose(stream);
	return out;
}

static void print_changed(FILE *out, const struct settings *s)
{
	conf_print(out, ROWS, s, true);
}

static void print_all(FILE *out, const struct settings *s)
{
	conf_print(out, ROWS, s, false);
}

static void print_sample(FILE *out, const struct settings *s)
{
	(void)s;
	conf_sample(out, ROWS);
}

static void prints(void **state)
{
	struct settings s = load(
		TEXT(LISTEN "path =\nwait = 5min\nlimit = 10\n[redis]\nsize = 65536\nmode = 0660\naction=accept\n"));
	char *out = printed(print_changed, &s);
	(void)state;
	assert_string_equal(out, "[policyd]\nlisten = x\npath = \n\n[redis]\naction = accept\n");
	free(out);
	out = printed(print_all, &s);
	assert_string_equal(out, "[policyd]\nlisten = x\npath = \nflag = no\nlimit = 10\nwait = 5min\n\n"
				 "[redis]\nsize = 64k\naction = accept\nmode = 0660\n");
	struct settings again = load(text_of(out));
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		assert_true(conf_value_same(&rows[i], &s, &again));
	free(out);
	conf_free(ROWS, &s);
	conf_free(ROWS, &again);
}

/* The sample is a file of comments and the settings that must be given. */
static void sample(void **state)
{
	char *out = printed(print_sample, NULL);
	(void)state;
	assert_non_null(strstr(out, "[policyd]\n# Where.\nlisten = \n# A path.\n#path = /var/x\n"));
	assert_non_null(strstr(out, "\n\n[redis]\n# A size.\n#size = 64k\n"));
	struct buffer filled = {0};
	size_t end = text_search(text_of(out), TEXT("\nlisten = ")) + strlen("\nlisten = ");
	buffer_format(&filled, "%.*sx%s", (int)end, out, out + end);
	struct settings s = load(buffer_view(&filled));
	assert_string_equal(s.listen, "x");
	assert_int_equal(s.wait_ms, 300000);
	conf_free(ROWS, &s);
	buffer_free(&filled);
	free(out);
}

/* Debian's Redis listens to 127.0.0.1 alone until its redis.conf is changed. */
static void redis_is_where_debian_has_it(void **state)
{
	(void)state;
	struct daemon {
		struct counters_settings redis;
	} conf = {0};
	static const struct conf_row redis_rows[] = {COUNTERS_ROWS(struct daemon)};
	const size_t count = sizeof redis_rows / sizeof *redis_rows;
	char *error;
	write_file(file, TEXT(""));
	assert_int_equal(conf_load(file, redis_rows, count, &conf, &error), 0);
	struct counters_options options = counters_options_of(&conf.redis);
	assert_null(options.socket);
	assert_string_equal(options.host, "127.0.0.1");
	assert_int_equal(options.port, 6379);
	conf_free(redis_rows, count, &conf);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(redis_is_where_debian_has_it),
		cmocka_unit_test(defaults),
		cmocka_unit_test(reads),
		cmocka_unit_test(long_line),
		cmocka_unit_test(wrong),
		cmocka_unit_test(too_long_line),
		cmocka_unit_test(folder_of_files),
		cmocka_unit_test(reloads),
		cmocka_unit_test(prints),
		cmocka_unit_test(sample),
		cmocka_unit_test(no_file),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
