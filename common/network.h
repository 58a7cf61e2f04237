#ifndef COMMON_NETWORK_H
#define COMMON_NETWORK_H

/* IP addresses and networks (RFC 4291, RFC 4632). A core: no I/O, no DNS. */

#include "common/text.h"

/* An address of either family as 16 bytes; IPv4 as ::ffff:a.b.c.d (RFC 4291 section 2.5.5.2). */
struct network {
	uint8_t address[16];
	uint8_t prefix; /* 0 to 128, counted over the 16 bytes: 192.0.2.0/24 has 120 */
};

/* "192.0.2.7", "192.0.2.0/24", "2001:db8::/32", "::ffff:192.0.2.7". NULL, or what is wrong. Bits behind the prefix
 * must be zero. */
const char *network_parse(struct text t, struct network *out);
/* Is ADDRESS (its prefix does not matter) inside NET? ::/0 holds the IPv4 addresses too. */
bool network_contains(const struct network *net, const struct network *address);
/* The network of ADDRESS that stands for one source: its /24 (IPv4) or /48 (IPv6). */
struct network network_of_source(const struct network *address);
/* Writes it in its usual spelling, with "/prefix" unless it is a single address. OUT has at least NETWORK_TEXT_MAX. */
#define NETWORK_TEXT_MAX 64
void network_print(const struct network *net, char *out);

#endif
