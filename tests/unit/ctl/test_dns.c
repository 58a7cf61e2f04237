/* DNS answers, DMARC records, CSV lines, OpenDKIM's tables: strangers' bytes and people's files. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "ctl/csv.h"
#include "ctl/dmarc.h"
#include "ctl/dns_answer.h"
#include "ctl/opendkim_table.h"

/* A header, the question a.test TXT, and COUNT answers to follow. */
#define HEAD(count) "\0\1\x81\x80\0\1\0" count "\0\0\0\0\1a\4test\0\0\x10\0\1"
/* An answer of the question's name (a pointer to it), TTL 0. */
#define ANSWER(type, len) "\xc0\x0c\0" type "\0\1\0\0\0\0\0" len

static void assert_record(const struct dns_records *records, size_t i, const char *want)
{
	struct text got = dns_record(records, i);
	assert_int_equal(got.len, strlen(want));
	assert_memory_equal(got.ptr, want, got.len);
}

static void answers_become_text(void **state)
{
	static const struct {
		struct text message;
		enum dns_type type;
		size_t count;
		const char *first;
	} rows[] = {
		{TEXT(HEAD("\1") ANSWER("\x10", "\7") "\3abc\2de"), DNS_TXT, 1, "abcde"},
		{TEXT(HEAD("\2") ANSWER("\5", "\4") "\1B\xc0\x0e" ANSWER("\x10", "\2") "\1x"), DNS_TXT, 1, "x"},
		{TEXT(HEAD("\1") ANSWER("\5", "\4") "\1B\xc0\x0e"), DNS_CNAME, 1, "b.test"},
		{TEXT(HEAD("\1") ANSWER("\x0f", "\5") "\0\x0a\1m\0"), DNS_MX, 1, "10 m"},
		{TEXT(HEAD("\1") ANSWER("\x0f", "\3") "\0\0\0"), DNS_MX, 1, "0 "},
		{TEXT(HEAD("\1") ANSWER("\1", "\4") "\xc0\0\2\1"), DNS_A, 1, "192.0.2.1"},
		{TEXT(HEAD("\1") ANSWER("\x1c", "\x10") "\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1"), DNS_AAAA, 1,
		 "2001:db8:0:0:0:0:0:1"},
		{TEXT(HEAD("\0")), DNS_TXT, 0, ""},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct dns_records records = {0};
		assert_null(dns_answer_parse(rows[i].message, rows[i].type, &records));
		assert_int_equal(records.count, rows[i].count);
		assert_record(&records, 0, rows[i].first);
		dns_records_free(&records);
	}
}

static void damage_is_found(void **state)
{
	static const struct text rows[] = {
		TEXT(""),
		TEXT("\0\1\x81\x80\0\1\0\1"),
		TEXT(HEAD("\1")),                                        /* the answer is missing */
		TEXT(HEAD("\1") ANSWER("\x10", "\7") "\3abc\2d"),        /* cut off */
		TEXT(HEAD("\1") ANSWER("\x10", "\4") "\5abc"),           /* a string longer than its record */
		TEXT(HEAD("\1") ANSWER("\1", "\2") "\xc0\0"),            /* half an address */
		TEXT(HEAD("\1") ANSWER("\5", "\2") "\xc0\xff"),          /* a pointer into nothing */
		TEXT(HEAD("\1") "\xc0\x18\0\5\0\1\0\0\0\0\0\2\xc0\x18"), /* a pointer to itself */
	};
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct dns_records records = {0};
		enum dns_type type = i == 5 ? DNS_A : i > 5 ? DNS_CNAME : DNS_TXT;
		assert_non_null(dns_answer_parse(rows[i], type, &records));
		dns_records_free(&records);
	}
}

static void dmarc_records(void **state)
{
	struct dmarc dmarc;
	(void)state;
	assert_null(dmarc_parse(TEXT("v=DMARC1; p=quarantine; sp=none; adkim=s; rua=mailto:a@b.test; pct=20"), &dmarc));
	assert_int_equal(dmarc.policy, DMARC_QUARANTINE);
	assert_int_equal(dmarc.subdomains, DMARC_NONE);
	assert_true(dmarc.strict_dkim && !dmarc.strict_spf && dmarc.reports);
	assert_int_equal(dmarc.percent, 20);
	assert_non_null(strstr(dmarc_next_step(&dmarc), "pct"));
	assert_null(dmarc_parse(TEXT("v = DMARC1;p=reject;psd=y;rua=x"), &dmarc));
	assert_true(dmarc.public_suffix);
	assert_string_equal(dmarc_next_step(&dmarc), "");
	assert_null(dmarc_parse(TEXT("v=DMARC1;p=none"), &dmarc));
	assert_non_null(strstr(dmarc_next_step(&dmarc), "rua"));
	assert_non_null(dmarc_parse(TEXT("v=DMARC1"), &dmarc));
	assert_non_null(dmarc_parse(TEXT("v=DMARC1; p=maybe"), &dmarc));
	assert_non_null(dmarc_parse(TEXT("v=DMARC1; p=none; pct=101"), &dmarc));
	assert_non_null(dmarc_parse(TEXT("p=none; v=DMARC1"), &dmarc));
	assert_non_null(dmarc_parse(TEXT(""), &dmarc));
}

