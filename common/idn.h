#ifndef COMMON_IDN_H
#define COMMON_IDN_H

/* Internationalised domain names (libidn2, IDNA 2008). */

#include "common/text.h"

/* Writes DOMAIN as lower-case A-labels to OUT (SIZE at least ADDR_MAX_DOMAIN + 1), NUL-terminated. An ASCII domain is
 * only lower-cased. NULL, or what is wrong with it. */
const char *idn_to_ascii(struct text domain, char *out, size_t size);

#endif
