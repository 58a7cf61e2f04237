/* What is wrong with rules although they load. */

#include <stdio.h>
#include <string.h>

#include "common/classify.h"
#include "common/rules_internal.h"

struct lint {
	const struct rules *rules;
	rules_visit *visit;
	void *context;
	size_t count;
};

__attribute__((format(printf, 6, 7))) static void say(struct lint *l, bool is_fault, const struct rule *r, size_t line,
						      size_t column, const char *format, ...)
{
	struct buffer out = {0};
	char words[512];
	va_list args;
	va_start(args, format);
	vsnprintf(words, sizeof words, format, args);
	va_end(args);
	buffer_format(&out, "%s:%zu:%zu: %s: %s", r->file, line, column, r->id, words);
	l->visit(l->context, is_fault, buffer_string(&out));
	l->count++;
	buffer_free(&out);
}

static bool quantifier(struct text t, size_t i)
{
	return i < t.len && strchr("*+?{", t.ptr[i]);
}

/* Where a group that begins at I ends; whether it has a reason to be one. */
static size_t group_end(struct text t, size_t i, bool *needed)
{
	size_t depth = 0;
	*needed = i + 1 < t.len && t.ptr[i + 1] == '?';
	for (; i < t.len; i++) {
		if (t.ptr[i] == '\\')
			i++;
		else if (t.ptr[i] == '(')
			depth++;
		else if (t.ptr[i] == '|' && depth == 1)
			*needed = true;
		else if (t.ptr[i] == ')' && --depth == 0)
			break;
	}
	*needed |= quantifier(t, i + 1);
	return i;
}

static void check_pattern(struct lint *l, const struct rule *r, const struct rule_pattern *p)
{
	struct text t = p->source;
	bool class = false, needed;
	for (size_t i = 0; i < t.len; i++) {
		if (t.ptr[i] == '\\')
			i++;
		else if (t.ptr[i] == '[' || t.ptr[i] == ']')
			class = t.ptr[i] == '[';
		else if (!class && t.ptr[i] == '.' && !quantifier(t, i + 1))
			say(l, true, r, p->line, p->column + i, "a dot without backslash matches any character");
		else if (!class && t.ptr[i] == '(' && (group_end(t, i, &needed), !needed))
			say(l, true, r, p->line, p->column + i,
			    "a bracket without backslash is a group, and this one has no use");
	}
}

static bool same_conditions(const struct rule *a, const struct rule *b)
{
	return (!a->provider.len || text_equal(a->provider, b->provider)) &&
	       (!a->code.len || text_equal(a->code, b->code)) &&
	       (!a->enhanced.len || text_equal(a->enhanced, b->enhanced)) &&
	       (!a->unless_enhanced.len || text_equal(a->unless_enhanced, b->unless_enhanced)) &&
	       (!a->stage.len || text_equal(a->stage, b->stage)) && !a->role_count[ROLE_ALSO] &&
	       !a->role_count[ROLE_UNLESS];
}

/* The plain pattern of EARLIER that is part of P, so that P is never reached: or NULL. */
static const struct rule_pattern *cover(const struct rule *earlier, const struct rule_pattern *p)
{
	for (size_t i = 0; i < earlier->pattern_count; i++) {
		const struct rule_pattern *e = &earlier->patterns[i];
		if (e != p && e->role == ROLE_WORDS && e->plain &&
		    text_search(buffer_view(&p->literal), buffer_view(&e->literal)) != SIZE_MAX)
			return e;
	}
	return NULL;
}

/* Words that an earlier rule of the same or fewer conditions takes away: a fault when it says something else. */
static void check_cover(struct lint *l, size_t number)
{
	const struct rule *r = &l->rules->rules[number];
	for (size_t i = 0; i < number; i++) {
		const struct rule *earlier = &l->rules->rules[i];
		if (!same_conditions(earlier, r))
			continue;
		if (!earlier->role_count[ROLE_WORDS]) {
			say(l, true, r, r->line, 1, "is never reached: %s speaks for its codes before", earlier->id);
			return;
		}
		for (size_t j = 0; j < r->pattern_count; j++) {
			const struct rule_pattern *p = &r->patterns[j],
						  *e = p->role == ROLE_WORDS ? cover(earlier, p) : NULL;
			if (e)
				say(l, true, r, p->line, p->column,
				    "is never reached: \"%.*s\" of %s (line %zu) covers it", TEXT_ARG(e->source),
				    earlier->id, e->line);
		}
	}
}

/* Words twice in one rule. */
static void check_overlap(struct lint *l, const struct rule *r)
{
	for (size_t j = 0; j < r->pattern_count; j++)
		for (size_t i = 0; i < r->pattern_count; i++) {
			const struct rule_pattern *a = &r->patterns[i], *b = &r->patterns[j];
			bool inside = i != j && a->role == b->role && a->plain &&
				      text_search(buffer_view(&b->literal), buffer_view(&a->literal)) != SIZE_MAX;
			if (inside && (a->literal.len < b->literal.len || i < j))
				say(l, false, r, b->line, b->column, "overlaps with line %zu, which covers it",
				    a->line);
		}
}

static void check_examples(struct lint *l, const struct rule *r)
{
	bool match = false, miss = false;
	for (size_t i = 0; i < r->example_count; i++) {
		const struct rule_example *e = &r->examples[i];
		struct reply_facts facts;
		struct verdict verdict;
		rules_example_facts(e->reply, &facts);
		classify(l->rules, &facts, &verdict);
		bool speaks = strcmp(verdict.rule, r->id) == 0;
		*(e->match ? &match : &miss) = true;
		if (e->match && !speaks)
			say(l, true, r, e->line, e->column, "does not speak for its example, %s does", verdict.rule);
		else if (!e->match && speaks)
			say(l, true, r, e->line, e->column, "speaks for what it must miss");
	}
	if (!match)
		say(l, true, r, r->line, 1, "has no example that it must match");
	if (!miss)
		say(l, true, r, r->line, 1, "has no near example that it must miss");
}

size_t rules_lint(struct rules *rules, rules_visit *visit, void *context)
{
	struct lint l = {rules, visit, context, 0};
	for (size_t i = 0; i < rules->count; i++) {
		const struct rule *r = &rules->rules[i];
		for (size_t j = 0; j < r->pattern_count; j++)
			check_pattern(&l, r, &r->patterns[j]);
		check_cover(&l, i);
		check_overlap(&l, r);
		check_examples(&l, r);
	}
	return l.count;
}
