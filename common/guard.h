#ifndef COMMON_GUARD_H
#define COMMON_GUARD_H

/* Where a webhook may go. Customers choose the URLs, so without a guard anyone could make us knock on doors inside our
 * own network (server-side request forgery). A core.
 *
 * The URL is checked when it is entered and again before each POST: its form only. What counts is the address that is
 * actually connected, checked at the moment of connecting: names may resolve to anything, and to something else a second
 * later. */

#include "common/network.h"

#define GUARD_PORTS_MAX 16
#define GUARD_ALLOW_MAX 32
#define GUARD_URL_MAX   2048

struct guard_policy {
	bool allow_http;                       /* plain http as well */
	uint16_t ports[GUARD_PORTS_MAX];       /* that may be connected */
	size_t port_count;                     /* 0: any */
	struct network allow[GUARD_ALLOW_MAX]; /* exceptions from the deny table: the installation's own networks */
	size_t allow_count;
};

/* "443, 8443" and "127.0.0.0/8, ::1" into POLICY. NULL, or what is wrong; *AT is the wrong item. */
const char *guard_ports_parse(struct text list, struct guard_policy *policy, struct text *at);
const char *guard_allow_parse(struct text list, struct guard_policy *policy, struct text *at);

struct guard_url {
	bool tls;
	struct text host; /* without the brackets of an IPv6 address */
	uint16_t port;
};

/* Checks a URL (RFC 3986, narrowed): https, or http when allowed; no user-info; a host name of letters, digits and
 * hyphens (A-labels for others), an IPv4 address of four decimal numbers or an IPv6 address in brackets; a port of the
 * list; then visible ASCII, no fragment. An address is checked against the deny table at once. NULL and *OUT, views into
 * URL; or why not. */
const char *guard_url_check(struct text url, const struct guard_policy *policy, struct guard_url *out);

/* May ADDRESS be connected? NULL, or what the address is ("loopback", "private network", …). Addresses that carry an
 * IPv4 address (mapped, NAT64, 6to4) are judged by it. */
const char *guard_address(const struct network *address, const struct guard_policy *policy);

#endif
