/* Joining a refusal in Postfix's log with policyd's line in the event spool. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "bouncer/refusals.h"

#define LINE(login, id)                                                                                               \
	TEXT("{\"type\":\"policy.refused\",\"time\":\"2026-11-21T01:02:03Z\",\"host\":\"mx1\",\"customer\":\"acme\"," \
	     "\"login\":\"" login "\",\"queue_id\":\"\",\"id\":\"" id                                                 \
	     "\",\"action\":\"reject\",\"reason\":\"sender-not-owned\"}")

static void ids(void **state)
{
	(void)state;
	static const struct {
		const char *reason, *id;
	} rows[] = {
		{"<a@b>: Sender address rejected: not yours [sender-not-owned] id=k2x4pqmn", "k2x4pqmn"},
		{"<a@b>: Sender address rejected: not yours id=k2x4pqmn", ""},
		{"[x] id=k2x4pqmn more", ""},
		{"[x] id=K2X4PQMN", ""},
		{"] id=k2x4pqm", ""},
		{"k2x4pqmn", ""},
		{"", ""},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		assert_true(text_equal(refusals_id(text_of(rows[i].reason)), text_of(rows[i].id)));
}

static void joins(void **state)
{
	(void)state;
	struct refusals *r = refusals_new();
	refusals_add(r, LINE("acme-app", "k2x4pqmn"));
	refusals_add(r, LINE("other", "aaaaaaaa"));
	refusals_add(r, TEXT("{\"type\":\"limit.warning\",\"login\":\"x\",\"id\":\"bbbbbbbb\"}"));
	refusals_add(r, TEXT("{\"type\":\"policy.refused\",\"login\":\"x\\\",\",\"id\":\"cccccccc\"}"));
	refusals_add(r, TEXT("{\"type\":\"policy.refused\",\"login\":\"x"));
	refusals_add(r, TEXT(""));
	assert_true(text_equal(refusals_login(r, TEXT("k2x4pqmn")), TEXT("acme-app")));
	assert_true(text_equal(refusals_login(r, TEXT("aaaaaaaa")), TEXT("other")));
	assert_int_equal(refusals_login(r, TEXT("bbbbbbbb")).len, 0);
	assert_int_equal(refusals_login(r, TEXT("cccccccc")).len, 0);
	assert_int_equal(refusals_login(r, TEXT("")).len, 0);
	refusals_free(&r);
}

/* Memory is bounded: what is long ago is forgotten, what was last is there. */
static void forgets(void **state)
{
	(void)state;
	struct refusals *r = refusals_new();
	char id[9], line[300];
	for (unsigned n = 0; n < 100000; n++) {
		for (unsigned i = 0, rest = n; i < 8; i++, rest >>= 5)
			id[i] = "abcdefghijklmnopqrstuvwxyz234567"[rest & 31];
		id[8] = '\0';
		snprintf(line, sizeof line, "{\"type\":\"policy.refused\",\"login\":\"l%u\",\"id\":\"%s\"}", n, id);
		refusals_add(r, text_of(line));
	}
	assert_true(text_equal(refusals_login(r, text_of(id)), TEXT("l99999")));
	refusals_free(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(ids), cmocka_unit_test(joins), cmocka_unit_test(forgets)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
