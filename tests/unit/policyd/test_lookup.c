/* What is looked up, and that nothing of another version of the directory is told: a real snapshot that changes. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/directory_writer.h"

#include "policyd/lookup.h"

#define MANY (3 * LOOKUP_CACHE) /* several logins for each place in the cache */

struct fixture {
	char folder[64], path[96];
	struct directory_writer *writer;
	struct directory *directory;
	struct lookup_cache *cache;
};

static int set_up(void **state)
{
	static const struct directory_writer_options options = {.mode = 0600, .group = (gid_t)-1};
	struct fixture *f = test_calloc(1, sizeof *f);
	snprintf(f->folder, sizeof f->folder, "/tmp/waybill-lookup-XXXXXX");
	if (!mkdtemp(f->folder))
		return -1;
	snprintf(f->path, sizeof f->path, "%s/directory", f->folder);
	assert_null(directory_writer_open(f->path, &options, &f->writer));
	f->directory = directory_new(f->path);
	f->cache = test_calloc(1, sizeof *f->cache);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	static const char *const names[] = {"", "-lock", ".writer", ".new", ".aside"};
	struct fixture *f = *state;
	directory_writer_close(&f->writer);
	directory_free(&f->directory);
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		char path[128];
		snprintf(path, sizeof path, "%s%s", f->path, names[i]);
		unlink(path);
	}
	rmdir(f->folder);
	test_free(f->cache);
	test_free(f);
	return 0;
}

static void put(struct fixture *f, enum directory_kind kind, const char *name, struct buffer *record)
{
	assert_null(directory_writer_put(f->writer, kind, text_of(name), buffer_view(record)));
	buffer_free(record);
}

static void put_customer(struct fixture *f, const char *name, bool suspended)
{
	struct buffer record = {0};
	directory_customer_encode(
		&(struct directory_customer){.name = text_of(name),
					     .status = suspended ? DIRECTORY_SUSPENDED : DIRECTORY_ACTIVE},
		&record);
	put(f, DIRECTORY_CUSTOMERS, name, &record);
}

static void put_login(struct fixture *f, const char *name, const char *customer, bool enabled)
{
	struct buffer record = {0};
	directory_login_encode(
		&(struct directory_login){.name = text_of(name), .customer = text_of(customer), .enabled = enabled},
		&record);
	put(f, DIRECTORY_LOGINS, name, &record);
}

static void put_domain(struct fixture *f, const char *name, const char *customer)
{
	struct buffer record = {0};
	directory_domain_encode(&(struct directory_domain){.name = text_of(name), .customer = text_of(customer)},
				&record);
	put(f, DIRECTORY_DOMAINS, name, &record);
}

static void commit(struct fixture *f)
{
	assert_null(directory_writer_commit(f->writer, &(struct directory_state){.source = TEXT("test")}));
}

static void build(struct fixture *f)
{
	assert_null(directory_writer_build(f->writer));
	put_customer(f, "acme", false);
	put_customer(f, "beta", false);
	put_login(f, "app", "acme", true);
	put_domain(f, "acme.test", "acme");
	commit(f);
}

/* "enabled active owned", each with its opposite; or "absent". Asked twice: the second answer is the cache's. */
static void expect(struct fixture *f, const char *login, const char *sender, const char *expected)
{
	struct request request = {.values = {[REQUEST_LOGIN] = text_of(login), [REQUEST_SENDER] = text_of(sender)}};
	for (int i = 0; i < 2; i++) {
		struct directory_view view;
		struct lookup found;
		char told[64] = "absent";
		assert_int_equal(directory_begin(f->directory, &view), DIRECTORY_FOUND);
		assert_null(lookup_find(&view, f->cache, &request, 1, &found));
		if (found.facts.login)
			snprintf(told, sizeof told, "%s %s %s", found.facts.login->enabled ? "enabled" : "disabled",
				 found.facts.customer->status == DIRECTORY_ACTIVE ? "active" : "suspended",
				 found.facts.sender_owned ? "owned" : "foreign");
		directory_end(&view);
		assert_string_equal(told, expected);
	}
}

static void every_change_is_seen_at_once(void **state)
{
	struct fixture *f = *state;
	build(f);
	expect(f, "app", "a@acme.test", "enabled active owned");
	expect(f, "app", "a@other.test", "enabled active foreign");
	expect(f, "app", "a@acme.test", "enabled active owned");
	expect(f, "APP", "a@ACME.test", "enabled active owned");
	expect(f, "new", "a@acme.test", "absent");
	assert_null(directory_writer_begin(f->writer));
	put_login(f, "app", "acme", false);
	put_login(f, "new", "acme", true);
	commit(f);
	expect(f, "app", "a@acme.test", "disabled active owned");
	expect(f, "new", "a@acme.test", "enabled active owned");
	assert_null(directory_writer_begin(f->writer));
	put_customer(f, "acme", true);
	commit(f);
	expect(f, "app", "a@acme.test", "disabled suspended owned");
	assert_null(directory_writer_begin(f->writer));
	put_domain(f, "acme.test", "beta");
	assert_null(directory_writer_remove(f->writer, DIRECTORY_LOGINS, TEXT("new")));
	commit(f);
	expect(f, "app", "a@acme.test", "disabled suspended foreign");
	expect(f, "new", "a@acme.test", "absent");
}

/* A file built anew begins to count its changes from the start: a number that was there before means something else. */
static void another_file_is_another_version(void **state)
{
	struct fixture *f = *state;
	for (int i = 0; i < 6; i++) {
		assert_null(directory_writer_build(f->writer));
		put_customer(f, "acme", i % 2);
		put_login(f, "app", "acme", i % 3);
		commit(f);
		char expected[64];
		snprintf(expected, sizeof expected, "%s %s foreign", i % 3 ? "enabled" : "disabled",
			 i % 2 ? "suspended" : "active");
		expect(f, "app", "a@acme.test", expected);
	}
}

static void logins_do_not_take_each_others_place(void **state)
{
	struct fixture *f = *state;
	char name[300];
	assert_null(directory_writer_build(f->writer));
	put_customer(f, "acme", false);
	put_customer(f, "beta", true);
	put_domain(f, "acme.test", "acme");
	for (int i = 0; i < MANY; i++) {
		snprintf(name, sizeof name, "login-%d", i);
		put_login(f, name, i % 2 ? "acme" : "beta", i % 3);
	}
	memset(name, 'x', sizeof name);
	name[250] = '\0';
	put_login(f, name, "acme", true);
	commit(f);
	expect(f, name, "a@acme.test", "enabled active owned");
	name[249] = '\0';
	expect(f, name, "a@acme.test", "absent");
	for (int i = 0; i < MANY; i++) {
		char expected[64];
		snprintf(name, sizeof name, "login-%d", i);
		snprintf(expected, sizeof expected, "%s %s", i % 3 ? "enabled" : "disabled",
			 i % 2 ? "active owned" : "suspended foreign");
		expect(f, name, "a@acme.test", expected);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(every_change_is_seen_at_once),
		TEST(another_file_is_another_version),
		TEST(logins_do_not_take_each_others_place),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
