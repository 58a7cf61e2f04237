/* Postgres, on a real server (tests/unit/with-postgres). */

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/pg.h"

static int connect_new(void **state)
{
	*state = pg_new("", "waybill/test");
	return 0;
}

static int disconnect(void **state)
{
	struct pg *pg = *state;
	pg_free(&pg);
	assert_null(pg);
	pg_free(&pg);
	return 0;
}

static struct pg_result *query(struct pg *pg, const char *sql, const char *const *params, size_t count)
{
	struct pg_result *result = NULL;
	enum pg_status status = pg_query(pg, sql, params, count, &result);
	if (status != PG_OK)
		print_error("%s: %s\n", pg_sqlstate(pg), pg_error(pg));
	assert_int_equal(status, PG_OK);
	assert_non_null(result);
	return result;
}

static void again(void **state)
{
	static const char sum[] = "SELECT $1::int + $2::int, (SELECT count(*) FROM pg_prepared_statements)";
	static const char wrong[] = "SELECT nothing FROM nowhere WHERE $1::int = 1";
	struct pg_result *r = NULL;
	for (int i = 0; i < 3; i++) {
		assert_int_equal(pg_query_again(*state, sum, (const char *const[]){"40", "2"}, 2, &r), PG_OK);
		assert_int_equal(pg_int(r, 0, 0), 42);
		assert_int_equal(pg_int(r, 0, 1), 1); /* prepared once */
		pg_result_free(&r);
		assert_int_equal(pg_query_again(*state, wrong, (const char *const[]){"1"}, 1, NULL), PG_FAILED);
	}
	pg_disconnect(*state); /* a new connection knows none */
	assert_int_equal(pg_query_again(*state, sum, (const char *const[]){"1", NULL}, 2, &r), PG_OK);
	assert_null(pg_string(r, 0, 0));
	pg_result_free(&r);
}

static void fields(void **state)
{
	const char *params[] = {"it's \"quoted\"; --", NULL, "-9223372036854775808"};
	struct pg_result *r =
		query(*state, "SELECT $1::text AS a, $2::text AS b, $3::int8 AS c, true AS d, false, ''", params, 3);
	assert_int_equal(pg_rows(r), 1);
	assert_int_equal(pg_columns(r), 6);
	assert_string_equal(pg_column_name(r, 2), "c");
	assert_true(text_equal(pg_field(r, 0, 0), TEXT("it's \"quoted\"; --")));
	assert_null(pg_field(r, 0, 1).ptr);
	assert_null(pg_string(r, 0, 1));
	assert_int_equal(pg_int(r, 0, 1), 0);
	assert_true(pg_int(r, 0, 2) == INT64_MIN);
	assert_true(pg_bool(r, 0, 3));
	assert_false(pg_bool(r, 0, 4) || pg_bool(r, 0, 1));
	assert_non_null(pg_field(r, 0, 5).ptr);
	assert_int_equal(pg_field(r, 0, 5).len, 0);
	pg_result_free(&r);
	assert_null(r);
	pg_result_free(&r);
}

static void rows(void **state)
{
	struct pg_result *r = query(*state, "SELECT i FROM generate_series(1, 1000) i WHERE i > 0 ORDER BY i", NULL, 0);
	assert_int_equal(pg_rows(r), 1000);
	for (size_t i = 0; i < 1000; i++)
		assert_int_equal(pg_int(r, i, 0), (int64_t)i + 1);
	pg_result_free(&r);
	r = query(*state, "SELECT 1 WHERE false", NULL, 0);
	assert_int_equal(pg_rows(r), 0);
	pg_result_free(&r);
}

static void application(void **state)
{
	struct pg_result *r = query(*state, "SELECT current_setting('application_name')", NULL, 0);
	assert_string_equal(pg_string(r, 0, 0), "waybill/test");
	pg_result_free(&r);
}

