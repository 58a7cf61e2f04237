/* Rights: patterns, and the answer over a list of them. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/rights.h"

static const struct {
	const char *pattern;
	size_t at;
	bool good;
} patterns[] = {
	{"user@example.com", 0, true},
	{"first.last+tag@example.com", 0, true},
	{"@example.com", 0, true},
	{"@.example.com", 0, true},
	{"*@owned", 0, true},
	{"<>", 0, true},
	{"@xn--bcher-kva.example", 0, true},
	{"", 0, false},
	{"example.com", 11, false},
	{"*@example.com", 0, false},
	{"a*@example.com", 1, false},
	{".user@example.com", 0, false},
	{"us er@example.com", 2, false},
	{"a..b@example.com", 2, false},
	{"user@exa_mple.com", 8, false},
	{"user@.example.com", 5, false},
	{"@..example.com", 2, false},
	{"user@", 5, false},
};

static void checks_patterns(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
		size_t at = SIZE_MAX;
		const char *why = rights_pattern_check(text_of(patterns[i].pattern), &at);
		if (patterns[i].good != (why == NULL))
			fail_msg("%s: %s", patterns[i].pattern, why ? why : "accepted");
		if (why && at != patterns[i].at)
			fail_msg("%s: offset %zu (%s)", patterns[i].pattern, at, why);
	}
}

static const struct {
	const char *rights; /* "+pattern" allows, "-pattern" denies */
	const char *local, *domain;
	bool owned;
	enum rights_verdict verdict;
	const char *by;
} cases[] = {
	{"", "a", "x.test", true, RIGHTS_UNMATCHED, ""},
	{"+a@x.test", "a", "x.test", false, RIGHTS_ALLOWED, "a@x.test"},
	{"+a@x.test", "A", "X.Test", false, RIGHTS_ALLOWED, "a@x.test"},
	{"+a@x.test", "b", "x.test", false, RIGHTS_UNMATCHED, ""},
	{"+a@x.test", "a", "y.x.test", false, RIGHTS_UNMATCHED, ""},
	{"+a@x.test", "a+news", "x.test", false, RIGHTS_ALLOWED, "a@x.test"},
	{"+a@x.test", "ab", "x.test", false, RIGHTS_UNMATCHED, ""},
	{"+a+news@x.test", "a", "x.test", false, RIGHTS_UNMATCHED, ""},
	{"+a+news@x.test", "a+news", "x.test", false, RIGHTS_ALLOWED, "a+news@x.test"},
	{"+@x.test", "anyone", "x.test", false, RIGHTS_ALLOWED, "@x.test"},
	{"+@x.test", "anyone", "y.x.test", false, RIGHTS_UNMATCHED, ""},
	{"+@.x.test", "anyone", "x.test", false, RIGHTS_ALLOWED, "@.x.test"},
	{"+@.x.test", "anyone", "z.y.X.test", false, RIGHTS_ALLOWED, "@.x.test"},
	{"+@.x.test", "anyone", "evilx.test", false, RIGHTS_UNMATCHED, ""},
	{"+*@owned", "anyone", "x.test", true, RIGHTS_ALLOWED, "*@owned"},
	{"+*@owned", "anyone", "x.test", false, RIGHTS_UNMATCHED, ""},
	{"+*@owned +<>", "", "", false, RIGHTS_ALLOWED, "<>"},
	{"+*@owned +@x.test", "", "", true, RIGHTS_UNMATCHED, ""},
	{"+<>", "a", "x.test", true, RIGHTS_UNMATCHED, ""},
	{"+*@owned -ceo@x.test", "ceo", "x.test", true, RIGHTS_DENIED, "ceo@x.test"},
	{"-ceo@x.test +*@owned", "ceo", "x.test", true, RIGHTS_DENIED, "ceo@x.test"},
	{"-ceo@x.test +*@owned", "CEO+x", "x.test", true, RIGHTS_DENIED, "ceo@x.test"},
	{"-ceo@x.test +*@owned", "\"ceo\"", "x.test", true, RIGHTS_DENIED, "ceo@x.test"},
	{"-ceo@x.test +*@owned", "\"c\\eo\"", "x.test", true, RIGHTS_DENIED, "ceo@x.test"},
	{"-ceo@x.test +*@owned", "\"ceo+long-long-long-long-long-long-long-long-long-long-long-long-long-long\"",
	 "x.test", true, RIGHTS_DENIED, "ceo@x.test"},
	{"-ceo@x.test +*@owned", "cto", "x.test", true, RIGHTS_ALLOWED, "*@owned"},
	{"+a@x.test -@x.test", "a", "x.test", false, RIGHTS_DENIED, "@x.test"},
};

static void answers_over_a_list(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct rights_check check;
		struct addr address = {text_of(cases[i].local), text_of(cases[i].domain)};
		struct text rest = text_of(cases[i].rights), word;
		rights_begin(&check, address, cases[i].owned);
		while (text_take(&rest, ' ', &word))
			if (word.len)
				rights_add(&check, (struct right){word.ptr[0] == '+', text_from(word, 1)});
		if (check.verdict != cases[i].verdict || !text_equal(check.by.pattern, text_of(cases[i].by)))
			fail_msg("case %zu: verdict %d by %.*s", i, check.verdict, TEXT_ARG(check.by.pattern));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(checks_patterns),
		cmocka_unit_test(answers_over_a_list),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
