#include "ctl/dns_context.h"
#include "ctl/settings.h"

struct authority dns_open(const struct settings *settings)
{
	return (struct authority){
		.resolver = resolver_new(settings->resolver, true, settings->dns_timeout_ms),
		.timeout_ms = settings->dns_timeout_ms,
		.port = settings->dns_port,
	};
}

void dns_close(struct authority *authority)
{
	resolver_free(&authority->resolver);
}
