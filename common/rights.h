#ifndef COMMON_RIGHTS_H
#define COMMON_RIGHTS_H

/* What addresses a login may use: the one table behind envelope sender, header From and Sender (design, Rights).
 *
 * A pattern is one of
 *	user@example.com   this address, and user+anything@example.com
 *	@example.com       every address of the domain
 *	@.example.com      every address of the domain and of its sub-domains
 *	*@owned            every address of every domain that the login's customer owns
 *	<>                 the null sender (MAIL FROM:<>), RFC 5321 section 4.5.5
 * Rights are a union: any allow is enough, any deny beats every allow. Local parts and domains are compared without
 * regard to ASCII case. A core: no I/O. */

#include "common/addr.h"
#include "common/text.h"

struct right {
	bool allow; /* or deny */
	struct text pattern;
};

enum rights_verdict {
	RIGHTS_ALLOWED,   /* an allow matches and no deny does */
	RIGHTS_DENIED,    /* a deny matches */
	RIGHTS_UNMATCHED, /* nothing matches: refused as well */
	RIGHTS_MAX
};

/* The running answer over a list of rights, in any order; start from {0} as RIGHTS_UNMATCHED via rights_begin(). */
struct rights_check {
	struct addr address; /* empty local and domain: the null sender */
	bool owned;          /* the customer owns address.domain */
	enum rights_verdict verdict;
	struct right by; /* the right that decided; pattern.len 0 when none did */
};

/* Is T a pattern? NULL, or what is wrong; *AT is the offset of the first wrong byte. */
const char *rights_pattern_check(struct text t, size_t *at);

void rights_begin(struct rights_check *check, struct addr address, bool owned);
/* Takes one more right into account. */
void rights_add(struct rights_check *check, struct right right);

#endif
