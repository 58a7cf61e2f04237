#include <stdio.h>
#include <string.h>

#include "common/network.h"

#define V4_BITS 96 /* of an IPv4 address in its IPv6 form */

static const unsigned char v4_mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

static bool is_v4(const struct network *net)
{
	return memcmp(net->address, v4_mapped, sizeof v4_mapped) == 0 && net->prefix >= V4_BITS;
}

static const char *parse_v4(struct text t, uint8_t out[4])
{
	struct text part;
	size_t n = 0;
	while (text_take(&t, '.', &part)) {
		uint64_t byte;
		if (n == 4 || part.len > 3 || (part.len > 1 && part.ptr[0] == '0') || text_uint(part, 255, &byte))
			return "not an IPv4 address";
		out[n++] = (uint8_t)byte;
	}
	return n == 4 ? NULL : "not an IPv4 address";
}

static const char *parse_group(struct text t, uint8_t out[2])
{
	unsigned value = 0;
	if (!t.len || t.len > 4)
		return "not an IPv6 address";
	for (size_t i = 0; i < t.len; i++) {
		static const char digits[] = "0123456789abcdef";
		char c = t.ptr[i] >= 'A' && t.ptr[i] <= 'F' ? (char)(t.ptr[i] - 'A' + 'a') : t.ptr[i];
		const char *digit = c ? strchr(digits, c) : NULL;
		if (!digit)
			return "not an IPv6 address";
		value = value * 16 + (unsigned)(digit - digits);
	}
	out[0] = (uint8_t)(value >> 8);
	out[1] = (uint8_t)value;
	return NULL;
}

/* Groups separated by single colons; where V4_LAST, the last one perhaps in IPv4 form. *LEN bytes. */
static const char *parse_groups(struct text t, bool v4_last, uint8_t out[16], size_t *len)
{
	struct text group;
	*len = 0;
	if (!t.len)
		return NULL;
	while (text_take(&t, ':', &group)) {
		bool dotted = v4_last && !t.ptr && text_find(group, '.') != SIZE_MAX;
		size_t size = dotted ? 4 : 2;
		if (*len + size > 16)
			return "not an IPv6 address";
		const char *why = dotted ? parse_v4(group, out + *len) : parse_group(group, out + *len);
		if (why)
			return why;
		*len += size;
	}
	return NULL;
}

static const char *parse_v6(struct text t, uint8_t out[16])
{
	uint8_t head[16], tail[16];
	size_t head_len, tail_len = 0, gap = text_search(t, TEXT("::"));
	const char *why = parse_groups(text_head(t, gap), gap == SIZE_MAX, head, &head_len);

	if (!why && gap != SIZE_MAX)
		why = parse_groups(text_from(t, gap + 2), true, tail, &tail_len);
	if (why)
		return why;
	if (gap == SIZE_MAX ? head_len != 16 : head_len + tail_len > 14)
		return "not an IPv6 address";
	memset(out, 0, 16);
	memcpy(out, head, head_len);
	memcpy(out + 16 - tail_len, tail, tail_len);
	return NULL;
}

static void mask(struct network *net)
{
	for (size_t bit = net->prefix; bit < 128; bit++)
		net->address[bit / 8] &= (uint8_t) ~(0x80 >> bit % 8);
}

const char *network_parse(struct text t, struct network *out)
{
	struct network net = {.prefix = 128}, masked;
	size_t slash = text_find(t, '/');
	struct text address = text_head(t, slash);
	bool v4 = text_find(address, ':') == SIZE_MAX;
	uint64_t prefix = v4 ? 32 : 128;
	const char *why;

	memcpy(net.address, v4_mapped, sizeof v4_mapped);
	why = v4 ? parse_v4(address, net.address + 12) : parse_v6(address, net.address);
	if (why)
		return why;
	if (slash != SIZE_MAX && text_uint(text_from(t, slash + 1), prefix, &prefix))
		return v4 ? "the prefix length is not 0 to 32" : "the prefix length is not 0 to 128";
	net.prefix = (uint8_t)(prefix + (v4 ? V4_BITS : 0));
	masked = net;
	mask(&masked);
	if (memcmp(masked.address, net.address, 16) != 0)
		return "bits are set behind the prefix";
	*out = net;
	return NULL;
}

bool network_contains(const struct network *net, const struct network *address)
{
	size_t bytes = net->prefix / 8, bits = net->prefix % 8;
	if (memcmp(net->address, address->address, bytes) != 0)
		return false;
	return !bits || !((net->address[bytes] ^ address->address[bytes]) >> (8 - bits));
}

struct network network_of_source(const struct network *address)
{
	struct network net = *address;
	net.prefix = is_v4(address) ? V4_BITS + 24 : 48;
	mask(&net);
	return net;
}

/* The longest run of two or more zero groups is written "::" (RFC 5952 section 4.2). */
static void longest_gap(const uint8_t a[16], size_t *start, size_t *length)
{
	*start = 8;
	*length = 1;
	for (size_t i = 0, run = 0; i < 8; i++) {
		run = a[2 * i] || a[2 * i + 1] ? 0 : run + 1;
		if (run > *length) {
			*length = run;
			*start = i + 1 - run;
		}
	}
}

static size_t print_v6(const uint8_t a[16], char *out, size_t size)
{
	size_t gap, gap_len, n = 0;
	longest_gap(a, &gap, &gap_len);
	for (size_t i = 0; i < 8; i++) {
		if (i == gap) {
			n += (size_t)snprintf(out + n, size - n, "::");
			i += gap_len - 1;
		} else {
			const char *colon = i && (gap == 8 || i != gap + gap_len) ? ":" : "";
			n += (size_t)snprintf(out + n, size - n, "%s%x", colon,
					      (unsigned)(a[2 * i] << 8 | a[2 * i + 1]));
		}
	}
	return n;
}

void network_print(const struct network *net, char *out)
{
	const uint8_t *a = net->address;
	bool v4 = is_v4(net);
	size_t n = v4 ? (size_t)snprintf(out, NETWORK_TEXT_MAX, "%u.%u.%u.%u", a[12], a[13], a[14], a[15])
		      : print_v6(a, out, NETWORK_TEXT_MAX);
	if (net->prefix < 128)
		snprintf(out + n, NETWORK_TEXT_MAX - n, "/%u", (unsigned)(v4 ? net->prefix - V4_BITS : net->prefix));
}