static void bytea(void **state)
{
	char bytes[256];
	struct buffer param = {0}, back = {0};
	for (size_t i = 0; i < sizeof bytes; i++)
		bytes[i] = (char)i;
	pg_bytea_param(text_at(bytes, sizeof bytes), &param);
	const char *params[] = {buffer_string(&param)};
	struct pg_result *r = query(*state, "SELECT $1::bytea, length($1::bytea)", params, 1);
	assert_int_equal(pg_int(r, 0, 1), 256);
	assert_null(pg_bytea(pg_field(r, 0, 0), &back));
	assert_true(text_equal(buffer_view(&back), text_at(bytes, sizeof bytes)));
	assert_non_null(pg_bytea(TEXT("abc"), &back));
	assert_non_null(pg_bytea((struct text){0}, &back));
	assert_non_null(pg_bytea(TEXT("\\xa"), &back));
	pg_result_free(&r);
	buffer_free(&param);
	buffer_free(&back);
}

/* What a statement's failure means: may the same one succeed later? */
static void failures(void **state)
{
	static const struct {
		const char *sql, *sqlstate, *error;
		enum pg_status status;
	} cases[] = {
		{"SELEC 1", "42601", "syntax error", PG_FAILED},
		{"SELECT * FROM nowhere", "42P01", "nowhere", PG_FAILED},
		{"SELECT 1 / 0", "22012", "division by zero", PG_FAILED},
		{"SELECT 'x'::int8", "22P02", "invalid input", PG_FAILED},
		{"SELECT 1; SELECT 2", "42601", "multiple commands", PG_FAILED},
		{"SET TRANSACTION READ WRITE; ", "", NULL, PG_OK},
		{"DO $$ BEGIN RAISE EXCEPTION 'two\nlines' USING ERRCODE = '23505'; END $$", "23505", "two lines",
		 PG_FAILED},
		{"DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '40001'; END $$", "40001", "x", PG_RETRY},
		{"DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '40P01'; END $$", "40P01", "x", PG_RETRY},
		{"DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '53100'; END $$", "53100", "x", PG_RETRY},
		{"DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '57014'; END $$", "57014", "x", PG_RETRY},
		{"DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '58030'; END $$", "58030", "x", PG_RETRY},
		{"DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '55P03'; END $$", "55P03", "x", PG_RETRY},
		{"DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '55000'; END $$", "55000", "x", PG_FAILED},
		{"DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '25006'; END $$", "25006", "x", PG_RETRY},
	};
	struct pg *pg = *state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct pg_result *r = NULL;
		assert_int_equal(pg_query(pg, cases[i].sql, NULL, 0, &r), cases[i].status);
		if (cases[i].status != PG_OK) {
			assert_null(r);
			assert_string_equal(pg_sqlstate(pg), cases[i].sqlstate);
			assert_non_null(strstr(pg_error(pg), cases[i].error));
			assert_null(strchr(pg_error(pg), '\n'));
		}
		pg_result_free(&r);
		assert_true(pg_socket(pg) >= 0); /* a failed statement does not cost the connection */
	}
}

/* libpq refuses it before it reaches the server: no SQLSTATE, and no reason to try again. */
static void too_many_parameters(void **state)
{
	static const char *params[70000];
	assert_int_equal(pg_query(*state, "SELECT 1", params, 70000, NULL), PG_FAILED);
	assert_true(*pg_error(*state));
}

static void comes_back(void **state)
{
	struct pg *pg = *state;
	struct pg_result *r = query(pg, "SELECT pg_backend_pid()", NULL, 0);
	int64_t first = pg_int(r, 0, 0);
	pg_result_free(&r);
	assert_int_equal(pg_query(pg, "SELECT pg_terminate_backend(pg_backend_pid())", NULL, 0, &r), PG_RETRY);
	assert_null(r);
	assert_string_equal(pg_sqlstate(pg), "08006"); /* libpq tells the end of the connection */
	assert_non_null(strstr(pg_error(pg), "terminating connection"));
	r = query(pg, "SELECT pg_backend_pid()", NULL, 0);
	assert_int_not_equal(pg_int(r, 0, 0), first);
	pg_result_free(&r);
	pg_disconnect(pg);
	assert_int_equal(pg_socket(pg), -1);
	assert_false(pg_notified(pg));
	r = query(pg, "SELECT 1", NULL, 0);
	pg_result_free(&r);
}

