/* Mail addresses: RFC 5321 section 4.1.2 and RFC 6531, as tables. */

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "common/addr.h"

#define L16  "abcdefghijklmnop"
#define L63  L16 L16 L16 "abcdefghijklmno"
#define L64  L16 L16 L16 L16
#define D255 L63 "." L63 "." L63 "." L63 /* 4 * 63 + 3 */

static void good(void **state)
{
	static const struct {
		struct text in;
		const char *local, *domain;
	} rows[] = {
		{TEXT("a@b.c"), "a", "b.c"},
		{TEXT("First.Last@Example.COM"), "First.Last", "Example.COM"},
		{TEXT("!#$%&'*+-/=?^_`{|}~@x.example"), "!#$%&'*+-/=?^_`{|}~", "x.example"},
		{TEXT("a+tag@x.example"), "a+tag", "x.example"},
		{TEXT("\"a b\"@x.example"), "\"a b\"", "x.example"},
		{TEXT("\"a@b\"@x.example"), "\"a@b\"", "x.example"},
		{TEXT("\"\"@x.example"), "\"\"", "x.example"},
		{TEXT("\"\\\"\\\\\"@x.example"), "\"\\\"\\\\\"", "x.example"},
		{TEXT("j\xc3\xb6rg@m\xc3\xbcller.example"), "j\xc3\xb6rg", "m\xc3\xbcller.example"},
		{TEXT("\xf0\x9f\x98\x80@x.example"), "\xf0\x9f\x98\x80", "x.example"},
		{TEXT("a@xn--mller-kva.example"), "a", "xn--mller-kva.example"},
		{TEXT("a@1.2.3.example"), "a", "1.2.3.example"},
		{TEXT(L64 "@x.example"), L64, "x.example"},
		{TEXT("a@" L63 ".example"), "a", L63 ".example"},
		{TEXT(L64 "@" D255), L64, D255},
	};
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct addr a;
		assert_null(addr_parse(rows[i].in, &a));
		assert_true(text_equal(a.local, text_of(rows[i].local)));
		assert_true(text_equal(a.domain, text_of(rows[i].domain)));
	}
}

static void refused(void **state)
{
	static const struct {
		struct text in;
		const char *why;
	} rows[] = {
		{TEXT(""), "no @"},
		{TEXT("a"), "no @"},
		{TEXT("\"a@x.example"), "no @"},
		{TEXT("@x.example"), "local part is empty"},
		{TEXT("a@"), "domain is empty"},
		{TEXT("a@b@x.example"), "only hold in quotes"},
		{TEXT("a b@x.example"), "only hold in quotes"},
		{TEXT("a,b@x.example"), "only hold in quotes"},
		{TEXT("<a@x.example>"), "only hold in quotes"},
		{TEXT("a\r\nRCPT TO:<b@x.example"), "only hold in quotes"},
		{TEXT("a\0@x.example"), "only hold in quotes"},
		{TEXT("a\x7f@x.example"), "only hold in quotes"},
		{TEXT(".a@x.example"), "dot"},
		{TEXT("a..b@x.example"), "dot"},
		{TEXT("a.@x.example"), "dot"},
		{TEXT("\"a\"b@x.example"), "closing quote"},
		{TEXT("\"a\n\"@x.example"), "control"},
		{TEXT("\"a\\\r\"@x.example"), "control"},
		{TEXT("\"a\0b\"@x.example"), "control"},
		{TEXT("a@[192.0.2.1]"), "literal"},
		{TEXT("a@[IPv6:::1]"), "literal"},
		{TEXT("a@192.0.2.1"), "last label is a number"},
		{TEXT("a@localhost"), "two labels"},
		{TEXT("a@x.example."), "empty label"},
		{TEXT("a@.x.example"), "empty label"},
		{TEXT("a@x..example"), "empty label"},
		{TEXT("a@-x.example"), "begins with a hyphen"},
		{TEXT("a@x-.example"), "ends with a hyphen"},
		{TEXT("a@x_y.example"), "no host name"},
		{TEXT("a@x.exam ple"), "no host name"},
		{TEXT("a@x.example\n"), "no host name"},
		{TEXT("a@x\0.example"), "no host name"},
		{TEXT("a@\"x\".example"), "no host name"},
		{TEXT(L64 "x@x.example"), "64"},
		{TEXT("a@" L64 ".example"), "63"},
		{TEXT("a@x." D255), "255"},
		{TEXT("\xff@x.example"), "UTF-8"},
		{TEXT("\xc3@x.example"), "UTF-8"},
		{TEXT("\xc0\xaf@x.example"), "UTF-8"},         /* overlong "/" */
		{TEXT("\xe0\x80\xaf@x.example"), "UTF-8"},     /* the same in three bytes */
		{TEXT("\xed\xa0\x80@x.example"), "UTF-8"},     /* a surrogate */
		{TEXT("\xf4\x90\x80\x80@x.example"), "UTF-8"}, /* beyond U+10FFFF */
		{TEXT("\xf8\x88\x80\x80\x80@x.example"), "UTF-8"},
		{TEXT("a@x.example\xe2\x82"), "UTF-8"},
	};
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct addr a = {TEXT("kept"), TEXT("kept")};
		const char *why = addr_parse(rows[i].in, &a);
		if (!why || !strstr(why, rows[i].why))
			print_error("row %zu: %s\n", i, why ? why : "accepted");
		assert_true(why && strstr(why, rows[i].why));
		assert_true(text_equal(a.local, TEXT("kept")));
	}
}

