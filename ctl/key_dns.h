#ifndef CTL_KEY_DNS_H
#define CTL_KEY_DNS_H

/* Does DNS show a DKIM key, at every authoritative server? */

#include "ctl/authority.h"
#include "ctl/dkim_record.h"

enum key_dns {
	KEY_DNS_EVERYWHERE, /* each server shows this key */
	KEY_DNS_NOT_YET,    /* a server shows something else, or nothing */
	KEY_DNS_UNKNOWN,    /* the servers cannot be found, or one does not answer */
	KEY_DNS_MAX
};

struct key_dns_question {
	const char *domain, *selector;
	enum directory_key_algorithm algorithm;
	struct text public_key;
};

/* Appends to DETAIL what the servers show, for people; to RECORD (may be NULL) the text of the last one's record. */
enum key_dns key_dns_ask(const struct authority *authority, const struct key_dns_question *question,
			 struct buffer *detail, struct buffer *record);

#endif
