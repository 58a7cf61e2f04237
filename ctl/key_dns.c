#include "ctl/key_dns.h"

struct look {
	const struct key_dns_question *question;
	struct buffer *detail, *record;
	size_t servers, showing, silent;
};

static void look_at(void *context, struct text server, enum resolver_answer answer, const struct dns_records *records)
{
	struct look *look = context;
	enum dkim_shown shown = DKIM_MISSING;
	look->servers++;
	if (answer == RESOLVER_FOUND)
		shown = records->count > 1 ? DKIM_SEVERAL
					   : dkim_record_compare(dns_record(records, 0), look->question->algorithm,
								 look->question->public_key);
	if (answer == RESOLVER_FOUND && look->record) {
		look->record->len = 0;
		buffer_text(look->record, dns_record(records, 0));
	}
	look->silent += answer == RESOLVER_TROUBLE;
	look->showing += answer == RESOLVER_FOUND && shown == DKIM_SHOWN;
	if (shown == DKIM_SHOWN)
		return;
	buffer_format(look->detail, "%s%.*s %s%s", look->detail->len ? "; " : "", TEXT_ARG(server),
		      answer == RESOLVER_TROUBLE ? "" : "shows ",
		      answer == RESOLVER_TROUBLE ? "does not answer" : dkim_shown_texts[shown]);
}

enum key_dns key_dns_ask(const struct authority *authority, const struct key_dns_question *question,
			 struct buffer *detail, struct buffer *record)
{
	struct look look = {.question = question, .detail = detail, .record = record};
	struct buffer name = {0};
	buffer_format(&name, "%s._domainkey.%s", question->selector, question->domain);
	enum resolver_answer found = authority_ask(authority, buffer_view(&name), DNS_TXT, look_at, &look);
	buffer_free(&name);
	if (found != RESOLVER_FOUND || !look.servers) {
		buffer_text(detail, TEXT("the authoritative servers cannot be found"));
		return KEY_DNS_UNKNOWN;
	}
	if (look.showing == look.servers) {
		buffer_format(detail, "%zu of %zu servers show it", look.showing, look.servers);
		return KEY_DNS_EVERYWHERE;
	}
	return look.showing + look.silent == look.servers ? KEY_DNS_UNKNOWN : KEY_DNS_NOT_YET;
}
