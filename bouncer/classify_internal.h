#ifndef BOUNCER_CLASSIFY_INTERNAL_H
#define BOUNCER_CLASSIFY_INTERNAL_H

#include "bouncer/classify.h"

/* One piece of evidence: when the normalised words contain WORDS (and ALSO, unless NULL), it is CATEGORY. Tables are in
 * order: the first match counts. */
struct classify_words {
	const char *id;
	const char *words, *also;
	enum bounce_category category;
};

/* An enhanced code: class '4', '5' or '*', subject and detail ("1.1"; "1.*" for any detail), stage or NULL for any. */
struct classify_code {
	const char *id;
	char class;
	const char *code;
	const char *stage;
	enum bounce_category category;
};

extern const struct classify_words classify_postfix[]; /* Postfix's own reasons: at their start */
extern const struct classify_words classify_safety[];  /* about the sender, its address or the message */
extern const struct classify_words classify_text[];    /* providers and common servers */
extern const struct classify_code classify_enhanced[]; /* RFC 3463, RFC 5248 */
extern const struct classify_code classify_reply[];    /* RFC 5321 section 4.2.3: reply codes */

#endif
