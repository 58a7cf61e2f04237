/* The text of a rules file: blocks of "KEYWORD VALUE" (common/rules.h). */

#include <stdlib.h>
#include <string.h>

#include "common/classify.h"
#include "common/memory.h"
#include "common/rules_internal.h"

struct place {
	const char *start; /* of the line */
	size_t line, column;
};

static void add_pattern(struct rule *r, enum rule_role role, struct text value, const struct place *at)
{
	r->patterns = memory_resize(r->patterns, r->pattern_count + 1, sizeof *r->patterns);
	r->patterns[r->pattern_count++] =
		(struct rule_pattern){.role = role, .source = value, .line = at->line, .column = at->column};
	r->role_count[role]++;
}

static void add_example(struct rule *r, bool match, struct text value, const struct place *at)
{
	r->examples = memory_resize(r->examples, r->example_count + 1, sizeof *r->examples);
	r->examples[r->example_count++] = (struct rule_example){match, value, at->line, at->column};
}

static const char *take_pattern(struct rule *r, enum rule_role role, struct text value, struct place *at)
{
	size_t offset = 0;
	for (size_t i = 0; i < value.len; i++)
		if (value.ptr[i] >= 'A' && value.ptr[i] <= 'Z' && !(i && value.ptr[i - 1] == '\\')) {
			at->column += i;
			return "a capital letter never matches: the text is in lower case";
		}
	add_pattern(r, role, value, at);
	const char *why = rules_literal(&r->patterns[r->pattern_count - 1], &offset);
	if (why)
		at->column += offset;
	return why;
}

static const char *take_word(struct rule *r, struct text keyword, struct text value)
{
	size_t i;
	bool category = text_equal(keyword, TEXT("category"));
	if (category || text_equal(keyword, TEXT("unplaced"))) {
		i = bounce_word(bounce_category_words, BOUNCE_CATEGORY_MAX, value);
		if (i == BOUNCE_CATEGORY_MAX)
			return "there is no such category";
		*(category ? &r->category : &r->unplaced) = (enum bounce_category)i;
		return NULL;
	}
	if (text_equal(keyword, TEXT("scope"))) {
		i = bounce_word(bounce_scope_words, BOUNCE_SCOPE_MAX, value);
		if (i == BOUNCE_SCOPE_MAX)
			return "there is no such scope";
		r->scope = (enum bounce_scope)i;
		return NULL;
	}
	i = bounce_word(bounce_class_words, BOUNCE_CLASS_MAX, value);
	if (i == BOUNCE_CLASS_MAX)
		return "there is no such class";
	r->class = (enum bounce_class)i;
	return NULL;
}

static const struct text verdict_words[] = {TEXT("category"), TEXT("unplaced"), TEXT("scope"), TEXT("class")};

static const struct {
	struct text keyword;
	size_t field;
} lists[] = {
	{TEXT("provider"), offsetof(struct rule, provider)},
	{TEXT("code"), offsetof(struct rule, code)},
	{TEXT("enhanced"), offsetof(struct rule, enhanced)},
	{TEXT("unless-enhanced"), offsetof(struct rule, unless_enhanced)},
	{TEXT("stage"), offsetof(struct rule, stage)},
};

static const struct {
	struct text keyword;
	enum rule_role role;
} roles[] = {{TEXT("words"), ROLE_WORDS}, {TEXT("also"), ROLE_ALSO}, {TEXT("unless"), ROLE_UNLESS}};

static const char *take_line(struct rule *r, struct text keyword, struct text value, struct place *at)
{
	if (!value.len)
		return "a value is missing";
	for (size_t i = 0; i < sizeof verdict_words / sizeof *verdict_words; i++)
		if (text_equal(keyword, verdict_words[i]))
			return take_word(r, keyword, value);
	for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
		if (text_equal(keyword, lists[i].keyword)) {
			memcpy((char *)r + lists[i].field, &value, sizeof value);
			return NULL;
		}
	for (size_t i = 0; i < sizeof roles / sizeof *roles; i++)
		if (text_equal(keyword, roles[i].keyword))
			return take_pattern(r, roles[i].role, value, at);
	bool match = text_equal(keyword, TEXT("match"));
	if (!match && !text_equal(keyword, TEXT("miss")))
		return "there is no such keyword";
	add_example(r, match, value, at);
	return NULL;
}

