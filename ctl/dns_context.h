#ifndef CTL_DNS_CONTEXT_H
#define CTL_DNS_CONTEXT_H

/* The resolver and the way to authoritative servers, as [ctl] says. */

#include "ctl/authority.h"

struct settings;

struct authority dns_open(const struct settings *settings);
void dns_close(struct authority *authority);

#endif
