#include "common/guard.h"

#include <string.h>

#define PORT_HTTP  80
#define PORT_HTTPS 443

/* RFC 1035 section 2.3.4. */
#define HOST_MAX  253
#define LABEL_MAX 63

/* Networks that no webhook goes to: the special-purpose registries of IANA (RFC 6890 and its updates; IPv4 and IPv6),
 * multicast and reserved space. IPv4 as ::ffff:a.b.c.d, prefix counted over 128 bits. */
struct denied {
	uint8_t address[16];
	uint8_t prefix;
	const char *what;
};

#define V4(a, b, c, d, bits) {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d}, 96 + (bits)

static const struct denied denied[] = {
	{V4(0, 0, 0, 0, 8), "this host on this network (RFC 791)"},
	{V4(10, 0, 0, 0, 8), "private network (RFC 1918)"},
	{V4(100, 64, 0, 0, 10), "carrier's shared network (RFC 6598)"},
	{V4(127, 0, 0, 0, 8), "loopback (RFC 1122)"},
	{V4(169, 254, 0, 0, 16), "link-local (RFC 3927)"},
	{V4(172, 16, 0, 0, 12), "private network (RFC 1918)"},
	{V4(192, 0, 0, 0, 24), "protocol assignments (RFC 6890)"},
	{V4(192, 0, 2, 0, 24), "documentation (RFC 5737)"},
	{V4(192, 88, 99, 0, 24), "6to4 relay anycast (RFC 7526)"},
	{V4(192, 168, 0, 0, 16), "private network (RFC 1918)"},
	{V4(198, 18, 0, 0, 15), "benchmarking (RFC 2544)"},
	{V4(198, 51, 100, 0, 24), "documentation (RFC 5737)"},
	{V4(203, 0, 113, 0, 24), "documentation (RFC 5737)"},
	{V4(224, 0, 0, 0, 4), "multicast (RFC 5771)"},
	{V4(240, 0, 0, 0, 4), "reserved or broadcast (RFC 1112)"},
	/* ::/96 holds the unspecified address, loopback, and the IPv4-compatible form that RFC 4291 retired. */
	{{0}, 96, "unspecified, loopback or IPv4-compatible (RFC 4291)"},
	{{0x00, 0x64, 0xff, 0x9b, 0x00, 0x01}, 48, "local-use NAT64 (RFC 8215)"},
	{{0x01, 0x00}, 64, "discard-only (RFC 6666)"},
	{{0x20, 0x01, 0x00, 0x00}, 23, "protocol assignments (RFC 2928)"},
	{{0x20, 0x01, 0x0d, 0xb8}, 32, "documentation (RFC 3849)"},
	{{0x3f, 0xff}, 20, "documentation (RFC 9637)"},
	{{0x5f, 0x00}, 16, "segment routing (RFC 9602)"},
	{{0xfc, 0x00}, 7, "unique local (RFC 4193)"},
	{{0xfe, 0x80}, 10, "link-local (RFC 4291)"},
	{{0xfe, 0xc0}, 10, "site-local (RFC 3879)"},
	{{0xff, 0x00}, 8, "multicast (RFC 4291)"},
};

/* IPv6 networks whose addresses carry an IPv4 address. Local-use NAT64 networks (RFC 8215) may place it anywhere
 * (RFC 6052), so they are denied whole, above. */
struct carrier {
	uint8_t address[16];
	uint8_t prefix;
	uint8_t offset; /* of the IPv4 address */
};

static const struct carrier carriers[] = {
	{{0x00, 0x64, 0xff, 0x9b}, 96, 12}, /* NAT64, RFC 6052 */
	{{0x20, 0x02}, 16, 2},              /* 6to4, RFC 3056 */
};

static bool inside(const uint8_t *net, uint8_t prefix, const struct network *address)
{
	struct network whole = {.prefix = prefix};
	memcpy(whole.address, net, sizeof(whole.address));
	return network_contains(&whole, address);
}

