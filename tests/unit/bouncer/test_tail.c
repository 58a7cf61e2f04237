/* The tail against what can happen to a log. First each kind of rotation by itself, then random sequences of all of them,
 * with a model that knows which lines must come: every line once and in order, but for those that were destroyed before
 * the reader had committed them. TAIL_SEED is the first one's seed, TAIL_SEQUENCES how many there are, TAIL_FOLDER where: file
 * systems differ in when they use an inode again and in how fine their clock is. */

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <zlib.h>

#include <cmocka.h>

#include "bouncer/tail.h"

#define SEQUENCES 10000
#define ACTIONS   40
#define ROTATED   6
#define MAX_LINES 4096

static char folder[512], log_path[544];

/* What the sequence did, for a failure's message. */
static struct buffer story;
#define TELL(...) buffer_format(&story, __VA_ARGS__)
#define FAIL(...)                                             \
	do {                                                  \
		print_message("%s\n", buffer_string(&story)); \
		fail_msg(__VA_ARGS__);                        \
	} while (0)

static const char *rotated(char *out, int number, const char *suffix)
{
	snprintf(out, 600, "%s.%d%s", log_path, number, suffix);
	return out;
}

static bool exists(const char *path)
{
	struct stat status;
	return stat(path, &status) == 0;
}

struct model {
	uint32_t random;
	int writer;             /* descriptor of the process that logs; it stays with its file until it opens anew */
	unsigned written;       /* lines so far; line N is "line N" and filler */
	bool half;              /* the last one has no end yet */
	bool writer_away;       /* its file has another name now, or none */
	bool doomed[MAX_LINES]; /* may be missing */
	struct tail *tail;
	struct tail_position committed;
	bool has_committed;
	unsigned taken, stable; /* lines taken; taken when last committed: numbers of the next one */
};

static uint32_t dice(struct model *m, uint32_t sides)
{
	m->random = m->random * 1664525u + 1013904223u;
	return (m->random >> 8) % sides;
}

static void open_writer(struct model *m)
{
	if (m->writer >= 0)
		close(m->writer);
	m->writer = open(log_path, O_WRONLY | O_CREAT | O_APPEND, 0644);
	assert_true(m->writer >= 0);
	m->writer_away = false;
}

static void put(struct model *m, const char *text, size_t len)
{
	assert_int_equal(write(m->writer, text, len), (ssize_t)len);
}

static void finish(struct model *m)
{
	if (m->half)
		put(m, "-half\n", 6);
	m->half = false;
}

static void append(struct model *m, bool whole)
{
	char line[256];
	finish(m);
	if (m->written + 1 >= MAX_LINES)
		return;
	int filler = (int)dice(m, 120);
	TELL(" %s%u", whole ? "+" : "half", m->written);
	int len = snprintf(line, sizeof line, "line %u %.*s%s", m->written++, filler,
			   "..........................................................................................."
			   ".............................",
			   whole ? "\n" : "");
	put(m, line, (size_t)len);
	m->half = !whole;
}

static void take(struct model *m, unsigned limit)
{
	struct text line;
	while (limit-- && tail_next(m->tail, &line)) {
		unsigned number;
		char copy[512];
		text_put(line, copy, sizeof copy);
		if (sscanf(copy, "line %u ", &number) != 1)
			FAIL("a torn line: \"%s\"", copy);
		if (number < m->taken)
			FAIL("line %u comes again or too late: %u was next", number, m->taken);
		for (; m->taken < number; m->taken++)
			if (!m->doomed[m->taken])
				FAIL("line %u is missing", m->taken);
		m->taken = number + 1;
	}
	TELL(" take>%u", m->taken);
}

static void commit(struct model *m)
{
	tail_position(m->tail, &m->committed);
	m->has_committed = true;
	m->stable = m->taken;
	TELL(" commit");
}

static void restart(struct model *m)
{
	tail_close(&m->tail);
	m->taken = m->stable;
	TELL(" restart@%u", m->taken);
	m->tail = tail_open(log_path, m->has_committed ? &m->committed : NULL);
}

/* Lines from FIRST up to END are gone for who has not committed them. */
static void doom(struct model *m, unsigned first, unsigned end)
{
	for (unsigned i = first; i < end && i < MAX_LINES; i++)
		if (i >= m->stable)
			m->doomed[i] = true;
}

/* Moves path.N to path.N+1, the oldest falls off. A reader that is six rotations late has lost more than a test can tell,
 * so it catches up first. */
static void shift(struct model *m)
{
	char from[600], to[600];
	static const char *const suffixes[] = {"", ".gz"};
	for (int s = 0; s < 2; s++)
		if (exists(rotated(from, ROTATED, suffixes[s]))) {
			take(m, UINT32_MAX);
			commit(m);
			unlink(from);
		}
	for (int n = ROTATED - 1; n > 0; n--)
		for (int s = 0; s < 2; s++)
			if (exists(rotated(from, n, suffixes[s])))
				assert_int_equal(rename(from, rotated(to, n + 1, suffixes[s])), 0);
}