static void alignment(void **state)
{
	struct text org = TEXT("example.com"), other = TEXT("relay.test");
	(void)state;
	assert_true(dmarc_aligned(TEXT("a.example.com"), org, TEXT("B.Example.com"), org, false));
	assert_false(dmarc_aligned(TEXT("a.example.com"), org, TEXT("b.example.com"), org, true));
	assert_true(dmarc_aligned(TEXT("a.example.com"), org, TEXT("A.example.com"), org, true));
	assert_false(dmarc_aligned(TEXT("example.com"), org, TEXT("relay.test"), other, false));
}

static void csv_goes_both_ways(void **state)
{
	static const char *const fields[] = {"plain", "with, comma", "with \"quotes\"", "", "\"a,b\"@x.test"};
	struct buffer line = {0}, field = {0};
	const char *why = NULL;
	(void)state;
	for (size_t i = 0; i < 5; i++)
		csv_add(&line, text_of(fields[i]));
	struct text rest = buffer_view(&line);
	for (size_t i = 0; i < 5; i++) {
		assert_true(csv_next(&rest, &field, &why));
		assert_string_equal(buffer_string(&field), fields[i]);
	}
	assert_false(csv_next(&rest, &field, &why));
	assert_null(why);
	rest = TEXT("\"open");
	assert_false(csv_next(&rest, &field, &why));
	assert_non_null(why);
	buffer_free(&line);
	buffer_free(&field);
}

static void array_literals(void **state)
{
	struct buffer array = {0};
	(void)state;
	array_end(&array);
	assert_string_equal(buffer_string(&array), "{}");
	array.len = 0;
	array_add(&array, TEXT("a\"b"));
	array_add(&array, TEXT("c\\d"));
	array_add(&array, TEXT(""));
	array_end(&array);
	assert_string_equal(buffer_string(&array), "{\"a\\\"b\",\"c\\\\d\",\"\"}");
	buffer_free(&array);
}

static void opendkim_tables(void **state)
{
	struct opendkim_key key;
	struct opendkim_signing signing;
	(void)state;
	assert_null(opendkim_key_parse(opendkim_line(TEXT("k1 \t %:sel:/etc/key # why")), &key));
	assert_true(text_equal(key.name, TEXT("k1")) && text_equal(key.domain, TEXT("%")));
	assert_true(text_equal(key.selector, TEXT("sel")) && text_equal(key.key, TEXT("/etc/key")));
	static const char *const bad_keys[] = {
		"", "k1", "k1 a.test", "k1 a.test:sel", "k1 a.test:sel:", "k1 :sel:/x", "k1 a.test::/x"};
	for (size_t i = 0; i < sizeof(bad_keys) / sizeof(*bad_keys); i++)
		assert_non_null(opendkim_key_parse(text_of(bad_keys[i]), &key));
	static const char *const patterns[] = {"a.test k", "*@a.test k", "joe@a.test k"};
	for (size_t i = 0; i < sizeof(patterns) / sizeof(*patterns); i++) {
		assert_null(opendkim_signing_parse(text_of(patterns[i]), &signing));
		assert_true(text_equal(signing.domain, TEXT("a.test")) && text_equal(signing.name, TEXT("k")));
	}
	static const char *const bad_patterns[] = {"a.test", "* k", "*@*.a.test k", ".a.test k", "joe@ k"};
	for (size_t i = 0; i < sizeof(bad_patterns) / sizeof(*bad_patterns); i++)
		assert_non_null(opendkim_signing_parse(text_of(bad_patterns[i]), &signing));
	assert_int_equal(opendkim_line(TEXT("  # only a comment")).len, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers_become_text), cmocka_unit_test(damage_is_found),
		cmocka_unit_test(dmarc_records),       cmocka_unit_test(alignment),
		cmocka_unit_test(opendkim_tables),     cmocka_unit_test(csv_goes_both_ways),
		cmocka_unit_test(array_literals),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
