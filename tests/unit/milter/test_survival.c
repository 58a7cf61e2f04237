/* milter/survival and milter/complete: what would break the signature is found, what is missing is added. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "milter/complete.h"
#include "milter/survival.h"

/* In BODY "@" stands for 998 bytes. */
static const struct {
	const char *body;
	size_t len; /* 0: strlen */
	const char *encoding;
	enum survival_problem problem;
	size_t line;
} bodies[] = {
	{"", 0, NULL, SURVIVAL_GOOD, 0},
	{"one\r\ntwo\r\n", 0, NULL, SURVIVAL_GOOD, 0},
	{"one\r\n@\r\n", 0, NULL, SURVIVAL_GOOD, 0},
	{"one\r\n@x\r\n", 0, NULL, SURVIVAL_LONG_LINE, 2},
	{"one\r\n@x", 0, NULL, SURVIVAL_LONG_LINE, 2},
	{"a\rb\r\n", 0, NULL, SURVIVAL_BARE_CR, 1},
	{"a\r\n\r\r\n", 0, NULL, SURVIVAL_BARE_CR, 2},
	{"a\r\nb\r", 0, NULL, SURVIVAL_BARE_CR, 2},
	{"a\r\nb\nc\r\n", 0, NULL, SURVIVAL_BARE_LF, 2},
	{"\n", 0, NULL, SURVIVAL_BARE_LF, 1},
	{"a\r\n\0\r\n", 6, NULL, SURVIVAL_NUL, 2},
	{"@x\r\n\r\nnul\0\r\n", 12, NULL, SURVIVAL_NUL, 3},
	{"a\r\n\xc3\xa9\r\n", 0, NULL, SURVIVAL_UNDECLARED_8BIT, 2},
	{"a\r\n\xc3\xa9\r\n", 0, "7bit", SURVIVAL_UNDECLARED_8BIT, 2},
	{"a\r\n\xc3\xa9\r\n", 0, " 8BIT (comment)", SURVIVAL_EIGHT_BIT_BODY, 2},
	{"a\r\n\xc3\xa9\r\n", 0, "binary", SURVIVAL_EIGHT_BIT_BODY, 2},
};

static void expand(struct text body, struct buffer *out)
{
	for (size_t i = 0; i < body.len; i++) {
		if (body.ptr[i] != '@') {
			buffer_char(out, body.ptr[i]);
			continue;
		}
		for (int n = 0; n < SURVIVAL_MAX_LINE; n++)
			buffer_char(out, 'x');
	}
}

static void check_body(size_t i, size_t chunk)
{
	struct buffer body = {0};
	struct fields fields = {0};
	struct survival survival;
	expand(text_at(bodies[i].body, bodies[i].len ? bodies[i].len : strlen(bodies[i].body)), &body);
	if (bodies[i].encoding)
		fields_add(&fields, TEXT("Content-Transfer-Encoding"), text_of(bodies[i].encoding));
	survival_begin(&survival);
	for (size_t at = 0; at < body.len; at += chunk)
		survival_add(&survival, text_head(text_from(buffer_view(&body), at), chunk));
	struct survival_finding finding = survival_end(&survival, &fields);
	if (finding.problem != bodies[i].problem || finding.line != bodies[i].line)
		print_error("case %zu in chunks of %zu\n", i, chunk);
	assert_int_equal(finding.problem, bodies[i].problem);
	assert_int_equal(finding.line, bodies[i].line);
	assert_false(finding.in_header);
	fields_free(&fields);
	buffer_free(&body);
}

static void bodies_by_table(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++)
		for (size_t chunk = 1; chunk < 8; chunk++)
			check_body(i, chunk == 7 ? 10000 : chunk);
}

static struct survival_finding look(struct text body, size_t chunk)
{
	struct survival survival;
	struct fields none = {0};
	survival_begin(&survival);
	for (size_t at = 0; at < body.len; at += chunk)
		survival_add(&survival, text_head(text_from(body, at), chunk));
	return survival_end(&survival, &none);
}