static void domains(void **state)
{
	static const struct {
		struct text in;
		const char *why; /* NULL: good */
		size_t at;
	} rows[] = {
		{TEXT("x.example"), NULL, 0},
		{TEXT("A-1.b2.Example"), NULL, 0},
		{TEXT("xn--mller-kva.example"), NULL, 0},
		{TEXT("1.example"), NULL, 0},
		{TEXT(D255), NULL, 0},
		{TEXT(""), "empty", 0},
		{TEXT("."), "empty label", 0},
		{TEXT("example"), "two labels", 0},
		{TEXT("mail.exam_ple"), "no host name", 9},
		{TEXT("mail.b\xc3\xbc.example"), "no host name", 6},
		{TEXT("mail.-b.example"), "begins", 5},
		{TEXT("mail.b-.example"), "ends", 6},
		{TEXT("mail..example"), "empty label", 5},
		{TEXT("mail.example."), "empty label", 13},
		{TEXT("192.0.2.1"), "number", 8},
		{TEXT("x." L64), "63", 2},
		{TEXT("x.example\0"), "no host name", 9},
	};
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		size_t at = 0;
		const char *why = addr_domain_check(rows[i].in, &at);
		if (!rows[i].why) {
			assert_null(why);
			continue;
		}
		assert_true(why && strstr(why, rows[i].why));
		assert_int_equal(at, rows[i].at);
	}
}

static void keys(void **state)
{
	char out[ADDR_MAX + 1];
	struct addr a;
	(void)state;
	assert_null(addr_parse(TEXT("Jo.E@MAIL.Example"), &a));
	assert_int_equal(addr_key(a, out, sizeof out), 17);
	assert_string_equal(out, "Jo.E@mail.example");
	assert_int_equal(addr_key(a, out, 18), 17);
	assert_int_equal(addr_key(a, out, 17), 0);
	assert_null(addr_parse(TEXT(L64 "@" D255), &a));
	assert_int_equal(addr_key(a, out, sizeof out), ADDR_MAX);
}

static void details(void **state)
{
	static const char *const rows[][2] = {
		{"a+b", "a"}, {"a+b+c", "a"}, {"a", "a"}, {"a+", "a"}, {"+b", "+b"}, {"", ""}, {"\"a+b\"", "\"a+b\""}};
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		assert_true(text_equal(addr_without_detail(text_of(rows[i][0])), text_of(rows[i][1])));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good), cmocka_unit_test(refused), cmocka_unit_test(domains),
		cmocka_unit_test(keys), cmocka_unit_test(details),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
