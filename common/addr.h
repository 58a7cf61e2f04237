#ifndef COMMON_ADDR_H
#define COMMON_ADDR_H

/* Mail addresses and domains (RFC 5321 section 4.1.2, RFC 6531 for UTF-8). A core: no I/O. */

#include "common/text.h"

/* RFC 5321 section 4.5.3.1. */
#define ADDR_MAX_LOCAL  64
#define ADDR_MAX_DOMAIN 255
#define ADDR_MAX        (ADDR_MAX_LOCAL + 1 + ADDR_MAX_DOMAIN)

struct addr {
	struct text local;  /* as written, quotes included */
	struct text domain; /* as written */
};

/* Splits an address without angle brackets: dot-string or quoted-string "@" domain. The last "@" outside quotes
 * divides. UTF-8 beyond ASCII is accepted in both parts. NULL and *OUT, views into IN; or why not. An address literal
 * (user@[192.0.2.1]) is refused: nobody owns one. */
const char *addr_parse(struct text in, struct addr *out);
/* The same; when refused, *AT is the offset of the first wrong byte. */
const char *addr_parse_at(struct text in, struct addr *out, size_t *at);

/* Is T a host name by letter-digit-hyphen rules, with at least two labels, A-labels (xn--) included (RFC 1035 section
 * 2.3.1, RFC 5890)? NULL, or what is wrong; *AT is the offset of the first wrong byte. */
const char *addr_domain_check(struct text t, size_t *at);

/* Writes the canonical key of an address to OUT (SIZE >= ADDR_MAX + 1, NUL-terminated): the domain in lower case,
 * the local part as written. Internationalised domains must be A-labels already (idn.h). Returns the length, 0 when it
 * does not fit. */
size_t addr_key(struct addr a, char *out, size_t size);

/* The local part without its "+detail" ("a+b" gives "a"; "+b" and quoted strings stay as they are). */
struct text addr_without_detail(struct text local);

#endif
