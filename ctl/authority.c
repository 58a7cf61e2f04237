#include <string.h>

#include "common/addr.h"
#include "ctl/authority.h"

#define MAX_CNAMES 8 /* resolvers give up at about as many */

static enum resolver_answer follow_cnames(struct resolver *resolver, struct buffer *name)
{
	struct dns_records records = {0};
	enum resolver_answer answer = RESOLVER_FOUND;
	for (int i = 0; i < MAX_CNAMES && answer == RESOLVER_FOUND; i++) {
		answer = resolver_ask(resolver, buffer_view(name), DNS_CNAME, &records);
		if (answer == RESOLVER_FOUND) {
			name->len = 0;
			buffer_text(name, dns_record(&records, 0));
		}
	}
	dns_records_free(&records);
	return answer == RESOLVER_TROUBLE ? RESOLVER_TROUBLE : RESOLVER_FOUND;
}

/* The servers of the zone that holds NAME: those of the nearest parent that has any. */
static enum resolver_answer find_servers(struct resolver *resolver, struct text name, struct dns_records *servers)
{
	for (;;) {
		enum resolver_answer answer = resolver_ask(resolver, name, DNS_NS, servers);
		size_t dot = text_find(name, '.');
		if (answer == RESOLVER_FOUND || answer == RESOLVER_TROUBLE)
			return answer;
		if (dot == SIZE_MAX)
			return RESOLVER_NO_NAME;
		name = text_from(name, dot + 1);
	}
}

static enum resolver_answer ask_address(const struct authority *authority, struct text address, bool v6,
					struct text name, enum dns_type type, struct dns_records *out)
{
	struct buffer server = {0};
	buffer_format(&server, v6 ? "[%.*s]:%lld" : "%.*s:%lld", TEXT_ARG(address), (long long)authority->port);
	struct resolver *resolver = resolver_new(buffer_string(&server), false, authority->timeout_ms);
	enum resolver_answer answer = resolver_ask(resolver, name, type, out);
	resolver_free(&resolver);
	buffer_free(&server);
	return answer;
}

static enum resolver_answer ask_server(const struct authority *authority, struct text server, struct text name,
				       enum dns_type type, struct dns_records *out)
{
	struct dns_records addresses = {0};
	enum resolver_answer answer = RESOLVER_TROUBLE;
	for (int v6 = 0; v6 < 2 && answer == RESOLVER_TROUBLE; v6++) {
		resolver_ask(authority->resolver, server, v6 ? DNS_AAAA : DNS_A, &addresses);
		for (size_t i = 0; i < addresses.count && answer == RESOLVER_TROUBLE; i++)
			answer = ask_address(authority, dns_record(&addresses, i), v6, name, type, out);
	}
	dns_records_free(&addresses);
	return answer;
}

enum resolver_answer authority_ask(const struct authority *authority, struct text name, enum dns_type type,
				   authority_visit *visit, void *context)
{
	struct buffer end = {0};
	struct dns_records servers = {0};
	buffer_text(&end, name);
	enum resolver_answer answer = follow_cnames(authority->resolver, &end);
	if (answer == RESOLVER_FOUND)
		answer = find_servers(authority->resolver, buffer_view(&end), &servers);
	for (size_t i = 0; answer == RESOLVER_FOUND && i < servers.count && i < AUTHORITY_MAX_SERVERS; i++) {
		struct dns_records records = {0};
		enum resolver_answer shown =
			ask_server(authority, dns_record(&servers, i), buffer_view(&end), type, &records);
		visit(context, dns_record(&servers, i), shown, &records);
		dns_records_free(&records);
	}
	buffer_free(&end);
	dns_records_free(&servers);
	return answer;
}
