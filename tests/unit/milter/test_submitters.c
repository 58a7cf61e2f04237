/* milter/submitters: whose mail it is that comes without a login. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "milter/submitters.h"

static void the_first_network_decides(void **state)
{
	(void)state;
	static const struct {
		const char *list, *client, *login;
	} cases[] = {
		{"", "192.0.2.1", ""},
		{"app", "192.0.2.1", "app"},
		{"app", "", "app"},
		{"127.0.0.0/8=cron, 2001:db8::/32=six,app", "127.0.0.1", "cron"},
		{"127.0.0.0/8=cron, 2001:db8::/32=six,app", "2001:db8::7", "six"},
		{"127.0.0.0/8=cron, 2001:db8::/32=six,app", "192.0.2.1", "app"},
		{"192.0.2.7 = one, 192.0.2.0/24 = all", "192.0.2.7", "one"},
		{"192.0.2.7 = one, 192.0.2.0/24 = all", "192.0.2.8", "all"},
		{"192.0.2.7 = one, 192.0.2.0/24 = all", "192.0.3.8", ""},
		{"192.0.2.0/24=all", "unknown", ""},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct text list = text_of(cases[i].list);
		assert_null(submitters_check(list));
		assert_true(text_equal(submitters_find(list, text_of(cases[i].client)), text_of(cases[i].login)));
	}
}

static void wrong_lists_are_found(void **state)
{
	(void)state;
	static const char *const lists[] = {"192.0.2.0/24=",    "here=app",       "=app",
					    "app, 127.0.0.1=x", "127.0.0.1=app,", "one, two"};
	for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
		assert_non_null(submitters_check(text_of(lists[i])));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_first_network_decides),
		cmocka_unit_test(wrong_lists_are_found),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
