#ifndef CTL_RESOLVER_H
#define CTL_RESOLVER_H

/* Asking DNS (c-ares), one question at a time. */

#include "ctl/dns_answer.h"

struct resolver;

enum resolver_answer {
	RESOLVER_FOUND,
	RESOLVER_NO_DATA, /* the name exists, without such a record */
	RESOLVER_NO_NAME, /* there is no such name */
	RESOLVER_TROUBLE, /* no answer, or an error: nothing is known */
	RESOLVER_ANSWER_MAX
};

/* SERVERS as "ADDRESS[:PORT],…" ("[ADDRESS]:PORT" for IPv6); NULL: the system's. Not RECURSIVE: the servers are asked
 * for what they know themselves. */
struct resolver *resolver_new(const char *servers, bool recursive, int64_t timeout_ms);
void resolver_free(struct resolver **resolver);
/* Replaces *OUT (zeroed, or used before; dns_records_free()) by the answer. */
enum resolver_answer resolver_ask(struct resolver *resolver, struct text name, enum dns_type type,
				  struct dns_records *out);
/* What the last trouble was; static text. */
const char *resolver_trouble(const struct resolver *resolver);

#endif
