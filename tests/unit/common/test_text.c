/* Views, numbers, the buffer; the memory that never is NULL. */

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/memory.h"
#include "common/text.h"

static void assert_text(struct text got, const char *want)
{
	assert_int_equal(got.len, strlen(want));
	assert_true(text_equal(got, text_of(want)));
}

static void clamps(void **state)
{
	struct text t = TEXT("abc");
	(void)state;
	assert_text(text_from(t, 1), "bc");
	assert_text(text_from(t, 3), "");
	assert_text(text_from(t, SIZE_MAX), "");
	assert_text(text_head(t, 2), "ab");
	assert_text(text_head(t, SIZE_MAX), "abc");
	assert_text(text_of(NULL), "");
	assert_int_equal(text_from((struct text){0}, 4).len, 0);
}

static void compares(void **state)
{
	(void)state;
	assert_true(text_equal(TEXT("a\0b"), TEXT("a\0b")));
	assert_false(text_equal(TEXT("a\0b"), TEXT("a\0c")));
	assert_true(text_equal((struct text){0}, TEXT("")));
	assert_true(text_equal_fold(TEXT("Mail.EXAMPLE"), TEXT("mAIL.example")));
	assert_false(text_equal_fold(TEXT("[{"), TEXT("{[")));
	assert_false(text_equal_fold(TEXT("\xc3\x84"), TEXT("\xc3\xa4")));
	assert_true(text_starts(TEXT("abc"), TEXT("ab")));
	assert_false(text_starts(TEXT("a"), TEXT("ab")));
	assert_true(text_starts_fold(TEXT("DKIM-Signature"), TEXT("dkim-")));
	assert_true(text_ends(TEXT("a.conf"), TEXT(".conf")));
	assert_false(text_ends(TEXT("conf"), TEXT(".conf")));
	assert_true(text_compare(TEXT("a"), TEXT("ab")) < 0);
	assert_true(text_compare(TEXT("b"), TEXT("ab")) > 0);
	assert_true(text_compare(TEXT("\xff"), TEXT("a")) > 0);
	assert_int_equal(text_compare(TEXT(""), (struct text){0}), 0);
}

static void searches(void **state)
{
	struct text t = TEXT("a=b=c");
	(void)state;
	assert_int_equal(text_find(t, '='), 1);
	assert_int_equal(text_rfind(t, '='), 3);
	assert_true(text_find(t, 'x') == SIZE_MAX && text_rfind((struct text){0}, 'x') == SIZE_MAX);
	assert_int_equal(text_search(t, TEXT("b=")), 2);
	assert_true(text_search(t, TEXT("bc")) == SIZE_MAX);
	assert_int_equal(text_search(t, (struct text){0}), 0);
	assert_true(text_search_fold(TEXT("Hello World"), TEXT("WORLD")));
	assert_false(text_search_fold(TEXT("Wor"), TEXT("world")));
}

static void takes_pieces(void **state)
{
	struct text rest = TEXT("a,,b,"), piece;
	(void)state;
	assert_true(text_take(&rest, ',', &piece));
	assert_text(piece, "a");
	assert_true(text_take(&rest, ',', &piece));
	assert_text(piece, "");
	assert_true(text_take(&rest, ',', &piece));
	assert_text(piece, "b");
	assert_true(text_take(&rest, ',', &piece));
	assert_text(piece, "");
	assert_false(text_take(&rest, ',', &piece));
	rest = TEXT("");
	assert_true(text_take(&rest, ',', &piece));
	assert_false(text_take(&rest, ',', &piece));
	assert_text(text_trim(TEXT(" \t a b\r\n")), "a b");
	assert_text(text_trim(TEXT(" \r\n ")), "");
}