static void rotate_rename(struct model *m)
{
	char to[600];
	struct stat status;
	if (m->writer_away || stat(log_path, &status) != 0 || status.st_size == 0)
		return;
	TELL(" RENAME");
	shift(m);
	assert_int_equal(rename(log_path, rotated(to, 1, "")), 0);
	m->writer_away = true;
}

static void reopen(struct model *m)
{
	if (!m->writer_away)
		return;
	finish(m);
	TELL(" reopen");
	open_writer(m);
}

static void copy_file(const char *from, const char *to, bool compress)
{
	char chunk[65536];
	ssize_t got;
	int in = open(from, O_RDONLY);
	gzFile out = gzopen(to, compress ? "wb1" : "wbT");
	assert_true(in >= 0 && out);
	while ((got = read(in, chunk, sizeof chunk)) > 0)
		gzwrite(out, chunk, (unsigned)got);
	gzclose(out);
	close(in);
}

static void rotate_copytruncate(struct model *m)
{
	char to[600];
	struct stat status;
	if (m->writer_away || stat(log_path, &status) != 0 || status.st_size == 0)
		return;
	finish(m);
	TELL(" COPYTRUNCATE");
	shift(m);
	copy_file(log_path, rotated(to, 1, ""), false);
	assert_int_equal(ftruncate(m->writer, 0), 0);
}

static void truncate_it(struct model *m)
{
	if (m->writer_away)
		return;
	finish(m);
	/* Who had not read it all lost it. A reader that commits nothing of the new text cannot find its place again. */
	TELL(" TRUNCATE");
	doom(m, m->stable, m->written);
	assert_int_equal(ftruncate(m->writer, 0), 0);
	take(m, UINT32_MAX);
	append(m, true);
	take(m, UINT32_MAX);
	commit(m);
}

static void delete_it(struct model *m)
{
	if (m->writer_away || !exists(log_path))
		return;
	finish(m);
	TELL(" DELETE");
	doom(m, m->stable, m->written);
	unlink(log_path);
	m->writer_away = true;
	reopen(m);
	/* A reader that commits nothing until the file is gone cannot find its place again. */
	take(m, UINT32_MAX);
	append(m, true);
	take(m, UINT32_MAX);
	commit(m);
}

static void compress_one(struct model *m)
{
	char from[600], to[600];
	int n = 1 + (int)dice(m, ROTATED);
	if (!exists(rotated(from, n, "")) || (n == 1 && m->writer_away))
		return;
	TELL(" gzip.%d", n);
	copy_file(from, rotated(to, n, ".gz"), true);
	/* gzip(1) keeps the time. */
	struct stat status;
	assert_int_equal(stat(from, &status), 0);
	assert_int_equal(utimensat(AT_FDCWD, to, (struct timespec[]){status.st_atim, status.st_mtim}, 0), 0);
	if (dice(m, 2))
		take(m, 3);
	unlink(from);
}

static void act(struct model *m)
{
	switch (dice(m, 14)) {
	case 0:
	case 1:
	case 2: append(m, true); return;
	case 3: append(m, false); return;
	case 4: take(m, 1 + dice(m, 4)); return;
	case 5:
	case 6: take(m, UINT32_MAX); return;
	case 7: commit(m); return;
	case 8: restart(m); return;
	case 9: rotate_rename(m); return;
	case 10: reopen(m); return;
	case 11: rotate_copytruncate(m); return;
	case 12: dice(m, 3) ? reopen(m) : dice(m, 2) ? truncate_it(m) : delete_it(m); return;
	case 13: compress_one(m); return;
	}
}

static void clear_folder(void)
{
	char path[600];
	unlink(log_path);
	for (int n = 1; n <= ROTATED; n++) {
		unlink(rotated(path, n, ""));
		unlink(rotated(path, n, ".gz"));
	}
}

static void begin(struct model *m, uint32_t seed)
{
	*m = (struct model){.random = seed * 2654435761u, .writer = -1};
	clear_folder();
	story.len = 0;
	TELL("TAIL_SEED=%u", (unsigned)seed);
	open_writer(m);
	append(m, true);
	m->tail = tail_open(log_path, NULL);
	take(m, UINT32_MAX);
	commit(m);
}

/* In the end all that can be read is read. */
static void end(struct model *m)
{
	reopen(m);
	append(m, true);
	take(m, UINT32_MAX);
	if (m->taken != m->written)
		FAIL("%u lines were written, the last that came is %u", m->written, m->taken);
	tail_close(&m->tail);
	close(m->writer);
}

