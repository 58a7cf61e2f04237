/* milter/canon: the relaxed forms of RFC 6376, by table, and at every chunk boundary. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "milter/canon.h"

static void gather(void *context, struct text bytes)
{
	buffer_text(context, bytes);
}

/* The canonical form of BODY handed over in two parts, cut at CUT. */
static struct buffer canon_in_two(struct text body, size_t cut)
{
	struct buffer out = {0};
	struct canon_body canon;
	canon_body_begin(&canon, gather, &out);
	canon_body_add(&canon, text_head(body, cut));
	canon_body_add(&canon, text_from(body, cut));
	canon_body_end(&canon);
	return out;
}

static struct buffer canon_bytewise(struct text body)
{
	struct buffer out = {0};
	struct canon_body canon;
	canon_body_begin(&canon, gather, &out);
	for (size_t i = 0; i < body.len; i++)
		canon_body_add(&canon, text_at(body.ptr + i, 1));
	canon_body_end(&canon);
	return out;
}

static const struct {
	struct text in, out;
} bodies[] = {
	/* RFC 6376 section 3.4.5, example 1 */
	{{" C \r\nD \t E\r\n\r\n\r\n", 16}, {" C\r\nD E\r\n", 9}},
	/* section 3.4.4: an empty body stays empty, blank lines at the end go, a missing CRLF comes */
	{{"", 0}, {"", 0}},
	{{"\r\n", 2}, {"", 0}},
	{{"\r\n\r\n\r\n", 6}, {"", 0}},
	{{" \t \r\n\t\r\n", 8}, {"", 0}},
	{{"  ", 2}, {"", 0}},
	{{"a", 1}, {"a\r\n", 3}},
	{{"a \t", 3}, {"a\r\n", 3}},
	{{"\r\n\r\na\r\n", 7}, {"\r\n\r\na\r\n", 7}},
	{{"a\r\n\r\n\r\nb", 8}, {"a\r\n\r\n\r\nb\r\n", 10}},
	{{"a\r\n \r\nb\r\n", 9}, {"a\r\n\r\nb\r\n", 8}},
	/* CR and LF alone are bytes like others */
	{{"a\rb\r\n", 5}, {"a\rb\r\n", 5}},
	{{"a\nb\r\n", 5}, {"a\nb\r\n", 5}},
	{{"a\r\r\nb", 5}, {"a\r\r\nb\r\n", 7}},
	{{"a \r b\r\n", 7}, {"a \r b\r\n", 7}},
	{{"a\r", 2}, {"a\r\r\n", 4}},
	{{"\r\n\r", 3}, {"\r\n\r\r\n", 5}},
	/* any byte */
	{{"\0\t\xff  \0\r\n", 8}, {"\0 \xff \0\r\n", 7}},
};

static void bodies_by_table(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
		for (size_t cut = 0; cut <= bodies[i].in.len; cut++) {
			struct buffer out = canon_in_two(bodies[i].in, cut);
			assert_int_equal(out.len, bodies[i].out.len);
			if (out.len)
				assert_memory_equal(out.ptr, bodies[i].out.ptr, out.len);
			buffer_free(&out);
		}
	}
}

/* A body larger than the sink's chunk, in which every kind of boundary falls somewhere. */
static void every_boundary(void **state)
{
	(void)state;
	static const char *const pieces[] = {
		"word", " ", "\t \t", "\r\n", "\r\n\r\n", "\r", "\n", " \r\n", "x\r\n", "\xc3\xa9",
		/* long enough for sixteen bytes at once, over line ends as well */
		"A line of several words.\r\nA second one that goes on.\r\n A third", "begins\r\nand ends\r\n"};
	struct buffer body = {0};
	uint32_t random = 12345;
	while (body.len < 6000) {
		random = random * 1103515245 + 12345;
		buffer_text(&body, text_of(pieces[(random >> 16) % (sizeof pieces / sizeof *pieces)]));
	}
	struct buffer whole = canon_in_two(buffer_view(&body), body.len), bytewise = canon_bytewise(buffer_view(&body));
	assert_true(whole.len > CANON_CHUNK);
	assert_true(text_equal(buffer_view(&whole), buffer_view(&bytewise)));
	for (size_t cut = 0; cut < body.len; cut++) {
		struct buffer out = canon_in_two(buffer_view(&body), cut);
		assert_true(text_equal(buffer_view(&out), buffer_view(&whole)));
		buffer_free(&out);
	}
	buffer_free(&body);
	buffer_free(&whole);
	buffer_free(&bytewise);
}

/* What goes to the sink without a copy: a stretch that is longer than what is gathered. */
static void long_stretches(void **state)
{
	(void)state;
	struct buffer body = {0}, wanted = {0};
	for (size_t lines = 0; lines < 4 * CANON_CHUNK / 20; lines++) {
		buffer_text(&body, lines % 50 == 49 ? TEXT("Twice  spaced.\r\n\r\n") : TEXT("Twenty bytes of it.\r\n"));
		buffer_text(&wanted,
			    lines % 50 == 49 ? TEXT("Twice spaced.\r\n\r\n") : TEXT("Twenty bytes of it.\r\n"));
	}
	for (size_t cut = 0; cut < body.len; cut += 97) {
		struct buffer out = canon_in_two(buffer_view(&body), cut);
		assert_true(text_equal(buffer_view(&out), buffer_view(&wanted)));
		buffer_free(&out);
	}
	buffer_free(&body);
	buffer_free(&wanted);
}

static const struct {
	const char *name, *value, *out;
} headers[] = {
	/* section 3.4.5, example 1 */
	{"A", " X", "a:X"},          {"B ", " Y\t\r\n\tZ  ", "b:Y Z"},    {"SUBJect", "AbC", "subject:AbC"},
	{"Subject", "", "subject:"}, {"Subject", " \t\r\n ", "subject:"}, {"X", "a  b\t\tc", "x:a b c"},
	{"X", "\n a\n\tb", "x:a b"}, {"X\t ", "a:b : c", "x:a:b : c"},    {"X", "a\rb", "x:a\rb"},
};

static void headers_by_table(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
		struct buffer out = {0};
		canon_header(text_of(headers[i].name), text_of(headers[i].value), &out);
		assert_string_equal(buffer_string(&out), headers[i].out);
		buffer_free(&out);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bodies_by_table),
		cmocka_unit_test(every_boundary),
		cmocka_unit_test(long_stretches),
		cmocka_unit_test(headers_by_table),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
