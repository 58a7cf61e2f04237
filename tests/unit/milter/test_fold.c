/* milter/fold: header lines that would be broken on the way are folded where it harms least. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "milter/fold.h"
#include "milter/survival.h"

struct piece {
	const char *what;
	int times;
};
#define PIECES 8

/* Values of a field whose name and colon have 9 bytes: 989 fit on the first line. */
static const struct {
	struct piece in[PIECES], out[PIECES]; /* no OUT: it stays as it is */
} values[] = {
	{{{"x", 989}}, {{0}}},
	{{{"x", 989}, {"\n\t", 1}, {"y", 997}, {"\n ", 1}, {"z", 997}}, {{0}}},
	{{{"x", 989}, {"\r\n\t", 1}, {"y", 997}}, {{0}}},
	/* before a blank: the last that fits, the first of its run */
	{{{"x", 989}, {" y", 1}}, {{"x", 989}, {"\n y", 1}}},
	{{{"x ", 600}}, {{"x ", 494}, {"x", 1}, {"\n ", 1}, {"x ", 104}, {"x", 1}}},
	{{{"x", 900}, {" \t ", 1}, {"y", 100}}, {{"x", 900}, {"\n \t ", 1}, {"y", 100}}},
	{{{"a\n\t", 1}, {"x", 900}, {" ", 1}, {"y", 100}}, {{"a\n\t", 1}, {"x", 900}, {"\n ", 1}, {"y", 100}}},
	{{{"x", 500}, {" ", 1}, {"y", 900}, {" ", 1}, {"z", 900}},
	 {{"x", 500}, {"\n ", 1}, {"y", 900}, {"\n ", 1}, {"z", 900}}},
	/* no line of blanks alone */
	{{{" ", 5}, {"x", 990}}, {{" ", 5}, {"x", 984}, {"\n ", 1}, {"x", 6}}},
	{{{"x", 985}, {" ", 40}}, {{"x", 985}, {" ", 4}}},
	{{{"x", 990}, {" ", 40}}, {{"x", 989}, {"\n x", 1}}},
	/* behind a comma */
	{{{"x", 500}, {",", 1}, {"y", 900}, {",", 1}, {"z", 96}},
	 {{"x", 500}, {",\n ", 1}, {"y", 900}, {",", 1}, {"z", 96}}},
	{{{"x", 988}, {",y", 1}}, {{"x", 988}, {",\n y", 1}}},
	/* where Postfix would, but not inside a character */
	{{{"x", 1988}}, {{"x", 989}, {"\n ", 1}, {"x", 997}, {"\n ", 1}, {"xx", 1}}},
	{{{"x", 988}, {"\xe2\x82\xac", 1}}, {{"x", 988}, {"\n \xe2\x82\xac", 1}}},
	{{{"x", 986}, {"\xf0\x9f\x93\xa7", 2}}, {{"x", 986}, {"\n \xf0\x9f\x93\xa7\xf0\x9f\x93\xa7", 1}}},
};

static void build(const struct piece *pieces, struct buffer *out)
{
	for (size_t i = 0; i < PIECES && pieces[i].what; i++)
		for (int n = 0; n < pieces[i].times; n++)
			buffer_text(out, text_of(pieces[i].what));
}

static void values_by_table(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
		struct buffer in = {0}, wanted = {0}, out = {0};
		build(values[i].in, &in);
		build(values[i].out[0].what ? values[i].out : values[i].in, &wanted);
		bool due = fold_is_due(TEXT("Subject"), buffer_view(&in));
		if (due)
			fold_value(TEXT("Subject"), buffer_view(&in), &out);
		else
			buffer_text(&out, buffer_view(&in));
		assert_int_equal(due, values[i].out[0].what != NULL);
		if (!text_equal(buffer_view(&out), buffer_view(&wanted)))
			print_error("value %zu: %.*s\n", i, TEXT_ARG(out));
		assert_true(text_equal(buffer_view(&out), buffer_view(&wanted)));
		buffer_free(&in);
		buffer_free(&wanted);
		buffer_free(&out);
	}
}

/* A name that fills the line by itself cannot be helped. */
static void long_names_are_left(void **state)
{
	(void)state;
	char name[2000];
	memset(name, 'n', sizeof name);
	assert_false(fold_is_due(text_at(name, sizeof name), TEXT("x y")));
	assert_true(fold_is_due(text_at(name, 400), text_at(name, 600)));
}

static void add_random(uint32_t *random, struct buffer *out)
{
	static const char *const pieces[] = {"word", " ",        ",",
					     "\t ",  "\xc3\xa9", "0123456789012345678901234567890123456789"};
	*random = *random * 1103515245 + 12345;
	const char *piece = pieces[(*random >> 16) % 6];
	for (uint32_t n = (*random >> 20) % 3 ? 1 : (*random >> 22) % 40; n; n--)
		buffer_text(out, text_of(piece));
}

/* Whatever it is, afterwards nothing is due, and but for white space it is the same. */
static void any_value_becomes_short(void **state)
{
	(void)state;
	uint32_t random = 1;
	for (int round = 0; round < 500; round++) {
		struct buffer in = {0}, out = {0};
		while (in.len < 3000)
			add_random(&random, &in);
		fold_value(TEXT("Subject"), buffer_view(&in), &out);
		assert_false(fold_is_due(TEXT("Subject"), buffer_view(&out)));
		size_t at = 0;
		for (size_t i = 0; i < in.len; i++) {
			if (strchr(" \t", in.ptr[i]))
				continue;
			while (at < out.len && strchr(" \t\n", out.ptr[at]))
				at++;
			assert_true(at < out.len && out.ptr[at] == in.ptr[i]);
			at++;
		}
		assert_true(text_utf8_head(buffer_view(&out)) == out.len);
		buffer_free(&in);
		buffer_free(&out);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values_by_table),
		cmocka_unit_test(long_names_are_left),
		cmocka_unit_test(any_value_becomes_short),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
