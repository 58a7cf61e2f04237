/* Words in, a command with its operands and options out. */

#include <stdlib.h>
#include <string.h>

#include "ctl/command.h"

static const char *describe_text(const char *format, struct text what)
{
	static struct buffer text;
	text.len = 0;
	buffer_text(&text, text_of(format));
	buffer_text(&text, what);
	return buffer_string(&text);
}

static const char *describe(const char *format, const char *what)
{
	return describe_text(format, text_of(what));
}

bool command_noun_exists(const char *noun)
{
	for (size_t i = 0; i < command_count; i++)
		if (!strcmp(commands[i].noun, noun))
			return true;
	return false;
}

static const struct command *find(const char *noun, const char *verb)
{
	for (size_t i = 0; i < command_count; i++)
		if (!strcmp(commands[i].noun, noun) && !strcmp(commands[i].verb, verb))
			return &commands[i];
	return NULL;
}

/* An operand's place in the command's pattern: is it there, may it be missing, may it be repeated? */
struct place {
	bool exists, optional, repeated;
	struct text name;
};

static struct place place_at(const struct command *command, size_t index)
{
	struct text rest = text_of(command->operands), word;
	while (rest.len && text_take(&rest, ' ', &word)) {
		if (index--)
			continue;
		return (struct place){true, text_starts(word, TEXT("[")), text_search(word, TEXT("…")) != SIZE_MAX,
				      word};
	}
	return (struct place){0};
}

static const char *take_operand(struct ctl *ctl, char **argv, int at, int argc)
{
	struct place place = place_at(ctl->command, ctl->operand_count);
	if (!place.exists && ctl->operand_count && place_at(ctl->command, ctl->operand_count - 1).repeated)
		return NULL;
	if (!place.exists)
		return describe("one word too many: ", argv[at]);
	ctl->operands[ctl->operand_count++] = argv[at];
	if (place.repeated) {
		ctl->rest = argv + at;
		ctl->rest_count = (size_t)(argc - at);
	}
	return NULL;
}

static const struct command_option *find_option(const struct command *command, struct text name, size_t *index)
{
	for (*index = 0; *index < COMMAND_MAX_OPTIONS && command->options[*index].name; ++*index)
		if (text_equal(text_of(command->options[*index].name), name))
			return &command->options[*index];
	return NULL;
}

/* "--name value", "--name=value" or "--name". Returns the number of words used, 0 for an error. */
static int take_option(struct ctl *ctl, int argc, char **argv, const char **why)
{
	struct text word = text_from(text_of(argv[0]), 2);
	size_t equals = text_find(word, '='), index;
	struct text name = text_head(word, equals);
	if (text_equal(name, TEXT("json")) || text_equal(name, TEXT("yes"))) {
		*(name.ptr[0] == 'j' ? &ctl->json : &ctl->yes) = true;
		return 1;
	}
	const struct command_option *row = find_option(ctl->command, name, &index);
	if (!row)
		*why = describe("no such option here: ", argv[0]);
	else if (!row->value && equals != SIZE_MAX)
		*why = describe("takes no value: --", row->name);
	else if (row->value && equals == SIZE_MAX && argc < 2)
		*why = describe("its value is missing: --", row->name);
	if (*why)
		return 0;
	bool next = row->value && equals == SIZE_MAX;
	ctl->values[index] = !row->value ? "" : next ? argv[1] : word.ptr + equals + 1;
	return next ? 2 : 1;
}

/* Operands that may be repeated must stand together at the end, so options come out of their midst first. */
static int options_first(struct ctl *ctl, int argc, char **argv, const char **why)
{
	int kept = 0;
	bool only_operands = false;
	for (int at = 0; at < argc && !*why;) {
		bool dashes = !strcmp(argv[at], "--");
		if (!only_operands && dashes) {
			only_operands = true;
			at++;
		} else if (!only_operands && !strncmp(argv[at], "--", 2)) {
			at += take_option(ctl, argc - at, argv + at, why);
		} else {
			argv[kept++] = argv[at++];
		}
	}
	return kept;
}

const char *command_parse(int argc, char **argv, struct ctl *ctl)
{
	const char *why = NULL;
	if (argc < 1)
		return "a command is missing";
	if (!command_noun_exists(argv[0]))
		return describe("no such command: ", argv[0]);
	ctl->command = argc > 1 ? find(argv[0], argv[1]) : NULL;
	int words = ctl->command ? 2 : 1;
	if (!ctl->command)
		ctl->command = find(argv[0], "");
	if (!ctl->command)
		return argc > 1 ? describe("no such verb: ", argv[1]) : describe("a verb is missing behind: ", argv[0]);
	argc = options_first(ctl, argc - words, argv + words, &why);
	for (int i = 0; i < argc && !why; i++)
		why = take_operand(ctl, argv + words, i, argc);
	struct place missing = place_at(ctl->command, ctl->operand_count);
	if (!why && missing.exists && !missing.optional)
		why = describe_text("missing: ", missing.name);
	return why;
}

const char *operand(const struct ctl *ctl, size_t i)
{
	return i < ctl->operand_count ? ctl->operands[i] : NULL;
}

const char *option(const struct ctl *ctl, const char *name)
{
	size_t index;
	return find_option(ctl->command, text_of(name), &index) ? ctl->values[index] : NULL;
}

bool option_given(const struct ctl *ctl, const char *name)
{
	return option(ctl, name) != NULL;
}
