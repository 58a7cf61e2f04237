#ifndef CTL_AUTHORITY_H
#define CTL_AUTHORITY_H

/* Every authoritative server of a name, asked one by one: what they show is what the world will see, when the last cache
 * has forgotten what was before. */

#include "ctl/resolver.h"

#define AUTHORITY_MAX_SERVERS 16

struct authority {
	struct resolver *resolver; /* finds the servers */
	int64_t timeout_ms;
	int64_t port; /* of the authoritative servers: 53, but in tests */
};

/* Called for each server: its name, and what it answered. */
typedef void authority_visit(void *context, struct text server, enum resolver_answer answer,
			     const struct dns_records *records);

/* Follows CNAMEs from NAME, finds the servers of the zone where that ends, and asks each for TYPE. A server of several
 * addresses counts as answering when one of them does. FOUND when servers were found and VISIT was called for each;
 * NO_NAME or TROUBLE: they could not be found. */
enum resolver_answer authority_ask(const struct authority *authority, struct text name, enum dns_type type,
				   authority_visit *visit, void *context);

#endif
