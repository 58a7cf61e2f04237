/* Words in, a command with operands and options out. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "ctl/command.h"

const struct command commands[] = {
	{"thing", "add", "NAME [TITLE]", {{"size", "N", ""}, {"round", NULL, ""}}, "", NULL},
	{"thing", "allow", "NAME PATTERN…", {{"size", "N", ""}}, "", NULL},
	{"can", "", "WHO WHAT", {{0}}, "", NULL},
};
const size_t command_count = sizeof(commands) / sizeof(*commands);

#define MAX_WORDS 12

/* Splits a line at blanks and parses it. */
static const char *parse(const char *line, struct ctl *ctl)
{
	static char copy[256];
	static char *words[MAX_WORDS];
	int count = 0;
	char *rest = copy, *word;
	text_put(text_of(line), copy, sizeof(copy));
	while ((word = strsep(&rest, " ")))
		if (*word)
			words[count++] = word;
	*ctl = (struct ctl){0};
	return command_parse(count, words, ctl);
}

static void operands_and_options_in_any_order(void **state)
{
	struct ctl ctl;
	(void)state;
	assert_null(parse("thing add --size 3 x --round y --json", &ctl));
	assert_ptr_equal(ctl.command, &commands[0]);
	assert_string_equal(operand(&ctl, 0), "x");
	assert_string_equal(operand(&ctl, 1), "y");
	assert_null(operand(&ctl, 2));
	assert_string_equal(option(&ctl, "size"), "3");
	assert_true(option_given(&ctl, "round"));
	assert_true(ctl.json);
	assert_false(ctl.yes);
	assert_null(parse("thing add x --size=7", &ctl));
	assert_string_equal(option(&ctl, "size"), "7");
	assert_false(option_given(&ctl, "round"));
}

static void the_last_operand_may_be_repeated(void **state)
{
	struct ctl ctl;
	(void)state;
	assert_null(parse("thing allow x a --size 1 b -- --c", &ctl));
	assert_int_equal(ctl.rest_count, 3);
	assert_string_equal(ctl.rest[0], "a");
	assert_string_equal(ctl.rest[1], "b");
	assert_string_equal(ctl.rest[2], "--c");
}

static void a_noun_may_stand_alone(void **state)
{
	struct ctl ctl;
	(void)state;
	assert_null(parse("can app bob@example.com", &ctl));
	assert_ptr_equal(ctl.command, &commands[2]);
	assert_string_equal(operand(&ctl, 0), "app");
}

static void what_is_wrong_is_named(void **state)
{
	static const struct {
		const char *line, *says;
	} rows[] = {
		{"", "a command is missing"},
		{"nothing add", "no such command: nothing"},
		{"thing", "a verb is missing behind: thing"},
		{"thing drop", "no such verb: drop"},
		{"thing add", "missing: NAME"},
		{"thing add a b c", "one word too many: c"},
		{"thing add a --colour red", "no such option here: --colour"},
		{"thing add a --size", "its value is missing: --size"},
		{"thing add a --round=1", "takes no value: --round"},
		{"can a", "missing: WHAT"},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct ctl ctl;
		const char *why = parse(rows[i].line, &ctl);
		assert_non_null(why);
		assert_string_equal(why, rows[i].says);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(operands_and_options_in_any_order),
		cmocka_unit_test(the_last_operand_may_be_repeated),
		cmocka_unit_test(a_noun_may_stand_alone),
		cmocka_unit_test(what_is_wrong_is_named),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
