#ifndef MILTER_FOLD_H
#define MILTER_FOLD_H

/* Header lines that no mail server sends as they are: longer than SURVIVAL_MAX_LINE bytes. Postfix's smtp(8) breaks such a
 * line by CRLF and a blank at its 998th byte (smtp_line_length_limit), wherever that falls, after the signature was made.
 * Folded beforehand the field arrives as it was signed. A core: no I/O. */

#include "common/text.h"

/* Has the field NAME: VALUE, folded with LF or CRLF as milters get it, such a line? */
bool fold_is_due(struct text name, struct text value);
/* Postfix with milters cuts off what a field has beyond this, name and LF counted: one that folding would make larger is
 * better left (tests/scenario/test_survival.py shows both). */
#define FOLD_MAX_FIELD 60000
/* Appends VALUE with every such line folded: before the last blank that leaves no part too long, else behind the last
 * comma, else in mid-text, as Postfix would, though never inside a character of UTF-8. */
void fold_value(struct text name, struct text value, struct buffer *out);

#endif
