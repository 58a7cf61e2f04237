#ifndef COMMON_LITERALS_H
#define COMMON_LITERALS_H

/* Finds which of many literals a text has, in one pass over it (Aho and Corasick, 1975): the reason that a thousand
 * patterns cost a bounce no more than ten. A core. */

#include "common/text.h"

struct literals;

struct literals *literals_new(void);
void literals_free(struct literals **literals);
/* Adds a literal of at least one byte and returns its number, counted from 0; the same literal has one number. */
size_t literals_add(struct literals *literals, struct text literal);
size_t literals_count(const struct literals *literals);
/* After the last literals_add(). */
void literals_finish(struct literals *literals);
/* Sets FOUND[number] for each literal that TEXT has, and for those behind the first 65,535 bytes of literals, which nobody
 * looks for; FOUND has literals_count() elements and is cleared first. */
void literals_find(const struct literals *literals, struct text text, bool *found);

#endif
