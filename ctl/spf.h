#ifndef CTL_SPF_H
#define CTL_SPF_H

/* Asking the helper process waybill-spf-check. */

#include <stdint.h>

struct spf_answer {
	char result[16]; /* "pass", "fail", "softfail", "neutral", "none", "temperror", "permerror" */
	unsigned lookups, empty;
	char reason[256];
};
#define SPF_MAX_LOOKUPS 10 /* RFC 7208 section 4.6.4 */
#define SPF_MAX_EMPTY   2

/* PROGRAM is the helper's path, NULL for the one beside this program; RESOLVER as resolver_new() takes it. A helper that
 * hangs, crashes or says nonsense answers "temperror", with the reason. */
void spf_ask(const char *program, const char *resolver, int64_t timeout_ms, const char *address, const char *domain,
	     struct spf_answer *answer);

#endif