static struct network mapped(const uint8_t *ipv4)
{
	struct network out = {.address = {[10] = 0xff, [11] = 0xff}, .prefix = 128};
	memcpy(out.address + 12, ipv4, 4);
	return out;
}

static bool allowed(const struct network *address, const struct guard_policy *policy)
{
	for (size_t i = 0; i < policy->allow_count; i++)
		if (network_contains(&policy->allow[i], address))
			return true;
	return false;
}

const char *guard_address(const struct network *address, const struct guard_policy *policy)
{
	if (allowed(address, policy))
		return NULL;
	for (size_t i = 0; i < sizeof(carriers) / sizeof(carriers[0]); i++) {
		if (!inside(carriers[i].address, carriers[i].prefix, address))
			continue;
		struct network carried = mapped(address->address + carriers[i].offset);
		return guard_address(&carried, policy);
	}
	for (size_t i = 0; i < sizeof(denied) / sizeof(denied[0]); i++)
		if (inside(denied[i].address, denied[i].prefix, address))
			return denied[i].what;
	return NULL;
}

const char *guard_ports_parse(struct text list, struct guard_policy *policy, struct text *at)
{
	policy->port_count = 0;
	for (struct text item; text_take(&list, ',', &item);) {
		*at = text_trim(item);
		if (policy->port_count == GUARD_PORTS_MAX)
			return "too many ports";
		uint64_t port;
		const char *why = text_uint(*at, UINT16_MAX, &port);
		if (why)
			return why;
		if (port == 0)
			return "a port is 1 to 65535";
		policy->ports[policy->port_count++] = (uint16_t)port;
	}
	return NULL;
}

