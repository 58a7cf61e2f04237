#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdlib.h>

#include "common/memory.h"
#include "common/pattern.h"

/* About 0.3 ms at most: a sane rule needs a few hundred steps for a reply. */
#define MATCH_LIMIT 10000
#define HEAP_LIMIT  256 /* KiB */

struct pattern {
	pcre2_code *code;
	pcre2_match_data *match;
	pcre2_match_context *limits;
};

const char *pattern_new(struct text source, struct pattern **out, size_t *at)
{
	static _Thread_local char why[128];
	int error;
	pcre2_code *code = pcre2_compile((PCRE2_SPTR)(source.ptr ? source.ptr : ""), source.len,
					 PCRE2_NEVER_UTF | PCRE2_NEVER_BACKSLASH_C | PCRE2_DOTALL, &error, at, NULL);
	if (!code) {
		pcre2_get_error_message(error, (PCRE2_UCHAR *)why, sizeof why);
		return why;
	}
	*out = memory_zero(1, sizeof **out);
	(*out)->code = code;
	(*out)->match = pcre2_match_data_create(1, NULL);
	(*out)->limits = pcre2_match_context_create(NULL);
	if (!(*out)->match || !(*out)->limits)
		abort();
	pcre2_set_match_limit((*out)->limits, MATCH_LIMIT);
	pcre2_set_depth_limit((*out)->limits, MATCH_LIMIT);
	pcre2_set_heap_limit((*out)->limits, HEAP_LIMIT);
	return NULL;
}

void pattern_free(struct pattern **pattern)
{
	if (!*pattern)
		return;
	pcre2_code_free((*pattern)->code);
	pcre2_match_data_free((*pattern)->match);
	pcre2_match_context_free((*pattern)->limits);
	free(*pattern);
	*pattern = NULL;
}

enum pattern_result pattern_find(const struct pattern *p, struct text text)
{
	int found = pcre2_match(p->code, (PCRE2_SPTR)(text.ptr ? text.ptr : ""), text.len, 0, PCRE2_NO_JIT, p->match,
				p->limits);
	return found >= 0 ? PATTERN_YES : found == PCRE2_ERROR_NOMATCH ? PATTERN_NO : PATTERN_LIMIT;
}
