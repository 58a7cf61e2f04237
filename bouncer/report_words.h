#ifndef BOUNCER_REPORT_WORDS_H
#define BOUNCER_REPORT_WORDS_H

/* What can be found in words that were written for people. A core: views into what it is given. */

#include "common/text.h"

/* The reply code (RFC 5321: 4xx or 5xx) that T has first, and where; 0 when there is none. A time of day ("450 10:00") and
 * a part of a longer number are none. */
uint32_t report_words_code(struct text t, size_t *at);
/* What one server said: from the first reply code to the next other one; all of T when it has no code. */
struct text report_words_said(struct text t);
/* The next mail address in REST, without brackets; empty when there is no more. */
struct text report_words_address(struct text *rest);
/* The command that was answered, as events name it: "RCPT TO", "end of DATA"; empty when it is not told. */
struct text report_words_stage(struct text t);
/* Is there any of WORDS (NULL-terminated) in T, whatever its case? */
bool report_words_any(struct text t, const char *const *words);

/* Does the returned message begin at this line of a notice? */
bool report_words_is_original(struct text line);
/* Appends the words of HTML to OUT: tags gone, the commonest entities resolved. Addresses in "<…>" stay. */
void report_words_of_html(struct text html, struct buffer *out);

#endif
