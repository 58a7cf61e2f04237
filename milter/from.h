#ifndef MILTER_FROM_H
#define MILTER_FROM_H

/* The one address of a From or Sender field (RFC 5322 section 3.6.2, RFC 6532 for UTF-8). A core: no I/O.
 *
 * Whoever is not sure what a receiver will make of a field must refuse it: two readers that disagree about the author
 * are how forged mail passes ("Composition kills", USENIX Security 2020). So the obsolete forms that all readers agree
 * about are accepted (comments and folding anywhere, dots in display names, blanks around the dots of an address:
 * RFC 5322 section 4), and those they do not agree about are refused with a reason: groups, source routes, empty list
 * elements, control bytes. */

#include "common/addr.h"
#include "common/text.h"

/* Nested comments deeper than this are refused. */
#define FROM_MAX_NESTING 16
/* The plain form of the address and its NUL. */
#define FROM_ADDRESS_SIZE (ADDR_MAX + 1)

/* Reads a field's VALUE, which must hold exactly one address. NULL, and in OUT the address as addr_parse() takes it,
 * NUL-terminated: comments and folding left out, a quoted local part without its quotes when it needs none. Or why not,
 * fit for a reply: "two addresses", "a group instead of an address", …. */
const char *from_parse(struct text value, char out[FROM_ADDRESS_SIZE]);

#endif
