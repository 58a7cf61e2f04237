#ifndef BOUNCER_LINE_INTERNAL_H
#define BOUNCER_LINE_INTERNAL_H

#include <string.h>

#include "bouncer/line.h"

/* Does T start with LITERAL? The compiler knows its length. */
#define STARTS(t, literal) ((t).len >= sizeof(literal) - 1 && memcmp((t).ptr, (literal), sizeof(literal) - 1) == 0)
/* And if so, step behind it. */
#define SKIP(t, literal) \
	(STARTS(t, literal) ? ((t).ptr += sizeof(literal) - 1, (t).len -= sizeof(literal) - 1, true) : false)

static inline bool line_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* The digits at the start of *T, moved over; 0 when there are none. Wraps beyond 64 bits: no line holds such a number. */
static inline uint64_t line_number(struct text *t)
{
	uint64_t value = 0;
	while (t->len && line_digit(t->ptr[0])) {
		value = value * 10 + (uint64_t)(t->ptr[0] - '0');
		t->ptr++;
		t->len--;
	}
	return value;
}

/* What stands before the first SEPARATOR, moved over it; all of *T when there is none. */
static inline struct text line_until(struct text *t, char separator)
{
	const char *at = t->len ? memchr(t->ptr, separator, t->len) : NULL;
	size_t len = at ? (size_t)(at - t->ptr) : t->len;
	struct text piece = {t->ptr, len};
	size_t used = at ? len + 1 : len;
	t->ptr += used;
	t->len -= used;
	return piece;
}

/* The message of one of Postfix's daemons, behind the tag; the envelope's fields of RECORD are filled. */
const char *line_message(struct text message, struct record *record);
/* "reject: RCPT from …" and its kin, behind the queue id. */
const char *line_reject(struct text message, struct record *record);
/* "to=<…>, relay=…, …, status=… (…)", behind the queue id. */
const char *line_delivery(struct text message, struct record *record);
/* "NAME[ADDRESS]" or "NAME[ADDRESS]:PORT" at the start of *REST, moved over. false when there is none. */
bool line_peer(struct text *rest, struct text *host, struct text *ip);

#endif
