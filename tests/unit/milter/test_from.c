/* milter/from: which From fields have exactly one address that all readers agree about. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "milter/from.h"

static const struct {
	const char *value, *address;
} good[] = {
	{"a@example.com", "a@example.com"},
	{" a@example.com ", "a@example.com"},
	{"<a@example.com>", "a@example.com"},
	{"A <a@example.com>", "a@example.com"},
	{"A<a@example.com>", "a@example.com"},
	{"\"A, B <x@y.z>\" <a@example.com>", "a@example.com"},
	{"\"x@victim.com\" <a@example.com>", "a@example.com"},
	{"John Q. Public <john.q.public@example.com>", "john.q.public@example.com"},
	{"Dr. \"J\" [ext] <a@example.com>", "a@example.com"},
	{"=?utf-8?Q?J=C3=B6rg?= <j@example.com>", "j@example.com"},
	{"=?utf-8?B?SsO2cmc=?= =?us-ascii?Q?_Schmidt?= <j@example.com>", "j@example.com"},
	{"J\xc3\xb6rg <j\xc3\xb6rg@b\xc3\xbc\x63her.example>", "j\xc3\xb6rg@b\xc3\xbc\x63her.example"},
	{"J\xf6rg <j@example.com>", "j@example.com"},
	{"Pete(A nice \\) chap) <pete(his account)@silly.test(his host)>", "pete@silly.test"},
	{"a@example.com (A (nested) comment)", "a@example.com"},
	{"(<x@y.z>) a@example.com", "a@example.com"},
	{"Mary\r\n Smith\r\n\t<a@example.com>", "a@example.com"},
	{"Mary\n Smith <a@example.com>", "a@example.com"},
	{"a . b @ example . com", "a.b@example.com"},
	{"< a @ example.com >", "a@example.com"},
	{"\"a\"@example.com", "a@example.com"},
	{"\"a.b\"@example.com", "a.b@example.com"},
	{"\"a b\"@example.com", "\"a b\"@example.com"},
	{"\"a\\\"b\"@example.com", "\"a\\\"b\"@example.com"},
	{"\"a\\b\"@example.com", "ab@example.com"},
	{"\"a@b\"@example.com", "\"a@b\"@example.com"},
	{"\"a.b\n\"@example.com", "a.b@example.com"},
	{"\"a\r\n b\"@example.com", "\"a b\"@example.com"},
	{"a+b=c@example.com", "a+b=c@example.com"},
	{"\"\" <a@example.com>", "a@example.com"},
};

static const struct {
	const char *value, *why;
} bad[] = {
	{"", "no address"},
	{"  (only a comment) ", "no address"},
	{"<>", "an empty address"},
	{"A <>", "an empty address"},
	{"Name", "no address"},
	{"a@example.com, b@example.com", "several addresses"},
	{"A <a@example.com>, B <b@example.com>", "several addresses"},
	{"a@example.com,", "several addresses"},
	{", a@example.com", "an empty element in the list"},
	{"Doe, John <j@example.com>", "a malformed address"},
	{"Group: a@example.com;", "a group instead of an address"},
	{"undisclosed recipients:;", "a group instead of an address"},
	{"a@example.com;", "a semicolon instead of a comma, or a group"},
	{"<@route.example:a@example.com>", "a source route"},
	{"a@example.com <b@example.com>", "two addresses in one"},
	{"<a@example.com><b@example.com>", "two addresses in one"},
	{"<a@example.com> b@example.com", "text behind the address"},
	{"a@b@example.com", "two at signs in one address"},
	{"A <a@example.com", "an address without its closing \">\""},
	{"a@example.com (open", "an unclosed comment"},
	{"a@example.com (open\\", "an unclosed comment"},
	{"\"open <a@example.com>", "an unclosed quoted string"},
	{"\"open\\", "an unclosed quoted string"},
	{"a@[192.0.2.1]", "an address literal instead of a domain"},
	{"a@", "an address without a domain"},
	{"@example.com", "a malformed address"},
	{"a..b@example.com", "a malformed address"},
	{".a@example.com", "a malformed address"},
	{"\"a\".\"b\"@example.com", "a malformed address"},
	{"a\x01@example.com", "a control character"},
	{"a@example.com\x7f", "a control character"},
	{"j\xf6rg@example.com", "an address that is not UTF-8"},
	{"((((((((((((((((((a))))))))))))))))))a@example.com", "comments nested too deeply"},
};

static void good_by_table(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		char out[FROM_ADDRESS_SIZE];
		const char *why = from_parse(text_of(good[i].value), out);
		if (why)
			print_error("%s: %s\n", good[i].value, why);
		assert_null(why);
		assert_string_equal(out, good[i].address);
	}
}

static void bad_by_table(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		char out[FROM_ADDRESS_SIZE];
		const char *why = from_parse(text_of(bad[i].value), out);
		if (!why)
			print_error("%s: taken as %s\n", bad[i].value, out);
		assert_non_null(why);
		assert_string_equal(why, bad[i].why);
	}
}

static void nul_is_refused(void **state)
{
	(void)state;
	char out[FROM_ADDRESS_SIZE];
	assert_string_equal(from_parse(text_at("a@example.com\0, b@c.d", 21), out), "a control character");
}

static void long_ones_are_refused(void **state)
{
	(void)state;
	char value[1024], out[FROM_ADDRESS_SIZE];
	memset(value, 'a', sizeof value);
	assert_string_equal(from_parse(text_at(value, sizeof value), out), "an address that is too long");
	memcpy(value + 60, "@x", 2);
	assert_string_equal(from_parse(text_at(value, sizeof value), out), "an address that is too long");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_by_table),
		cmocka_unit_test(bad_by_table),
		cmocka_unit_test(nul_is_refused),
		cmocka_unit_test(long_ones_are_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
