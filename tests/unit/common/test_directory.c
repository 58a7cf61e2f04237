/* The snapshot's reader against its writer: changes, replacement by rename, removal, damage, many threads. */

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/directory.h"
#include "common/directory_writer.h"

#define COUNT 200

struct fixture {
	char folder[64], path[96];
	struct directory_writer *writer;
	struct directory *directory;
};

static const struct directory_writer_options options = {.mode = 0640, .group = (gid_t)-1};

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	snprintf(f->folder, sizeof(f->folder), "/tmp/waybill-directory-XXXXXX");
	if (!f || !mkdtemp(f->folder))
		return -1;
	snprintf(f->path, sizeof(f->path), "%s/directory.mdb", f->folder);
	f->directory = directory_new(f->path);
	*state = f;
	return directory_writer_open(f->path, &options, &f->writer) ? -1 : 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;
	static const char *const names[] = {"", "-lock", ".writer", ".new", ".aside"};
	directory_writer_close(&f->writer);
	directory_free(&f->directory);
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		char path[128];
		snprintf(path, sizeof(path), "%s%s", f->path, names[i]);
		unlink(path);
	}
	rmdir(f->folder);
	free(f);
	return 0;
}

/* COUNT customers, all of them with status_until VERSION, written as one change or build. */
static void put_version(struct directory_writer *writer, int64_t version)
{
	for (int i = 0; i < COUNT; i++) {
		struct buffer record = {0};
		char name[32];
		int len = snprintf(name, sizeof(name), "customer-%d", i);
		struct directory_customer customer = {.name = text_of(name), .status_until = version};
		directory_customer_encode(&customer, &record);
		assert_null(directory_writer_put(writer, DIRECTORY_CUSTOMERS, text_at(name, (size_t)len),
						 buffer_view(&record)));
		buffer_free(&record);
	}
	struct directory_state position = {.source = TEXT("test"), .seq = version};
	assert_null(directory_writer_commit(writer, &position));
}

static void build(struct fixture *f, int64_t version)
{
	assert_null(directory_writer_build(f->writer));
	put_version(f->writer, version);
}

static void change(struct fixture *f, int64_t version)
{
	assert_null(directory_writer_begin(f->writer));
	put_version(f->writer, version);
}

static int64_t version_of(struct directory_view *view, const char *name)
{
	struct directory_customer customer;
	assert_int_equal(directory_find_customer(view, text_of(name), &customer), DIRECTORY_FOUND);
	return customer.status_until;
}

static int64_t version_now(struct fixture *f)
{
	struct directory_view view;
	assert_int_equal(directory_begin(f->directory, &view), DIRECTORY_FOUND);
	int64_t version = version_of(&view, "CUSTOMER-7");
	directory_end(&view);
	return version;
}

static void nothing_there_is_trouble(void **state)
{
	struct fixture *f = *state;
	struct directory_view view;
	assert_int_equal(directory_begin(f->directory, &view), DIRECTORY_TROUBLE);
	assert_non_null(strstr(directory_trouble(f->directory), "directory follow"));
	assert_false(directory_writer_has_snapshot(f->writer));
	build(f, 1);
	assert_true(directory_writer_has_snapshot(f->writer));
	assert_int_equal(version_now(f), 1);
	assert_string_equal(directory_trouble(f->directory), "");
}

static void changes_and_rebuilds_are_seen(void **state)
{
	struct fixture *f = *state;
	build(f, 1);
	assert_int_equal(version_now(f), 1);
	struct directory_view old;
	assert_int_equal(directory_begin(f->directory, &old), DIRECTORY_FOUND);
	for (int64_t version = 2; version < 40; version++) {
		version % 5 ? change(f, version) : build(f, version);
		assert_int_equal(version_now(f), version);
	}
	assert_int_equal(version_of(&old, "customer-3"), 1); /* a view does not move */
	directory_end(&old);
	struct directory_view view;
	struct directory_state position;
	assert_int_equal(directory_begin(f->directory, &view), DIRECTORY_FOUND);
	assert_int_equal(directory_find_state(&view, &position), DIRECTORY_FOUND);
	assert_int_equal(position.seq, 39);
	size_t entries;
	assert_null(directory_verify(&view, &entries));
	assert_int_equal(entries, COUNT + 1);
	directory_end(&view);
}

static void absent_is_a_fact(void **state)
{
	struct fixture *f = *state;
	build(f, 1);
	struct directory_view view;
	assert_int_equal(directory_begin(f->directory, &view), DIRECTORY_FOUND);
	struct directory_login login;
	struct directory_domain domain;
	struct directory_suppression suppression;
	struct directory_relay relay;
	char long_name[600];
	memset(long_name, 'a', sizeof(long_name));
	struct text too_long = text_at(long_name, sizeof(long_name));
	assert_int_equal(directory_find_login(&view, TEXT("customer-1"), &login), DIRECTORY_ABSENT);
	assert_int_equal(directory_find_login(&view, too_long, &login), DIRECTORY_ABSENT);
	assert_int_equal(directory_find_domain(&view, TEXT(""), &domain), DIRECTORY_ABSENT);
	assert_int_equal(directory_find_suppression(&view, TEXT("acme"), too_long, &suppression), DIRECTORY_ABSENT);
	assert_int_equal(directory_find_relay(&view, &relay), DIRECTORY_ABSENT);
	directory_end(&view);
}