/* One odd byte anywhere in a long body is found, in its line, whatever the chunks. */
static void one_odd_byte_is_found_anywhere(void **state)
{
	(void)state;
	static const struct {
		char byte;
		enum survival_problem problem;
	} odd[] = {{'\0', SURVIVAL_NUL},
		   {'\r', SURVIVAL_BARE_CR},
		   {'\n', SURVIVAL_BARE_LF},
		   {'\xe9', SURVIVAL_UNDECLARED_8BIT}};
	for (size_t at = 0; at < 100; at++) {
		struct buffer body = {0};
		for (int i = 0; i < 5; i++)
			buffer_text(&body, TEXT("eighteen bytes ...\r\n"));
		char before = body.ptr[at];
		for (size_t i = 0; before >= ' ' && i < sizeof odd / sizeof *odd; i++) {
			body.ptr[at] = odd[i].byte;
			for (size_t chunk = 1; chunk <= body.len; chunk++) {
				struct survival_finding finding = look(buffer_view(&body), chunk);
				assert_int_equal(finding.problem, odd[i].problem);
				assert_int_equal(finding.line, at / 20 + 1);
			}
			body.ptr[at] = before;
		}
		assert_int_equal(look(buffer_view(&body), 33).problem, SURVIVAL_GOOD);
		buffer_free(&body);
	}
}

static void a_long_line_is_found_anywhere(void **state)
{
	(void)state;
	static const size_t chunks[] = {1, 7, 997, 998, 999, 1000, 1001, 5000, 100000};
	for (size_t length = SURVIVAL_MAX_LINE - 1; length <= SURVIVAL_MAX_LINE + 2; length++) {
		struct buffer body = {0};
		for (size_t line = 1; line <= 60; line++) {
			for (size_t i = line == 41 ? length : line * 37 % SURVIVAL_MAX_LINE; i; i--)
				buffer_char(&body, 'x');
			buffer_text(&body, TEXT("\r\n"));
		}
		for (size_t i = 0; i < sizeof chunks / sizeof *chunks; i++) {
			struct survival_finding finding = look(buffer_view(&body), chunks[i]);
			bool too_long = length > SURVIVAL_MAX_LINE;
			assert_int_equal(finding.problem, too_long ? SURVIVAL_LONG_LINE : SURVIVAL_GOOD);
			assert_int_equal(finding.line, too_long ? 41 : 0);
		}
		buffer_free(&body);
	}
}

static void headers_are_looked_at(void **state)
{
	(void)state;
	static const struct {
		const char *value;
		enum survival_problem problem;
	} values[] = {
		{"fine", SURVIVAL_GOOD},
		{"folded\n\ttwice\r\n again", SURVIVAL_GOOD},
		{"a\rb", SURVIVAL_BARE_CR},
		{"end\r", SURVIVAL_BARE_CR},
		{"J\xc3\xb6", SURVIVAL_EIGHT_BIT_HEADER},
		{"@", SURVIVAL_LONG_LINE},
		{"a\n\t@", SURVIVAL_LONG_LINE},
		{"a\n\tb", SURVIVAL_GOOD},
	};
	for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
		struct buffer value = {0};
		struct fields fields = {0};
		struct survival survival;
		expand(text_of(values[i].value), &value);
		fields_add(&fields, TEXT("From"), TEXT("a@b.c"));
		fields_add(&fields, TEXT("Subject"), buffer_view(&value));
		survival_begin(&survival);
		struct survival_finding finding = survival_end(&survival, &fields);
		assert_int_equal(finding.problem, values[i].problem);
		if (finding.problem != SURVIVAL_GOOD) {
			assert_true(finding.in_header);
			assert_int_equal(finding.line, 2);
		}
		fields_free(&fields);
		buffer_free(&value);
	}
}