const char *guard_allow_parse(struct text list, struct guard_policy *policy, struct text *at)
{
	policy->allow_count = 0;
	for (struct text item; text_trim(list).len && text_take(&list, ',', &item);) {
		*at = text_trim(item);
		if (policy->allow_count == GUARD_ALLOW_MAX)
			return "too many networks";
		const char *why = network_parse(*at, &policy->allow[policy->allow_count]);
		if (why)
			return why;
		policy->allow_count++;
	}
	return NULL;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_letter_or_digit(char c)
{
	return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static const char *label_check(struct text label)
{
	if (label.len == 0)
		return "empty label in the host name";
	if (label.len > LABEL_MAX)
		return "label of the host name longer than 63 bytes";
	if (label.ptr[0] == '-' || label.ptr[label.len - 1] == '-')
		return "label of the host name begins or ends with a hyphen";
	for (size_t i = 0; i < label.len; i++)
		if (!is_letter_or_digit(label.ptr[i]) && label.ptr[i] != '-')
			return "the host name may hold letters, digits and hyphens only";
	return NULL;
}

/* Does LABEL read as a number to inet_aton(3)? No top-level domain does (RFC 3696 section 2). */
static bool label_is_number(struct text label)
{
	if (text_starts_fold(label, TEXT("0x")))
		return true;
	for (size_t i = 0; i < label.len; i++)
		if (!is_digit(label.ptr[i]))
			return false;
	return true;
}

static const char *name_check(struct text host)
{
	if (host.len > HOST_MAX)
		return "host name longer than 253 bytes";
	struct text rest = host, label = {0};
	while (text_take(&rest, '.', &label)) {
		const char *why = label_check(label);
		if (why)
			return why;
	}
	/* 127.1, 0x7f000001 and 2130706433 are addresses to the resolver. */
	if (label_is_number(label))
		return "an IPv4 address is written as four decimal numbers";
	return NULL;
}

static bool looks_like_ipv4(struct text host)
{
	for (size_t i = 0; i < host.len; i++)
		if (!is_digit(host.ptr[i]) && host.ptr[i] != '.')
			return false;
	return true;
}

static const char *literal_check(struct text host, const struct guard_policy *policy)
{
	struct network address;
	if (text_find(host, '/') != SIZE_MAX || network_parse(host, &address))
		return "not an IP address";
	return guard_address(&address, policy);
}

/* Takes the host from the front of *REST, which then begins with ':', '/' or '?', or is empty. */
static const char *host_take(struct text *rest, const struct guard_policy *policy, struct text *host)
{
	if (rest->len && rest->ptr[0] == '[') {
		size_t close = text_find(*rest, ']');
		if (close == SIZE_MAX)
			return "IPv6 address without ']'";
		*host = text_head(text_from(*rest, 1), close - 1);
		*rest = text_from(*rest, close + 1);
		return text_find(*host, ':') == SIZE_MAX ? "not an IPv6 address" : literal_check(*host, policy);
	}
	size_t len = 0;
	while (len < rest->len && !memchr(":/?", rest->ptr[len], 3))
		len++;
	*host = text_head(*rest, len);
	*rest = text_from(*rest, len);
	if (len == 0)
		return "the URL has no host";
	if (looks_like_ipv4(*host) && text_find(*host, '.') != SIZE_MAX) {
		struct network address;
		return network_parse(*host, &address) ? "an IPv4 address is written as four decimal numbers"
						      : literal_check(*host, policy);
	}
	return name_check(*host);
}

static const char *port_take(struct text *rest, const struct guard_policy *policy, uint16_t *port)
{
	if (rest->len && rest->ptr[0] == ':') {
		size_t len = 1;
		while (len < rest->len && is_digit(rest->ptr[len]))
			len++;
		uint64_t number;
		if (len == 1 || text_uint(text_head(text_from(*rest, 1), len - 1), UINT16_MAX, &number))
			return "the port is not a number from 1 to 65535";
		*port = (uint16_t)number;
		*rest = text_from(*rest, len);
	}
	for (size_t i = 0; i < policy->port_count; i++)
		if (policy->ports[i] == *port)
			return NULL;
	if (!policy->port_count)
		return *port ? NULL : "the port is not a number from 1 to 65535";
	return "the port is not in the list of allowed ports ([webhookd] ports)";
}

static const char *tail_check(struct text tail)
{
	if (tail.len && tail.ptr[0] != '/' && tail.ptr[0] != '?')
		return "the host is followed by something that is neither port nor path";
	for (size_t i = 0; i < tail.len; i++) {
		if (tail.ptr[i] <= ' ' || tail.ptr[i] > '~' || memchr("\"<>\\^`{|}", tail.ptr[i], 9))
			return "the path holds a character that must be percent-encoded";
		if (tail.ptr[i] == '#')
			return "a fragment (#) is never sent";
	}
	return NULL;
}

static const char *scheme_take(struct text *rest, const struct guard_policy *policy, struct guard_url *out)
{
	if (text_starts_fold(*rest, TEXT("https://"))) {
		*rest = text_from(*rest, sizeof("https://") - 1);
		out->tls = true;
		out->port = PORT_HTTPS;
		return NULL;
	}
	if (!text_starts_fold(*rest, TEXT("http://")))
		return "the URL must begin with https://";
	if (!policy->allow_http)
		return "plain http is not allowed here: use https ([webhookd] allow_http)";
	*rest = text_from(*rest, sizeof("http://") - 1);
	out->tls = false;
	out->port = PORT_HTTP;
	return NULL;
}

static const char *no_userinfo(struct text rest)
{
	for (size_t i = 0; i < rest.len && !memchr("/?#", rest.ptr[i], 3); i++)
		if (rest.ptr[i] == '@')
			return "user and password in the URL are not allowed";
	return NULL;
}

const char *guard_url_check(struct text url, const struct guard_policy *policy, struct guard_url *out)
{
	if (url.len > GUARD_URL_MAX)
		return "the URL is longer than 2048 bytes";
	struct text rest = url;
	const char *why = scheme_take(&rest, policy, out);
	if (!why)
		why = no_userinfo(rest);
	if (!why)
		why = host_take(&rest, policy, &out->host);
	if (!why)
		why = port_take(&rest, policy, &out->port);
	return why ? why : tail_check(rest);
}
