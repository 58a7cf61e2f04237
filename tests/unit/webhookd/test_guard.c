#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/guard.h"

#define FOLDER "tests/unit/webhookd/"

static struct guard_policy policy_of(const char *ports, const char *allow)
{
	struct guard_policy policy = {0};
	struct text at;
	assert_null(guard_ports_parse(text_of(ports), &policy, &at));
	assert_null(guard_allow_parse(text_of(allow), &policy, &at));
	return policy;
}

static void check(const char *file, int line, struct text input, const char *got, struct text wanted)
{
	bool as_wanted = text_equal(wanted, TEXT("ok")) ? !got : got && text_search(text_of(got), wanted) != SIZE_MAX;
	if (!as_wanted)
		fail_msg("%s:%d: %.*s: got \"%s\", wanted \"%.*s\"", file, line, TEXT_ARG(input), got ? got : "ok",
			 TEXT_ARG(wanted));
}

/* Calls ROW for each line of a table: input, SEPARATOR, wanted. Returns how many there were. */
static int each_row(const char *file, char separator, void (*row)(const char *, int, struct text, struct text))
{
	char line[512];
	int number = 0, rows = 0;
	FILE *in = fopen(file, "r");
	assert_non_null(in);
	while (fgets(line, sizeof(line), in)) {
		struct text t = text_of(line);
		number++;
		if (line[0] == '#' || line[0] == '\n')
			continue;
		size_t cut = separator == ' ' ? text_find(t, ' ') : text_rfind(t, separator);
		assert_int_not_equal(cut, SIZE_MAX);
		row(file, number, text_head(t, cut), text_trim(text_from(t, cut + 1)));
		rows++;
	}
	fclose(in);
	return rows;
}

static void address_row(const char *file, int line, struct text address, struct text wanted)
{
	struct guard_policy policy = policy_of("443", "");
	struct network network;
	assert_null(network_parse(address, &network));
	check(file, line, address, guard_address(&network, &policy), wanted);
}

static void url_row(const char *file, int line, struct text url, struct text wanted)
{
	struct guard_policy policy = policy_of("443, 8443", "");
	struct guard_url out;
	check(file, line, url, guard_url_check(url, &policy, &out), wanted);
}

static void test_addresses(void **state)
{
	(void)state;
	assert_true(each_row(FOLDER "addresses.txt", ' ', address_row) >= 120);
}

static void test_urls(void **state)
{
	(void)state;
	assert_true(each_row(FOLDER "urls.txt", '|', url_row) >= 60);
}

static void test_parts_of_a_url(void **state)
{
	struct guard_policy policy = policy_of("443,80,8443", "");
	struct guard_url out;
	(void)state;
	policy.allow_http = true;
	assert_null(guard_url_check(TEXT("https://[2606:4700::1111]:8443/x"), &policy, &out));
	assert_true(out.tls && out.port == 8443 && text_equal(out.host, TEXT("2606:4700::1111")));
	assert_null(guard_url_check(TEXT("http://Example.com?q"), &policy, &out));
	assert_true(!out.tls && out.port == 80 && text_equal(out.host, TEXT("Example.com")));

	char *longer = malloc(GUARD_URL_MAX + 2);
	memset(longer, 'a', GUARD_URL_MAX + 1);
	memcpy(longer, "https://example.com/", 20);
	assert_null(guard_url_check(text_at(longer, GUARD_URL_MAX), &policy, &out));
	assert_non_null(guard_url_check(text_at(longer, GUARD_URL_MAX + 1), &policy, &out));
	free(longer);
}

static void test_allowed_networks(void **state)
{
	struct guard_policy policy = policy_of("443", "127.0.0.0/8, ::1, 10.1.0.0/16,fd00::/8");
	static const struct {
		const char *address;
		bool allowed;
	} rows[] = {{"127.0.0.1", true},   {"::1", true},      {"10.1.2.3", true},         {"10.2.0.1", false},
		    {"fd00::1", true},     {"fc00::1", false}, {"::ffff:127.0.0.1", true}, {"64:ff9b::a01:203", true},
		    {"192.168.0.1", false}};
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct network network;
		assert_null(network_parse(text_of(rows[i].address), &network));
		if (!guard_address(&network, &policy) != rows[i].allowed)
			fail_msg("%s", rows[i].address);
	}
}

static void test_wrong_lists(void **state)
{
	struct guard_policy policy;
	struct text at;
	(void)state;
	assert_non_null(guard_ports_parse(TEXT("443, 0"), &policy, &at));
	assert_true(text_equal(at, TEXT("0")));
	assert_non_null(guard_ports_parse(TEXT("443,,80"), &policy, &at));
	assert_non_null(guard_ports_parse(TEXT("1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17"), &policy, &at));
	assert_non_null(guard_allow_parse(TEXT("10.0.0.0/8,nonsense"), &policy, &at));
	assert_true(text_equal(at, TEXT("nonsense")));
	assert_null(guard_allow_parse(TEXT(""), &policy, &at));
	assert_int_equal(policy.allow_count, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_addresses),      cmocka_unit_test(test_urls),
		cmocka_unit_test(test_parts_of_a_url), cmocka_unit_test(test_allowed_networks),
		cmocka_unit_test(test_wrong_lists),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
