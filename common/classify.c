#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/classify.h"
#include "common/memory.h"
#include "common/rules_internal.h"

/* What the rules ask about. */
struct question {
	struct text normal, provider, stage, enhanced;
	uint32_t code;
	bool own;
	const bool *found; /* of each literal */
	bool limited;      /* a pattern gave up */
};

static bool digit(char c)
{
	return c >= '0' && c <= '9';
}

/* A reply code at the start of T: "550 …", "550-…", "550,". 0: there is none. */
static uint32_t code_at(struct text t)
{
	if (t.len < 3 || t.ptr[0] < '4' || t.ptr[0] > '5' || t.ptr[1] > '7' || !digit(t.ptr[1]) || !digit(t.ptr[2]))
		return 0;
	if (t.len > 3 && !strchr(" -,", t.ptr[3]))
		return 0;
	return (uint32_t)(t.ptr[0] - '0') * 100 + (uint32_t)(t.ptr[1] - '0') * 10 + (uint32_t)(t.ptr[2] - '0');
}

/* The reply code in WORDS: where they begin, "smtp; 550 …"; else where somebody is quoted, "… said: 550 …", "<<< 550 …". */
static uint32_t code_of(struct text words)
{
	words = text_head(text_trim(words), CLASSIFY_MAX_WORDS);
	uint32_t code = code_at(words);
	char before = 0;
	for (size_t i = 0; !code && i < words.len; i++) {
		if (before && strchr(":;<(\"#\n", before))
			code = code_at(text_from(words, i));
		if (words.ptr[i] > ' ' || words.ptr[i] == '\n')
			before = words.ptr[i];
	}
	return code;
}

/* RFC 3463 section 3.1: subject 0 is "other or undefined". */
static bool says_nothing(struct text code)
{
	return code.len < 4 || text_starts(text_from(code, 1), TEXT(".0."));
}

/* The remote's own code knows more than the one that was made of it; either knows more than x.0.0. */
static struct text enhanced_of(const struct reply_facts *f)
{
	struct text remote = f->remote_enhanced.len ? f->remote_enhanced : classify_enhanced(f->words);
	return says_nothing(remote) && !says_nothing(f->enhanced) ? f->enhanced : remote.len ? remote : f->enhanced;
}

/* "5.1.1" against "5.1.1", "5.7.*", "*.1.1". */
static bool code_matches(struct text code, struct text wanted)
{
	size_t i = 0, j = 0;
	while (j < wanted.len) {
		if (wanted.ptr[j] == '*') {
			if (j + 1 == wanted.len)
				return i < code.len;
			while (i < code.len && code.ptr[i] != wanted.ptr[j + 1])
				i++;
			j++;
		} else if (i < code.len && code.ptr[i] == wanted.ptr[j]) {
			i++;
			j++;
		} else {
			return false;
		}
	}
	return i == code.len;
}

static bool in_enhanced(struct text list, struct text code)
{
	for (struct text piece; text_take(&list, ',', &piece);) {
		piece = text_trim(piece);
		if (text_equal(piece, TEXT("none")) ? says_nothing(code) : code_matches(code, piece))
			return true;
	}
	return false;
}

static bool in_code(struct text list, uint32_t code)
{
	char digits[4];
	snprintf(digits, sizeof digits, "%03u", code % 1000);
	for (struct text piece; text_take(&list, ',', &piece);) {
		piece = text_trim(piece);
		bool same = piece.len == 3 && code;
		for (size_t i = 0; same && i < 3; i++)
			same = piece.ptr[i] == 'x' || piece.ptr[i] == digits[i];
		if (same || (!code && text_equal(piece, TEXT("none"))))
			return true;
	}
	return false;
}

static bool in_list(struct text list, struct text word)
{
	for (struct text piece; text_take(&list, ',', &piece);) {
		piece = text_trim(piece);
		if (text_equal(piece, TEXT("none")) ? !word.len : text_equal_fold(piece, word))
			return true;
	}
	return false;
}

static bool has_pattern(const struct rule *r, enum rule_role role, struct question *q)
{
	for (size_t i = 0; i < r->pattern_count; i++) {
		const struct rule_pattern *p = &r->patterns[i];
		if (p->role != role || (p->literal.len && !q->found[p->literal_number]))
			continue;
		enum pattern_result result = p->plain ? PATTERN_YES : pattern_find(p->compiled, q->normal);
		q->limited |= result == PATTERN_LIMIT;
		if (result == PATTERN_YES || q->limited)
			return true;
	}
	return false;
}

