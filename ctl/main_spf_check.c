/* waybill-spf-check: one SPF evaluation (RFC 7208) by libspf2, in a process of its own, because that library has a history of
 * memory errors in what strangers publish. It holds no secret, may write nothing, and ends after one answer.
 *
 *	waybill-spf-check RESOLVER TIMEOUT_MS ADDRESS DOMAIN      RESOLVER "" is the system's
 *
 * Prints "RESULT LOOKUPS VOID REASON": a result of RFC 7208 section 2.6, the DNS lookups that its section 4.6.4 counts,
 * those without an answer, and libspf2's first message. */

#include <netdb.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sysexits.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <spf2/spf.h>
#include <spf2/spf_dns_rr.h>

#include "ctl/resolver.h"

#define LIFE_S     20
#define CPU_S      5
#define MEMORY_MAX ((rlim_t)256 << 20)

/* What libspf2's DNS layer hangs on. */
struct dns {
	struct resolver *resolver;
	unsigned lookups, empty;
	bool record_seen, trouble;
	struct dns_records hosts; /* of the last MX: their addresses do not count again */
};

static void limit(int what, rlim_t most)
{
	const struct rlimit both = {most, most};
	setrlimit(what, &both);
}

static void confine(void)
{
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	limit(RLIMIT_CORE, 0);
	limit(RLIMIT_FSIZE, 0);
	limit(RLIMIT_NPROC, 0);
	limit(RLIMIT_CPU, CPU_S);
#ifndef __SANITIZE_ADDRESS__
	limit(RLIMIT_AS, MEMORY_MAX);
#endif
	alarm(LIFE_S);
}

static bool is_mx_host(const struct dns *dns, const char *name)
{
	for (size_t i = 0; i < dns->hosts.count; i++) {
		struct text host = dns_record(&dns->hosts, i);
		size_t space = text_find(host, ' ');
		if (text_equal_fold(text_from(host, space + 1), text_of(name)))
			return true;
	}
	return false;
}

/* RFC 7208 section 4.6.4: include, a, mx, ptr, exists and redirect count one each; the first record does not, nor do the
 * addresses of an mx. */
static void count_lookup(struct dns *dns, const char *name, ns_type type, enum resolver_answer answer)
{
	bool first = type == ns_t_txt && !dns->record_seen;
	bool address = type == ns_t_a || type == ns_t_aaaa;
	dns->record_seen = dns->record_seen || type == ns_t_txt;
	dns->trouble = dns->trouble || answer == RESOLVER_TROUBLE;
	if (first)
		return;
	if (!address || !is_mx_host(dns, name))
		dns->lookups++;
	if (answer == RESOLVER_NO_DATA || answer == RESOLVER_NO_NAME)
		dns->empty++;
}

static void add_text(SPF_dns_rr_t *rr, struct text value)
{
	if (SPF_dns_rr_buf_realloc(rr, rr->num_rr, value.len + 1) != SPF_E_SUCCESS)
		return;
	text_put(value, rr->rr[rr->num_rr]->txt, value.len + 1);
	rr->num_rr++;
}

static void add_address(SPF_dns_rr_t *rr, int family, struct text value)
{
	char text[64];
	text_put(value, text, sizeof(text));
	if (SPF_dns_rr_buf_realloc(rr, rr->num_rr, sizeof(SPF_dns_rr_data_t)) != SPF_E_SUCCESS)
		return;
	if (inet_pton(family, text,
		      family == AF_INET ? (void *)&rr->rr[rr->num_rr]->a : (void *)&rr->rr[rr->num_rr]->aaaa) == 1)
		rr->num_rr++;
}

static void fill(SPF_dns_rr_t *rr, ns_type type, const struct dns_records *records)
{
	for (size_t i = 0; i < records->count; i++) {
		struct text value = dns_record(records, i);
		if (type == ns_t_a || type == ns_t_aaaa)
			add_address(rr, type == ns_t_a ? AF_INET : AF_INET6, value);
		else if (type == ns_t_mx)
			add_text(rr, text_from(value, text_find(value, ' ') + 1));
		else
			add_text(rr, value);
	}
}

static SPF_dns_rr_t *look_up(SPF_dns_server_t *server, const char *name, ns_type type, int cache)
{
	static const SPF_dns_stat_t codes[RESOLVER_ANSWER_MAX] = {NETDB_SUCCESS, NO_DATA, HOST_NOT_FOUND, TRY_AGAIN};
	struct dns *dns = server->hook;
	struct dns_records records = {0};
	(void)cache;
	/* The old type SPF (99) is historic: RFC 7208 section 3.1. */
	if (type != ns_t_a && type != ns_t_aaaa && type != ns_t_mx && type != ns_t_txt && type != ns_t_ptr)
		return SPF_dns_rr_new_init(server, name, type, 0, NO_DATA);
	enum resolver_answer answer = resolver_ask(dns->resolver, text_of(name), (enum dns_type)type, &records);
	count_lookup(dns, name, type, answer);
	SPF_dns_rr_t *rr = SPF_dns_rr_new_init(server, name, type, 0, codes[answer]);
	if (rr && answer == RESOLVER_FOUND)
		fill(rr, type, &records);
	if (type == ns_t_mx) {
		dns_records_free(&dns->hosts);
		dns->hosts = records;
	} else {
		dns_records_free(&records);
	}
	return rr;
}

static const char *evaluate(SPF_server_t *server, const char *address, const char *domain, char *reason, size_t size)
{
	SPF_request_t *request = SPF_request_new(server);
	SPF_response_t *response = NULL;
	struct buffer sender = {0};
	const char *result = "temperror";
	buffer_format(&sender, "postmaster@%s", domain);
	bool v6 = strchr(address, ':') != NULL;
	if ((v6 ? SPF_request_set_ipv6_str(request, address) : SPF_request_set_ipv4_str(request, address)) ==
		    SPF_E_SUCCESS &&
	    SPF_request_set_env_from(request, buffer_string(&sender)) >= 0) {
		SPF_request_query_mailfrom(request, &response);
		result = response ? SPF_strresult(SPF_response_result(response)) : "permerror";
	}
	if (response && SPF_response_messages(response) > 0)
		snprintf(reason, size, "%s", SPF_error_message(SPF_response_message(response, 0)));
	if (response)
		SPF_response_free(response);
	SPF_request_free(request);
	buffer_free(&sender);
	return result;
}

int main(int argc, char **argv)
{
	char reason[256] = "";
	if (argc != 5) {
		fputs("usage: waybill-spf-check RESOLVER TIMEOUT_MS ADDRESS DOMAIN\n", stderr);
		return EX_USAGE;
	}
	confine();
	struct dns dns = {.resolver = resolver_new(*argv[1] ? argv[1] : NULL, true, strtol(argv[2], NULL, 10))};
	SPF_dns_server_t layer = {.lookup = look_up, .name = "waybill", .hook = &dns};
	SPF_server_t *server = SPF_server_new_dns(&layer, 0);
	if (!server)
		return EX_SOFTWARE;
	const char *result = evaluate(server, argv[3], argv[4], reason, sizeof(reason));
	printf("%s %u %u %s\n", dns.trouble ? "temperror" : result, dns.lookups, dns.empty, reason);
	fflush(stdout);
	SPF_server_free(server);
	dns_records_free(&dns.hosts);
	resolver_free(&dns.resolver);
	return 0;
}