static void suppressions_are_found_and_removed(void **state)
{
	struct fixture *f = *state;
	build(f, 1);
	struct buffer record = {0};
	struct directory_suppression in = {TEXT("manual"), TEXT(""), 5, 6}, out;
	struct directory_state position = {.seq = 2};
	struct directory_view view;
	directory_suppression_encode(&in, &record);
	assert_null(directory_writer_begin(f->writer));
	assert_null(directory_writer_put(f->writer, DIRECTORY_SUPPRESSIONS, TEXT("acme Jane@b.example"),
					 buffer_view(&record)));
	assert_null(directory_writer_commit(f->writer, &position));
	buffer_free(&record);
	assert_int_equal(directory_begin(f->directory, &view), DIRECTORY_FOUND);
	assert_int_equal(directory_find_suppression(&view, TEXT("acme"), TEXT("Jane@b.example"), &out),
			 DIRECTORY_FOUND);
	assert_int_equal(out.expires_at, 6);
	assert_int_equal(directory_find_suppression(&view, TEXT("acme"), TEXT("jane@b.example"), &out),
			 DIRECTORY_ABSENT);
	directory_end(&view);
	assert_null(directory_writer_begin(f->writer));
	assert_null(directory_writer_remove(f->writer, DIRECTORY_SUPPRESSIONS, TEXT("acme Jane@b.example")));
	assert_null(directory_writer_remove(f->writer, DIRECTORY_SUPPRESSIONS, TEXT("acme nobody@b.example")));
	assert_null(directory_writer_commit(f->writer, &position));
	assert_int_equal(directory_begin(f->directory, &view), DIRECTORY_FOUND);
	assert_int_equal(directory_find_suppression(&view, TEXT("acme"), TEXT("Jane@b.example"), &out),
			 DIRECTORY_ABSENT);
	directory_end(&view);
}

static void a_removed_file_is_used_on_and_noticed_by_the_writer(void **state)
{
	struct fixture *f = *state;
	build(f, 1);
	assert_int_equal(version_now(f), 1);
	assert_true(directory_writer_in_place(f->writer));
	assert_int_equal(unlink(f->path), 0);
	assert_false(directory_writer_in_place(f->writer));
	assert_int_equal(version_now(f), 1);
	build(f, 2);
	assert_int_equal(version_now(f), 2);
	assert_true(directory_writer_in_place(f->writer));
}

static void a_damaged_file_is_trouble_until_replaced(void **state)
{
	struct fixture *f = *state;
	build(f, 1);
	assert_int_equal(version_now(f), 1);
	char aside[128];
	snprintf(aside, sizeof(aside), "%s.aside", f->path);
	FILE *file = fopen(aside, "w");
	assert_non_null(file);
	for (int i = 0; i < 10000; i++)
		fputs("no snapshot", file);
	fclose(file);
	assert_int_equal(rename(aside, f->path), 0);
	struct directory_view view;
	assert_int_equal(directory_begin(f->directory, &view), DIRECTORY_TROUBLE);
	assert_string_equal(directory_trouble(f->directory), "the snapshot is no LMDB file");
	assert_int_equal(directory_begin(f->directory, &view), DIRECTORY_TROUBLE);
	build(f, 2);
	assert_int_equal(version_now(f), 2);
}

static void an_abandoned_change_leaves_nothing(void **state)
{
	struct fixture *f = *state;
	build(f, 1);
	assert_null(directory_writer_begin(f->writer));
	assert_null(directory_writer_remove(f->writer, DIRECTORY_CUSTOMERS, TEXT("customer-7")));
	directory_writer_abort(f->writer);
	assert_int_equal(version_now(f), 1);
	assert_null(directory_writer_build(f->writer));
	directory_writer_abort(f->writer);
	assert_int_equal(version_now(f), 1);
}

static void one_writer_at_a_time_and_its_successor_goes_on(void **state)
{
	struct fixture *f = *state;
	build(f, 1);
	struct stat before, after;
	assert_int_equal(stat(f->path, &before), 0);
	assert_int_equal(before.st_mode & 0777, 0640);
	struct directory_writer *second;
	const char *why = directory_writer_open(f->path, &options, &second);
	assert_non_null(strstr(why, "another process writes"));
	directory_writer_close(&second);
	directory_writer_close(&f->writer);
	assert_null(directory_writer_open(f->path, &options, &f->writer));
	assert_true(directory_writer_has_snapshot(f->writer));
	/* Nobody looks at it: no need to copy it. */
	assert_int_equal(stat(f->path, &after), 0);
	assert_int_equal(before.st_ino, after.st_ino);
	assert_int_equal(version_now(f), 1);
	change(f, 2);
	assert_int_equal(version_now(f), 2);
}