/* Another session ends ours between two statements. */
static void ended_in_between(void **state)
{
	struct pg *pg = *state, *other = pg_new("", "waybill/other");
	struct pg_result *r = query(pg, "SELECT pg_backend_pid()::text", NULL, 0);
	const char *params[] = {pg_string(r, 0, 0)};
	struct pg_result *ended = query(other, "SELECT pg_terminate_backend($1::int4, 10000)", params, 1);
	assert_true(pg_bool(ended, 0, 0));
	pg_result_free(&ended);
	pg_result_free(&r);
	assert_int_equal(pg_query(pg, "SELECT 1", NULL, 0, NULL), PG_RETRY);
	assert_int_equal(pg_query(pg, "SELECT 1", NULL, 0, NULL), PG_OK);
	pg_free(&other);
}

static void nobody_there(void **state)
{
	static const char *const conninfo[] = {"host=/nowhere", "dbname=nowhere", "nonsense=1",
					       "host=127.0.0.1 port=1"};
	static const char *const error[] = {"/nowhere", "nowhere", "nonsense", "127.0.0.1"};
	(void)state;
	for (size_t i = 0; i < sizeof conninfo / sizeof *conninfo; i++) {
		struct pg *pg = pg_new(conninfo[i], "waybill/test");
		struct pg_result *r = NULL;
		assert_int_equal(pg_query(pg, "SELECT 1", NULL, 0, &r), PG_RETRY);
		assert_null(r);
		assert_int_equal(strncmp(pg_sqlstate(pg), "08", 2), 0);
		assert_non_null(strstr(pg_error(pg), error[i]));
		assert_null(strchr(pg_error(pg), '\n'));
		assert_int_equal(pg_script(pg, "SELECT 1"), PG_RETRY);
		pg_free(&pg);
	}
}

static void scripts(void **state)
{
	struct pg *pg = *state;
	assert_int_equal(pg_script(pg, "CREATE TEMP TABLE t (i int); INSERT INTO t VALUES (1), (2);"), PG_OK);
	assert_int_equal(pg_script(pg, "INSERT INTO t VALUES (3); INSERT INTO t VALUES ('x')"), PG_FAILED);
	assert_string_equal(pg_sqlstate(pg), "22P02");
	struct pg_result *r = query(pg, "SELECT count(*) FROM t", NULL, 0);
	assert_int_equal(pg_int(r, 0, 0), 2); /* one transaction: all or nothing */
	pg_result_free(&r);
	assert_int_equal(pg_script(pg, ""), PG_OK);
	assert_int_equal(pg_script(pg, "DROP TABLE IF EXISTS nowhere"), PG_OK); /* its notice is not printed */
}

static void notifications(void **state)
{
	struct pg *pg = *state, *other = pg_new("", "waybill/other");
	assert_int_equal(pg_script(pg, "LISTEN directory"), PG_OK);
	assert_false(pg_notified(pg));
	assert_int_equal(pg_script(other, "NOTIFY directory, '1'"), PG_OK);
	struct pollfd ready = {.fd = pg_socket(pg), .events = POLLIN};
	assert_int_equal(poll(&ready, 1, 10000), 1);
	assert_true(pg_notified(pg));
	assert_false(pg_notified(pg));
	pg_free(&other);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, connect_new, disconnect)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(fields),
		TEST(rows),
		TEST(again),
		TEST(application),
		TEST(bytea),
		TEST(failures),
		TEST(too_many_parameters),
		TEST(comes_back),
		TEST(ended_in_between),
		TEST(nobody_there),
		TEST(scripts),
		TEST(notifications),
	};
	if (!getenv("PGHOST"))
		return 77; /* run it with tests/unit/with-postgres */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
