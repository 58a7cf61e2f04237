#ifndef BOUNCER_ARRAY_H
#define BOUNCER_ARRAY_H

/* Elements of a Postgres array in its text form (manual, section 8.15.6). A core. OUT begins with "{"; the caller adds
 * the "}". */

#include "common/text.h"

/* VALUE quoted, or NULL when its ptr is NULL. NUL and what is not UTF-8 become U+FFFD: Postgres takes neither. */
void array_add(struct buffer *out, struct text value);
/* BYTES as a bytea. */
void array_add_bytea(struct buffer *out, struct text bytes);

#endif
