#ifndef BOUNCER_UNPARSED_H
#define BOUNCER_UNPARSED_H

/* The shape of a line: what stays the same from one such line to the next. A core. */

#include "common/text.h"

#define UNPARSED_TEMPLATE_MAX 200

/* Appends to OUT the daemon and the message of LINE with every word that holds a digit, an address or a host replaced by
 * "*", at most UNPARSED_TEMPLATE_MAX bytes. */
void unparsed_template(struct text line, struct buffer *out);

#endif
