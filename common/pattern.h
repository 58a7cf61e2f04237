#ifndef COMMON_PATTERN_H
#define COMMON_PATTERN_H

/* Regular expressions over bytes (PCRE2, without its just-in-time compiler, so that MemoryDenyWriteExecute= holds). The
 * work of one search is bounded, whatever the pattern and the text: a fixed number of steps, and a few for each byte. */

#include "common/text.h"

struct pattern;

/* NULL and *OUT; or why not, with the byte offset in *AT. The words live until the next call in the same thread. */
const char *pattern_new(struct text source, struct pattern **out, size_t *at);
void pattern_free(struct pattern **pattern);

enum pattern_result {
	PATTERN_NO,
	PATTERN_YES,
	PATTERN_LIMIT, /* gave up: nobody knows */
	PATTERN_RESULT_MAX
};
enum pattern_result pattern_find(const struct pattern *pattern, struct text text);

#endif
