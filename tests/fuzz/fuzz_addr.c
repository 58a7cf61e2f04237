/* Any bytes as an address and as a domain: what is accepted keeps the limits, and its key parses to itself. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/addr.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_address(struct text in)
{
	char key[ADDR_MAX + 1], again[ADDR_MAX + 1];
	struct addr a, b;

	if (addr_parse(in, &a))
		return;
	if (a.local.ptr != in.ptr || a.local.len + 1 + a.domain.len != in.len || a.local.len > ADDR_MAX_LOCAL)
		abort();
	for (size_t i = 0; i < in.len; i++)
		if ((unsigned char)in.ptr[i] < 0x20 || in.ptr[i] == 0x7f)
			abort();
	size_t len = addr_key(a, key, sizeof key);
	if (len != in.len || addr_parse(text_at(key, len), &b))
		abort();
	if (addr_key(b, again, sizeof again) != len || memcmp(key, again, len) != 0)
		abort();
	if (addr_without_detail(a.local).len > a.local.len || !addr_without_detail(a.local).len)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct text in = text_at(data, size);
	size_t at = 0;
	check_address(in);
	if (addr_domain_check(in, &at) && at > size)
		abort();
	return 0;
}
