/* The plain bytes that every match of a pattern has: without them the pattern need not be tried. */

#include "common/rules_internal.h"

#define SHORTEST 3

struct scan {
	struct text source;
	size_t at;
	struct buffer run, best;
	bool plain;
};

static void end_run(struct scan *s)
{
	if (s->run.len > s->best.len) {
		s->best.len = 0;
		buffer_text(&s->best, buffer_view(&s->run));
	}
	s->run.len = 0;
}

/* Something that is not a plain byte. */
static void break_run(struct scan *s)
{
	end_run(s);
	s->plain = false;
}

static void skip_class(struct scan *s)
{
	size_t i = s->at + 1;
	if (i < s->source.len && s->source.ptr[i] == '^')
		i++;
	if (i < s->source.len && s->source.ptr[i] == ']')
		i++;
	while (i < s->source.len && s->source.ptr[i] != ']')
		i += s->source.ptr[i] == '\\' ? 2 : 1;
	s->at = i;
}

static void skip_group(struct scan *s)
{
	size_t depth = 0;
	for (; s->at < s->source.len; s->at++) {
		char c = s->source.ptr[s->at];
		if (c == '\\')
			s->at++;
		else if (c == '[')
			skip_class(s);
		else if (c == '(')
			depth++;
		else if (c == ')' && --depth == 0)
			return;
	}
}

static bool is_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static void scan_escape(struct scan *s)
{
	if (++s->at < s->source.len && !is_alnum(s->source.ptr[s->at]))
		buffer_char(&s->run, s->source.ptr[s->at]);
	else
		break_run(s);
}

/* "?", "*" or "{": what stands before it may be missing. */
static void scan_quantifier(struct scan *s)
{
	if (s->run.len)
		s->run.len--;
	break_run(s);
	if (s->source.ptr[s->at] == '{')
		while (s->at < s->source.len && s->source.ptr[s->at] != '}')
			s->at++;
}

static const char *scan_byte(struct scan *s)
{
	switch (s->source.ptr[s->at]) {
	case '|': return "an alternative outside of brackets: write another line";
	case '\\': scan_escape(s); break;
	case '[':
		break_run(s);
		skip_class(s);
		break;
	case '(':
		break_run(s);
		skip_group(s);
		break;
	case '?':
	case '*':
	case '{': scan_quantifier(s); break;
	case '.':
	case '^':
	case '$':
	case '+': break_run(s); break;
	default: buffer_char(&s->run, s->source.ptr[s->at]);
	}
	return NULL;
}

const char *rules_literal(struct rule_pattern *pattern, size_t *at)
{
	struct scan s = {.source = pattern->source, .plain = true};
	const char *why = NULL;
	for (; !why && s.at < s.source.len; s.at++)
		why = scan_byte(&s);
	end_run(&s);
	if (why)
		*at = s.at - 1;
	if (s.best.len < SHORTEST)
		s.best.len = 0;
	pattern->literal = s.best;
	pattern->plain = s.plain && s.best.len;
	buffer_free(&s.run);
	return why;
}
