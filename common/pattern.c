#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdlib.h>

#include "common/memory.h"
#include "common/pattern.h"

/* Steps of one search, beyond a few for each place of the text: about 0.3 ms. A sane rule needs a few hundred. */
#define MATCH_LIMIT 10000
#define PLACE_LIMIT 16
#define HEAP_LIMIT  256 /* KiB */

/* PCRE2 counts anew from each place where a match may begin, and has no bound for them together. So the limit is shared
 * among the places; where one needs more than its share, as most that match do in a long text, the pattern is searched at
 * the beginning alone, behind as little as can be, and one count covers all. That is slower: PCRE2 then skips no place by
 * the pattern's first bytes. \E ends a quotation that the pattern left open. */
#define BEFORE "\\A.*?(?:"
#define BEHIND "\\E)"

struct pattern {
	pcre2_code *quick, *counted;
	pcre2_match_data *match;
	pcre2_match_context *limits;
	size_t tries; /* steps of COUNTED at each place: one for each alternative, and one to go on */
};

#define OPTIONS (PCRE2_NEVER_UTF | PCRE2_NEVER_BACKSLASH_C | PCRE2_DOTALL)

static pcre2_code *compile(struct text source, const char **why, size_t *at)
{
	static _Thread_local char words[128];
	int error;
	pcre2_code *code =
		pcre2_compile((PCRE2_SPTR)(source.ptr ? source.ptr : ""), source.len, OPTIONS, &error, at, NULL);
	if (!code) {
		pcre2_get_error_message(error, (PCRE2_UCHAR *)words, sizeof words);
		*why = words;
	}
	return code;
}

const char *pattern_new(struct text source, struct pattern **out, size_t *at)
{
	const char *why = NULL;
	size_t inside;
	struct buffer whole = {0};
	pcre2_code *quick = compile(source, &why, at);
	if (!quick)
		return why;
	buffer_text(&whole, TEXT(BEFORE));
	buffer_text(&whole, source);
	buffer_text(&whole, TEXT(BEHIND));
	pcre2_code *counted = compile(buffer_view(&whole), &why, &inside);
	buffer_free(&whole);
	if (!counted) {
		*at = source.len;
		pcre2_code_free(quick);
		return why;
	}
	*out = memory_zero(1, sizeof **out);
	(*out)->quick = quick;
	(*out)->counted = counted;
	(*out)->match = pcre2_match_data_create(1, NULL);
	(*out)->limits = pcre2_match_context_create(NULL);
	if (!(*out)->match || !(*out)->limits)
		abort();
	(*out)->tries = 2;
	for (size_t i = 0; i < source.len; i++)
		(*out)->tries += source.ptr[i] == '|';
	pcre2_set_heap_limit((*out)->limits, HEAP_LIMIT);
	return NULL;
}

void pattern_free(struct pattern **pattern)
{
	if (!*pattern)
		return;
	pcre2_code_free((*pattern)->quick);
	pcre2_code_free((*pattern)->counted);
	pcre2_match_data_free((*pattern)->match);
	pcre2_match_context_free((*pattern)->limits);
	free(*pattern);
	*pattern = NULL;
}

static int search(const struct pattern *p, const pcre2_code *code, struct text text, size_t limit)
{
	pcre2_set_match_limit(p->limits, (uint32_t)limit);
	return pcre2_match(code, (PCRE2_SPTR)(text.ptr ? text.ptr : ""), text.len, 0, PCRE2_NO_JIT, p->match,
			   p->limits);
}

enum pattern_result pattern_find(const struct pattern *p, struct text text)
{
	int found = search(p, p->quick, text, MATCH_LIMIT / (text.len + 1) + PLACE_LIMIT);
	if (found < 0 && found != PCRE2_ERROR_NOMATCH)
		found = search(p, p->counted, text, MATCH_LIMIT + text.len * p->tries);
	return found >= 0 ? PATTERN_YES : found == PCRE2_ERROR_NOMATCH ? PATTERN_NO : PATTERN_LIMIT;
}
