/* Selectors, records and what they say about a key. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "ctl/dkim_record.h"

static void selectors_name_the_quarter(void **state)
{
	static const struct {
		int month;
		enum directory_key_algorithm algorithm;
		unsigned nth;
		const char *selector;
	} rows[] = {
		{1, DIRECTORY_RSA_SHA256, 0, "s2026q1"},           {3, DIRECTORY_RSA_SHA256, 0, "s2026q1"},
		{4, DIRECTORY_RSA_SHA256, 1, "s2026q2b"},          {12, DIRECTORY_RSA_SHA256, 2, "s2026q4c"},
		{12, DIRECTORY_ED25519_SHA256, 0, "s2026q4e"},     {12, DIRECTORY_ED25519_SHA256, 1, "s2026q4eb"},
		{12, DIRECTORY_RSA_SHA256, 21, "s2026q4y"},        {12, DIRECTORY_RSA_SHA256, 22, "s2026q4zb"},
		{12, DIRECTORY_ED25519_SHA256, 43, "s2026q4ezzb"},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		char selector[DKIM_SELECTOR_SIZE];
		dkim_selector(2026, rows[i].month, rows[i].algorithm, rows[i].nth, selector);
		assert_string_equal(selector, rows[i].selector);
	}
}

static void selectors_never_repeat(void **state)
{
	char seen[200][DKIM_SELECTOR_SIZE];
	(void)state;
	for (unsigned i = 0; i < 200; i++) {
		dkim_selector(2026, 1, i % 2 ? DIRECTORY_ED25519_SHA256 : DIRECTORY_RSA_SHA256, i / 2, seen[i]);
		for (unsigned j = 0; j < i; j++)
			assert_string_not_equal(seen[i], seen[j]);
	}
}

#define KEY TEXT("\x30\x82\x01\x22") /* any bytes: the base64 is MIIBIg== */

static void records_are_compared_with_keys(void **state)
{
	static const struct {
		const char *record;
		enum directory_key_algorithm algorithm;
		enum dkim_shown shown;
	} rows[] = {
		{"v=DKIM1; k=rsa; p=MIIBIg==", DIRECTORY_RSA_SHA256, DKIM_SHOWN},
		{"v=DKIM1;k=rsa;p=MIIBIg==;", DIRECTORY_RSA_SHA256, DKIM_SHOWN},
		{"p=MIIBIg==", DIRECTORY_RSA_SHA256, DKIM_SHOWN},
		{"v=DKIM1; p= MIIB Ig==", DIRECTORY_RSA_SHA256, DKIM_SHOWN},
		{"v=DKIM1; h=sha1:sha256; p=MIIBIg==", DIRECTORY_RSA_SHA256, DKIM_SHOWN},
		{"v=DKIM1; h=sha1; p=MIIBIg==", DIRECTORY_RSA_SHA256, DKIM_OTHER},
		{"v=DKIM1; k=ed25519; p=MIIBIg==", DIRECTORY_RSA_SHA256, DKIM_OTHER},
		{"v=DKIM1; k=ed25519; p=MIIBIg==", DIRECTORY_ED25519_SHA256, DKIM_SHOWN},
		{"v=DKIM1; p=MIIBIw==", DIRECTORY_RSA_SHA256, DKIM_OTHER},
		{"v=DKIM1; p=", DIRECTORY_RSA_SHA256, DKIM_REVOKED},
		{"v=DKIM1; k=rsa", DIRECTORY_RSA_SHA256, DKIM_MALFORMED},
		{"v=DKIM2; p=MIIBIg==", DIRECTORY_RSA_SHA256, DKIM_MALFORMED},
		{"v=spf1 -all", DIRECTORY_RSA_SHA256, DKIM_MALFORMED},
		{"v=DKIM1; p=***", DIRECTORY_RSA_SHA256, DKIM_MALFORMED},
		{"", DIRECTORY_RSA_SHA256, DKIM_MALFORMED},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		assert_int_equal(dkim_record_compare(text_of(rows[i].record), rows[i].algorithm, KEY), rows[i].shown);
}

static void what_is_printed_is_what_is_compared(void **state)
{
	struct buffer record = {0};
	(void)state;
	dkim_record_text(DIRECTORY_ED25519_SHA256, KEY, &record);
	assert_int_equal(dkim_record_compare(buffer_view(&record), DIRECTORY_ED25519_SHA256, KEY), DKIM_SHOWN);
	record.len = 0;
	dkim_record_text(DIRECTORY_RSA_SHA256, TEXT(""), &record);
	assert_int_equal(dkim_record_compare(buffer_view(&record), DIRECTORY_RSA_SHA256, KEY), DKIM_REVOKED);
	buffer_free(&record);
}

static void zone_lines_split_at_255(void **state)
{
	struct buffer value = {0}, line = {0};
	(void)state;
	for (int i = 0; i < 256; i++)
		buffer_char(&value, 'a');
	dkim_zone_line(TEXT("x.example"), TEXT("TXT"), buffer_view(&value), &line);
	assert_int_equal(line.len, strlen("x.example. 3600 IN TXT \"\" \"\"\n") + 256);
	assert_true(text_ends(buffer_view(&line), TEXT("\" \"a\"\n")));
	line.len = 0;
	dkim_zone_line(TEXT("x.example"), TEXT("TXT"), TEXT("a\"b\\c"), &line);
	assert_string_equal(buffer_string(&line), "x.example. 3600 IN TXT \"a\\\"b\\\\c\"\n");
	line.len = 0;
	dkim_zone_line(TEXT("x.example"), TEXT("CNAME"), TEXT("y.example"), &line);
	assert_string_equal(buffer_string(&line), "x.example. 3600 IN CNAME y.example.\n");
	buffer_free(&value);
	buffer_free(&line);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(selectors_name_the_quarter),     cmocka_unit_test(selectors_never_repeat),
		cmocka_unit_test(records_are_compared_with_keys), cmocka_unit_test(what_is_printed_is_what_is_compared),
		cmocka_unit_test(zone_lines_split_at_255),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
