#ifndef CTL_NOTICE_H
#define CTL_NOTICE_H

/* The mail that tells of endpoints in trouble. A core: the template, and nothing that sends. */

#include "common/text.h"

/* One endpoint's trouble. */
struct notice {
	struct text customer, endpoint, url;
	struct text type;   /* webhook.endpoint.failing or .disabled */
	struct text reason; /* of being disabled; empty */
	struct text since;  /* as people read it; empty: not known */
	int64_t failures;   /* in a row */
};

struct notice_mail {
	struct text from, to;   /* addresses */
	struct text date;       /* RFC 5322 section 3.3 */
	struct text message_id; /* without angle brackets */
};

/* Appends the mail about COUNT notices (one at least) to OUT: header and body, lines ending in \n as sendmail(1) reads
 * them. Of a URL what follows "?" is left out: it may hold a secret, and mail travels openly. */
void notice_compose(const struct notice_mail *mail, const struct notice *notices, size_t count, struct buffer *out);

#endif
