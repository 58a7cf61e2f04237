#include <stdlib.h>
#include <string.h>
#include <sys/select.h>

#include <ares.h>

#include "common/memory.h"
#include "ctl/resolver.h"

#define TRIES    2
#define UDP_SIZE 1232 /* what passes everywhere without fragments (DNS flag day 2020) */
#define CLASS_IN 1

struct resolver {
	ares_channel channel;
	const char *trouble;
	/* Of the question under way. */
	enum dns_type type;
	struct dns_records *records;
	enum resolver_answer answer;
};

struct resolver *resolver_new(const char *servers, bool recursive, int64_t timeout_ms)
{
	struct resolver *resolver = memory_zero(1, sizeof(*resolver));
	struct ares_options options = {
		.flags = ARES_FLAG_EDNS | ARES_FLAG_NOALIASES | ARES_FLAG_NOSEARCH |
			 (recursive ? 0 : ARES_FLAG_NORECURSE),
		.timeout = (int)timeout_ms,
		.tries = TRIES,
		.ednspsz = UDP_SIZE,
	};
	if (ares_library_init(ARES_LIB_INIT_ALL) != ARES_SUCCESS ||
	    ares_init_options(&resolver->channel, &options,
			      ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_EDNSPSZ) != ARES_SUCCESS)
		abort();
	if (servers && ares_set_servers_ports_csv(resolver->channel, servers) != ARES_SUCCESS)
		resolver->trouble = "the address of a name server cannot be read";
	return resolver;
}

void resolver_free(struct resolver **resolver)
{
	if (!*resolver)
		return;
	ares_destroy((*resolver)->channel);
	ares_library_cleanup();
	free(*resolver);
	*resolver = NULL;
}

const char *resolver_trouble(const struct resolver *resolver)
{
	return resolver->trouble ? resolver->trouble : "";
}

static void answered(void *cookie, int status, int timeouts, unsigned char *message, int len)
{
	struct resolver *resolver = cookie;
	(void)timeouts;
	switch (status) {
	case ARES_SUCCESS:
		resolver->trouble = dns_answer_parse(text_at(message, (size_t)len), resolver->type, resolver->records);
		if (resolver->trouble)
			resolver->answer = RESOLVER_TROUBLE;
		else
			resolver->answer = resolver->records->count ? RESOLVER_FOUND : RESOLVER_NO_DATA;
		break;
	case ARES_ENODATA: resolver->answer = RESOLVER_NO_DATA; break;
	case ARES_ENOTFOUND: resolver->answer = RESOLVER_NO_NAME; break;
	default: resolver->answer = RESOLVER_TROUBLE; resolver->trouble = ares_strerror(status);
	}
}

static void wait_for_answer(struct resolver *resolver)
{
	for (;;) {
		fd_set in, out;
		struct timeval longest, *wait;
		FD_ZERO(&in);
		FD_ZERO(&out);
		int count = ares_fds(resolver->channel, &in, &out);
		if (!count)
			return;
		wait = ares_timeout(resolver->channel, NULL, &longest);
		select(count, &in, &out, NULL, wait);
		ares_process(resolver->channel, &in, &out);
	}
}

enum resolver_answer resolver_ask(struct resolver *resolver, struct text name, enum dns_type type,
				  struct dns_records *out)
{
	dns_records_free(out);
	char *copy = text_copy(name);
	resolver->type = type;
	resolver->records = out;
	resolver->answer = RESOLVER_TROUBLE;
	ares_query(resolver->channel, copy, CLASS_IN, (int)type, answered, resolver);
	wait_for_answer(resolver);
	free(copy);
	return resolver->answer;
}