static void numbers(void **state)
{
	static const struct {
		const char *text;
		uint64_t max;
		bool good;
		uint64_t value;
	} rows[] = {
		{"0", 0, true, 0},
		{"1", 0, false, 0},
		{"007", 10, true, 7},
		{"255", 255, true, 255},
		{"256", 255, false, 0},
		{"18446744073709551615", UINT64_MAX, true, UINT64_MAX},
		{"18446744073709551616", UINT64_MAX, false, 0},
		{"99999999999999999999999", UINT64_MAX, false, 0},
		{"", 9, false, 0},
		{"-1", 9, false, 0},
		{"+1", 9, false, 0},
		{" 1", 9, false, 0},
		{"1 ", 9, false, 0},
		{"0x1", 99, false, 0},
		{"\xc2\xb2", 9, false, 0},
	};
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		uint64_t value = 12345;
		const char *why = text_uint(text_of(rows[i].text), rows[i].max, &value);
		assert_int_equal(why == NULL, rows[i].good);
		assert_int_equal(value, rows[i].good ? rows[i].value : 12345);
	}
}

static void utf8(void **state)
{
	static const struct {
		const char *bytes;
		size_t len, first, head;
	} rows[] = {
		{"", 0, 0, 0},
		{"a\0b", 3, 1, 3},
		{"\xc2\xa9", 2, 2, 2},
		{"\xe2\x82\xac!", 4, 3, 4},
		{"\xf0\x90\x80\x80", 4, 4, 4},
		{"\xf4\x8f\xbf\xbf", 4, 4, 4},
		{"ab\x80", 3, 1, 2},           /* a lone continuation */
		{"\xc3", 1, 0, 0},             /* cut */
		{"\xe2\x82", 2, 0, 0},         /* cut */
		{"\xc0\xaf", 2, 0, 0},         /* overlong */
		{"\xe0\x9f\xbf", 3, 0, 0},     /* overlong */
		{"\xf0\x8f\xbf\xbf", 4, 0, 0}, /* overlong */
		{"\xed\xa0\x80", 3, 0, 0},     /* a surrogate */
		{"\xf4\x90\x80\x80", 4, 0, 0}, /* beyond U+10FFFF */
		{"\xf5\x80\x80\x80", 4, 0, 0}, /* beyond */
		{"\xe2\x28\xa1", 3, 0, 0},     /* no continuation */
		{"\xf0\x90\x28\x80", 4, 0, 0}, /* no continuation */
	};
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		assert_int_equal(text_utf8(text_at(rows[i].bytes, rows[i].len)), rows[i].first);
		assert_int_equal(text_utf8_head(text_at(rows[i].bytes, rows[i].len)), rows[i].head);
	}
}

static void copies(void **state)
{
	char out[4], *copy = text_copy(text_head(TEXT("abc"), 2));
	(void)state;
	assert_string_equal(copy, "ab");
	free(copy);
	assert_true(text_put(TEXT("abc"), out, sizeof out));
	assert_string_equal(out, "abc");
	assert_false(text_put(TEXT("abcd"), out, sizeof out));
	assert_string_equal(out, "abc");
	assert_true(text_put((struct text){0}, out, 1));
	assert_string_equal(out, "");
}

static void buffers(void **state)
{
	struct buffer b = {0};
	(void)state;
	assert_string_equal(buffer_string(&b), "");
	for (int i = 0; i < 1000; i++)
		buffer_format(&b, "%d,", i % 10);
	assert_int_equal(b.len, 2000);
	assert_int_equal(strlen(buffer_string(&b)), 2000);
	buffer_drop(&b, 1996);
	buffer_char(&b, '!');
	buffer_text(&b, TEXT("\0x"));
	assert_true(text_equal(buffer_view(&b), TEXT("8,9,!\0x")));
	buffer_drop(&b, SIZE_MAX);
	assert_int_equal(b.len, 0);
	buffer_add(&b, NULL, 0);
	buffer_free(&b);
	assert_null(b.ptr);
	buffer_free(&b);
}

static void memory(void **state)
{
	static const char zero[40];
	void *p = memory_zero(10, 4);
	(void)state;
	assert_memory_equal(p, zero, 40);
	p = memory_resize(p, 100, 4);
	free(p);
	p = memory_new(0);
	assert_non_null(p);
	free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(clamps),       cmocka_unit_test(compares), cmocka_unit_test(searches),
		cmocka_unit_test(takes_pieces), cmocka_unit_test(numbers),  cmocka_unit_test(utf8),
		cmocka_unit_test(copies),       cmocka_unit_test(buffers),  cmocka_unit_test(memory),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
