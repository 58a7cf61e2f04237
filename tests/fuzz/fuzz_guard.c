/* URLs of webhook endpoints: what the guard lets through must hold what it promises. */

#include <stdlib.h>
#include <string.h>

#include "common/guard.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct guard_policy policy = {.ports = {443}, .port_count = 1};
	struct guard_url out;
	struct text at, url = text_at(data, size);
	if (!guard_url_check(url, &policy, &out)) {
		if (!out.tls || out.port != 443 || !out.host.len || memchr(data, ' ', size) || memchr(data, 0, size))
			abort();
		if (out.host.ptr < url.ptr || out.host.ptr + out.host.len > url.ptr + url.len)
			abort();
	}
	guard_ports_parse(url, &policy, &at);
	guard_allow_parse(url, &policy, &at);
	return 0;
}