static void dates_are_those_of_libc(void **state)
{
	(void)state;
	for (int64_t now = 0; now < 8000000000; now += 86400 * 13 + 3607) {
		char ours[COMPLETE_DATE_SIZE], theirs[64];
		time_t seconds = (time_t)now;
		struct tm tm;
		gmtime_r(&seconds, &tm);
		strftime(theirs, sizeof theirs, "%a, %d %b %Y %H:%M:%S +0000", &tm);
		complete_date(now, ours);
		assert_string_equal(ours, theirs);
	}
}

static const struct complete_facts facts = {.now_s = 1795255200,
					    .queue_id = {"4F1C2A", 6},
					    .random = {"abcd", 4},
					    .domain = {"example.com", 11},
					    .customer = {"acme", 4},
					    .login = {"app", 3}};

static void expect(const struct fields *added, size_t i, const char *name, const char *value)
{
	assert_true(i < added->count);
	assert_true(text_equal(fields_name(added, i), text_of(name)));
	assert_true(text_equal(fields_value(added, i), text_of(value)));
}

static void missing_fields_are_added_once(void **state)
{
	(void)state;
	struct fields fields = {0}, added = {0};
	const struct complete_options options = {
		.fix = true, .feedback = TEXT("relay"), .cfbl = TEXT("fbl@relay.test")};
	fields_add(&fields, TEXT("From"), TEXT("a@example.com"));
	fields_add(&fields, TEXT("content-type"), TEXT("text/plain"));
	complete(&fields, &options, &facts, &added);
	expect(&added, 0, "Date", "Sat, 21 Nov 2026 10:00:00 +0000");
	expect(&added, 1, "Message-ID", "<4F1C2A.abcd@example.com>");
	expect(&added, 2, "MIME-Version", "1.0");
	expect(&added, 3, "Feedback-ID", "app:acme:relay");
	expect(&added, 4, "CFBL-Address", "fbl@relay.test; report=arf");
	assert_int_equal(added.count, 5);
	assert_int_equal(fields.count, 7);
	complete(&fields, &options, &facts, &added);
	assert_int_equal(added.count, 5);
	fields_free(&fields);
	fields_free(&added);
}

static void nothing_is_added_unasked(void **state)
{
	(void)state;
	struct fields fields = {0}, added = {0};
	const struct complete_options none = {0}, missing = {.fix = true};
	complete(&fields, &none, &facts, &added);
	assert_int_equal(added.count, 0);
	fields_add(&fields, TEXT("DATE"), TEXT("any"));
	fields_add(&fields, TEXT("Message-Id"), TEXT("<any>"));
	complete(&fields, &missing, &facts, &added);
	assert_int_equal(added.count, 0);
	fields_free(&fields);
}

/* A message whose recipient a token names says so to those who complain, and to programs that unsubscribe by mail. */
static void a_token_comes_back(void **state)
{
	(void)state;
	struct fields fields = {0}, added = {0};
	const struct complete_options options = {.cfbl = TEXT("fbl@relay.test"),
						 .unsubscribe_host = TEXT("return.test")};
	struct complete_facts named = facts;
	named.token = TEXT("abc234");
	named.list_unsubscribe = TEXT("https://u.example/{token}");
	complete(&fields, &options, &named, &added);
	expect(&added, 0, "CFBL-Address", "fbl@relay.test; report=arf");
	expect(&added, 1, "CFBL-Feedback-ID", "abc234");
	expect(&added, 2, "List-Unsubscribe",
	       "\n\t<https://u.example/abc234>,\n\t<mailto:u+abc234@return.test?subject=unsubscribe>");
	expect(&added, 3, "List-Unsubscribe-Post", "List-Unsubscribe=One-Click");
	assert_int_equal(added.count, 4);
	fields_free(&fields);
	fields_free(&added);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_odd_byte_is_found_anywhere),
		cmocka_unit_test(a_long_line_is_found_anywhere),
		cmocka_unit_test(bodies_by_table),
		cmocka_unit_test(headers_are_looked_at),
		cmocka_unit_test(dates_are_those_of_libc),
		cmocka_unit_test(missing_fields_are_added_once),
		cmocka_unit_test(nothing_is_added_unasked),
		cmocka_unit_test(a_token_comes_back),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