/* The pages of a view are free since the changes after it, and nothing pins them once their writer is gone. */
static void a_view_outlives_its_writer(void **state)
{
	struct fixture *f = *state;
	struct stat before, after;
	struct directory_view view;
	build(f, 1);
	assert_int_equal(stat(f->path, &before), 0);
	assert_int_equal(directory_begin(f->directory, &view), DIRECTORY_FOUND);
	change(f, 2);
	directory_writer_close(&f->writer);
	assert_null(directory_writer_open(f->path, &options, &f->writer));
	assert_int_equal(stat(f->path, &after), 0);
	assert_int_not_equal(before.st_ino, after.st_ino);
	for (int64_t version = 3; version < 20; version++)
		change(f, version);
	for (int i = 0; i < COUNT; i++) {
		char name[32];
		snprintf(name, sizeof(name), "customer-%d", i);
		assert_int_equal(version_of(&view, name), 1);
	}
	directory_end(&view);
	assert_int_equal(version_now(f), 19);
}

/* About 6 MB of entries; NULL or why not. */
static const char *put_much(struct fixture *f)
{
	static char large[60000];
	const char *why = NULL;
	for (int i = 0; i < 100 && !why; i++) {
		char name[32];
		snprintf(name, sizeof(name), "large-%d", i);
		why = directory_writer_put(f->writer, DIRECTORY_LOGINS, text_of(name), text_at(large, sizeof(large)));
	}
	return why;
}

static void a_full_map_harms_nothing_and_grows(void **state)
{
	struct fixture *f = *state;
	directory_writer_close(&f->writer);
	struct directory_writer_options small = options;
	small.map_bytes = 1 << 20;
	assert_null(directory_writer_open(f->path, &small, &f->writer));
	build(f, 1);
	assert_null(directory_writer_begin(f->writer));
	assert_non_null(put_much(f));
	directory_writer_abort(f->writer);
	assert_true(directory_writer_is_full(f->writer));
	assert_int_equal(version_now(f), 1);
	/* Each further attempt has twice the room: 2, 4, 8 MB. */
	for (int attempt = 0; attempt < 3; attempt++) {
		assert_int_equal(version_now(f), 1);
		assert_null(directory_writer_build(f->writer));
		const char *why = put_much(f);
		assert_true(attempt < 2 ? why != NULL : why == NULL);
		if (why)
			directory_writer_abort(f->writer);
	}
	put_version(f->writer, 2);
	assert_false(directory_writer_is_full(f->writer));
	assert_int_equal(version_now(f), 2);
}

struct reading {
	struct fixture *fixture;
	atomic_bool stop;
	atomic_int views, torn;
};

static void *read_on(void *cookie)
{
	struct reading *reading = cookie;
	while (!reading->stop) {
		struct directory_view view;
		if (directory_begin(reading->fixture->directory, &view) != DIRECTORY_FOUND) {
			reading->torn++;
			continue;
		}
		int64_t first = -1;
		for (int i = 0; i < COUNT; i += 13) {
			char name[32];
			snprintf(name, sizeof(name), "customer-%d", i);
			struct directory_customer customer;
			if (directory_find_customer(&view, text_of(name), &customer) != DIRECTORY_FOUND)
				reading->torn++;
			else if (first >= 0 && customer.status_until != first)
				reading->torn++;
			first = customer.status_until;
		}
		directory_end(&view);
		reading->views++;
	}
	return NULL;
}

static void threads_see_whole_versions(void **state)
{
	struct fixture *f = *state;
	enum { THREADS = 4 };
	pthread_t threads[THREADS];
	struct reading reading = {.fixture = f};
	build(f, 1);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, read_on, &reading), 0);
	for (int64_t version = 2; version < 150 || reading.views < 1000; version++)
		version % 10 ? change(f, version) : build(f, version);
	reading.stop = true;
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(reading.torn, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(nothing_there_is_trouble),
		TEST(changes_and_rebuilds_are_seen),
		TEST(absent_is_a_fact),
		TEST(suppressions_are_found_and_removed),
		TEST(a_removed_file_is_used_on_and_noticed_by_the_writer),
		TEST(a_damaged_file_is_trouble_until_replaced),
		TEST(an_abandoned_change_leaves_nothing),
		TEST(one_writer_at_a_time_and_its_successor_goes_on),
		TEST(a_view_outlives_its_writer),
		TEST(a_full_map_harms_nothing_and_grows),
		TEST(threads_see_whole_versions),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
