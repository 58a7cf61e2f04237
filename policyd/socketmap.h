#ifndef POLICYD_SOCKETMAP_H
#define POLICYD_SOCKETMAP_H

/* Postfix' socketmap protocol (socketmap_table(5)): a question is the netstring "MAP KEY", an answer the netstring of a
 * status and what belongs to it. A core. */

#include "common/text.h"

/* What Postfix takes of an answer (SOCKETMAP_MAX_REPLY in its src/util/dict_sockmap.c), and what we take of a question: an
 * address is much shorter. */
#define SOCKETMAP_MAX_ANSWER   100000
#define SOCKETMAP_MAX_QUESTION 4096

struct socketmap_question {
	struct text map, key;
};

/* Takes the first question in BYTES: NULL, *LEN, its bytes, and *OUT, views into BYTES; or NULL and a *LEN of 0 as long as
 * it is not whole; or why the connection must be closed. */
const char *socketmap_take(struct text bytes, size_t *len, struct socketmap_question *out);

enum socketmap_status {
	SOCKETMAP_OK,       /* the value */
	SOCKETMAP_NOTFOUND, /* nothing */
	SOCKETMAP_TEMP,     /* why; Postfix defers the mail */
	SOCKETMAP_PERM,     /* why; a mistake of the configuration */
	SOCKETMAP_STATUS_MAX
};
/* "found", "absent", "trouble", "mistake", NULL: the values of a metric's label. */
extern const char *const socketmap_status_words[SOCKETMAP_STATUS_MAX + 1];

/* Appends an answer. */
void socketmap_add(enum socketmap_status status, struct text data, struct buffer *out);

#endif