/* Why the codes and the place do not fit, NULL when they do. Cheap: asked before the words. */
static const char *why_not_facts(const struct rule *r, const struct question *q)
{
	if (r->provider.len && !in_list(r->provider, q->provider))
		return "another provider";
	if (r->code.len && !in_code(r->code, q->code))
		return "another reply code";
	if (r->enhanced.len && !in_enhanced(r->enhanced, q->enhanced))
		return "another enhanced code";
	if (r->unless_enhanced.len && in_enhanced(r->unless_enhanced, q->enhanced))
		return "excluded by the enhanced code";
	if (r->stage.len && !in_list(r->stage, q->stage))
		return "another stage";
	return NULL;
}

static const char *why_not_words(const struct rule *r, struct question *q)
{
	if (r->role_count[ROLE_ALSO] && !has_pattern(r, ROLE_ALSO, q))
		return "a further word is missing";
	if (!q->limited && has_pattern(r, ROLE_UNLESS, q))
		return "excluded by a word";
	return NULL;
}

static const struct rule *decide(const struct rules *rules, struct question *q, classify_visit *visit, void *context)
{
	for (size_t i = 0; i < rules->count; i++) {
		const struct rule *r = &rules->rules[i];
		const char *why = why_not_facts(r, q);
		if (why && !visit)
			continue;
		bool words = !r->role_count[ROLE_WORDS] || has_pattern(r, ROLE_WORDS, q);
		/* Then its words were looked for to be told, no more: what they cost decides nothing. */
		q->limited &= !why;
		if (!words || (why && !r->role_count[ROLE_WORDS]))
			continue;
		if (!why)
			why = why_not_words(r, q);
		if (visit) {
			char place[256];
			snprintf(place, sizeof place, "%s:%zu", r->file, r->line);
			visit(context, r->id, place, q->limited ? "its pattern gave up at the match limit" : why);
		}
		if (!why || q->limited)
			return r;
	}
	return NULL;
}

/* RFC 3463 section 3.1: the first digit. Expiry makes a soft failure final, not hard. */
static enum bounce_class class_of(const struct reply_facts *f, const struct question *q)
{
	struct text status = f->enhanced.len ? f->enhanced : q->enhanced;
	char first = status.len ? status.ptr[0] : (char)('0' + q->code / 100);
	if (!f->final || f->expired || first == '4')
		return CLASS_SOFT;
	return first == '5' ? CLASS_HARD : CLASS_UNDETERMINED;
}

static bool is_gone(enum bounce_category category)
{
	return category == CATEGORY_BAD_MAILBOX || category == CATEGORY_MAILBOX_MOVED ||
	       category == CATEGORY_BAD_DOMAIN;
}

static void judge(const struct reply_facts *f, const struct question *q, const struct rule *r, struct verdict *out)
{
	*out = (struct verdict){.category = CATEGORY_UNDETERMINED, .rule = r ? r->id : "undetermined"};
	out->class = class_of(f, q);
	if (!r || q->limited)
		return;
	bool unplaced = r->unplaced != CATEGORY_NONE && q->code && says_nothing(q->enhanced) && !q->stage.len;
	out->category = unplaced ? r->unplaced : r->category;
	out->scope = unplaced ? bounce_category_scope[r->unplaced] : r->scope;
	/* A rule may know better than a missing or wrong code, but a message that is tried again has not failed hard. */
	if (r->class != CLASS_NONE && (f->final || r->class == CLASS_SOFT))
		out->class = f->expired ? CLASS_SOFT : r->class;
	/* No code at all, but words that nobody says of a mailbox that may yet take the message. */
	if (out->class == CLASS_UNDETERMINED && f->final && r->role_count[ROLE_WORDS] && is_gone(r->category))
		out->class = CLASS_HARD;
	/* What expired is told as such; the cause's scope says about whom. */
	if (f->expired)
		out->category = CATEGORY_EXPIRED;
}

void classify_explain(const struct rules *rules, const struct reply_facts *f, struct verdict *out,
		      classify_visit *visit, void *context)
{
	struct buffer normal = {0};
	bool *found = memory_zero(literals_count(rules->literals) + 1, sizeof *found);
	classify_normalise(f->words, &normal);
	struct question q = {
		.normal = buffer_view(&normal),
		.provider = classify_provider(f->relay, text_head(f->words, CLASSIFY_MAX_WORDS)),
		.stage = f->stage.len ? f->stage : classify_stage(text_head(f->words, CLASSIFY_MAX_WORDS)),
		.enhanced = enhanced_of(f),
		.code = f->own    ? 0
			: f->code ? f->code
				  : code_of(f->words),
		.own = f->own,
		.found = found,
	};
	literals_find(rules->literals, q.normal, found);
	judge(f, &q, decide(rules, &q, visit, context), out);
	buffer_free(&normal);
	free(found);
}

void classify(const struct rules *rules, const struct reply_facts *facts, struct verdict *out)
{
	classify_explain(rules, facts, out, NULL, NULL);
}