static void each_kind(void **state)
{
	(void)state;
	static void (*const kinds[])(struct model *) = {rotate_rename, rotate_copytruncate, truncate_it, delete_it};
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
		for (int late = 0; late < 3; late++) {
			struct model m;
			begin(&m, (uint32_t)i);
			append(&m, true);
			if (late == 0)
				take(&m, UINT32_MAX), commit(&m);
			kinds[i](&m);
			if (late == 2)
				restart(&m);
			reopen(&m);
			append(&m, false);
			take(&m, UINT32_MAX);
			append(&m, true);
			end(&m);
		}
}

static void random_sequences(void **state)
{
	(void)state;
	const char *count = getenv("TAIL_SEQUENCES"), *seed = getenv("TAIL_SEED");
	uint32_t first = seed ? (uint32_t)strtoul(seed, NULL, 10) : 1;
	uint32_t number = count ? (uint32_t)strtoul(count, NULL, 10) : seed ? 1 : SEQUENCES;
	for (uint32_t i = first; i < first + number; i++) {
		struct model m;
		begin(&m, i);
		for (int action = 0; action < ACTIONS; action++)
			act(&m);
		end(&m);
	}
}

/* What logrotate (dateext), savelog and "postfix logrotate" call a rotated file, plain and compressed: a reader that comes
 * back finds its place there. A file of another name is none. */
static void each_name(void **state)
{
	(void)state;
	static const char *const suffixes[] = {
		".1",           ".17",
		"-20261121",    "-2026-11-21",
		".20261121",    ".20261121-010203",
		"-20261121.gz", ".20261121-010203.gz",
		".2.gz",
	};
	static const char *const others[] = {".bak", ".old", "-errors", ".1.tmp"};
	char path[600];
	for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
		struct model m;
		begin(&m, 1);
		append(&m, true);
		tail_close(&m.tail);
		snprintf(path, sizeof path, "%s%s", log_path, suffixes[i]);
		copy_file(log_path, path, text_ends(text_of(path), TEXT(".gz")));
		unlink(log_path);
		open_writer(&m);
		m.tail = tail_open(log_path, &m.committed);
		end(&m);
		unlink(path);
	}
	for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
		struct model m;
		struct tail_loss loss;
		begin(&m, 1);
		append(&m, true);
		tail_close(&m.tail);
		snprintf(path, sizeof path, "%s%s", log_path, others[i]);
		assert_int_equal(rename(log_path, path), 0);
		open_writer(&m);
		m.doomed[1] = true;
		m.tail = tail_open(log_path, &m.committed);
		append(&m, true);
		take(&m, UINT32_MAX);
		assert_true(tail_take_loss(m.tail, &loss));
		assert_string_equal(loss.why, "position-lost");
		tail_close(&m.tail);
		close(m.writer);
		unlink(path);
	}
}

/* A line that is too long is cut and counted, the next one is whole. */
static void long_line(void **state)
{
	(void)state;
	struct model m;
	struct text line;
	begin(&m, 1);
	for (int i = 0; i < 100; i++)
		put(&m,
		    "0123456789abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnop"
		    "qrstuvwxyz"
		    "0123456789abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnop"
		    "qrstuvwxyz",
		    216);
	assert_true(tail_next(m.tail, &line));
	assert_int_equal(line.len, TAIL_LINE_MAX);
	assert_false(tail_next(m.tail, &line));
	put(&m, "end\nnext\n", 9);
	assert_true(tail_next(m.tail, &line));
	assert_true(text_equal(line, TEXT("next")));
	assert_int_equal(tail_cut(m.tail), 1);
	tail_close(&m.tail);
	close(m.writer);
}

static void no_file(void **state)
{
	(void)state;
	struct text line;
	clear_folder();
	struct tail *tail = tail_open(log_path, NULL);
	assert_false(tail_next(tail, &line));
	assert_non_null(tail_trouble(tail));
	FILE *file = fopen(log_path, "w");
	fputs("here\n", file);
	fclose(file);
	assert_true(tail_next(tail, &line));
	assert_null(tail_trouble(tail));
	tail_close(&tail);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_file),   cmocka_unit_test(long_line),        cmocka_unit_test(each_kind),
		cmocka_unit_test(each_name), cmocka_unit_test(random_sequences),
	};
	const char *where = getenv("TAIL_FOLDER");
	snprintf(folder, sizeof folder, "%s/waybill-tail-XXXXXX",
		 where                ? where
		 : exists("/dev/shm") ? "/dev/shm"
				      : "/tmp");
	if (!mkdtemp(folder))
		return 1;
	snprintf(log_path, sizeof log_path, "%s/maillog", folder);
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	clear_folder();
	rmdir(folder);
	buffer_free(&story);
	return failed;
}