static struct rule *begin_rule(struct rules *rules, struct text id, const char *file, size_t line)
{
	rules->rules = memory_resize(rules->rules, rules->count + 1, sizeof *rules->rules);
	struct rule *r = &rules->rules[rules->count++];
	*r = (struct rule){.id = text_copy(id), .file = file, .line = line};
	return r;
}

static const char *check_id(const struct rules *rules, struct text id)
{
	if (!id.len || id.len > 63)
		return "an id of 1 to 63 bytes is wanted";
	for (size_t i = 0; i < id.len; i++)
		if (id.ptr[i] <= ' ' || id.ptr[i] > '~')
			return "an id is of visible ASCII characters";
	for (size_t i = 0; i < rules->count; i++)
		if (text_equal(text_of(rules->rules[i].id), id))
			return "another rule has this id";
	return NULL;
}

static const char *check_rule(const struct rule *r)
{
	if (!r)
		return NULL;
	if (r->category == CATEGORY_NONE)
		return "this rule has no category";
	if (!r->role_count[ROLE_WORDS] && !r->code.len && !r->enhanced.len)
		return "this rule has neither words nor codes: it would match everything";
	return NULL;
}

/* Ends the rule before LINE; its own line is what is wrong with it. */
static const char *end_rule(struct rule *r, size_t *line, size_t *column)
{
	const char *why = check_rule(r);
	if (why) {
		*line = r->line;
		*column = 1;
	} else if (r && r->scope == SCOPE_NONE) {
		r->scope = bounce_category_scope[r->category];
	}
	return why;
}

const char *rules_file_parse(struct rules *rules, const struct rules_file *file, size_t *line, size_t *column)
{
	struct text rest = file->text, whole;
	size_t open = 0; /* 1 + the rule whose block this is */
	for (*line = 1; text_take(&rest, '\n', &whole); ++*line) {
		struct text trimmed = text_trim(whole), keyword = trimmed;
		const char *why = NULL;
		*column = 1;
		if (!trimmed.len || trimmed.ptr[0] == '#')
			continue;
		size_t blank = text_find(trimmed, ' ');
		keyword = text_head(trimmed, blank);
		struct text value = blank == SIZE_MAX ? (struct text){0} : text_trim(text_from(trimmed, blank));
		struct place at = {whole.ptr, *line, value.len ? (size_t)(value.ptr - whole.ptr) + 1 : 1};
		if (text_equal(keyword, TEXT("rule"))) {
			why = end_rule(open ? &rules->rules[open - 1] : NULL, line, column);
			if (why)
				return why;
			why = check_id(rules, value);
			if (!why) {
				begin_rule(rules, value, file->name, *line);
				open = rules->count;
			}
		} else {
			why = open ? take_line(&rules->rules[open - 1], keyword, value, &at)
				   : "a line \"rule ID\" comes first";
		}
		if (why) {
			*column = at.column;
			return why;
		}
	}
	return end_rule(open ? &rules->rules[open - 1] : NULL, line, column);
}

/* "[…]" at the start of *T, moved over. */
static struct text bracket(struct text *t)
{
	size_t end = t->len && t->ptr[0] == '[' ? text_find(*t, ']') : SIZE_MAX;
	if (end == SIZE_MAX)
		return (struct text){0};
	struct text inside = text_at(t->ptr + 1, end - 1);
	*t = text_trim(text_from(*t, end + 1));
	return inside;
}

void rules_example_facts(struct text example, struct reply_facts *facts)
{
	*facts = (struct reply_facts){.final = true};
	for (struct text word; (word = bracket(&example)).len;) {
		if (text_starts(word, TEXT("from ")))
			facts->relay = text_from(word, 5);
		else if (text_starts(word, TEXT("status ")))
			facts->enhanced = text_from(word, 7);
		else if (text_equal(word, TEXT("own")))
			facts->own = true;
		else
			facts->stage = word;
	}
	facts->words = example;
}
