#ifndef CTL_DNS_ANSWER_H
#define CTL_DNS_ANSWER_H

/* The answer section of a DNS message (RFC 1035 section 4), written as text. A core: strangers' bytes in, records out. */

#include "common/text.h"

enum dns_type { DNS_A = 1, DNS_NS = 2, DNS_CNAME = 5, DNS_PTR = 12, DNS_MX = 15, DNS_TXT = 16, DNS_AAAA = 28 };

/* Records as text: an address, a name in lower case without its last dot, "10 mx.example.com", or a TXT's strings joined
 * (any byte). */
#define DNS_MAX_RECORDS 64
struct dns_records {
	struct buffer items[DNS_MAX_RECORDS];
	size_t count;
};

/* Appends the records of TYPE to OUT, in the answer's order. NULL, or why the message is damaged. */
const char *dns_answer_parse(struct text message, enum dns_type type, struct dns_records *out);
void dns_records_free(struct dns_records *records);
/* A record's text. */
struct text dns_record(const struct dns_records *records, size_t i);

#endif
