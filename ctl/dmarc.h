#ifndef CTL_DMARC_H
#define CTL_DMARC_H

/* DMARC records (RFC 7489 section 6.3) and alignment. A core. */

#include "common/text.h"

enum dmarc_policy { DMARC_NONE, DMARC_QUARANTINE, DMARC_REJECT, DMARC_POLICY_MAX };
extern const char *const dmarc_policy_names[DMARC_POLICY_MAX];

struct dmarc {
	enum dmarc_policy policy, subdomains;
	bool strict_dkim, strict_spf, reports; /* adkim=s, aspf=s, rua= is there */
	bool public_suffix;                    /* psd=y: what stands below it are organisations */
	bool organisation;                     /* psd=n: this is the organisational domain, look no higher */
	uint64_t percent;
};

/* Does the text begin as a DMARC record? */
bool dmarc_is_record(struct text record);
/* NULL and *OUT, or what is wrong. */
const char *dmarc_parse(struct text record, struct dmarc *out);
/* Are two domains aligned: equal, or, unless STRICT, of one organisational domain? */
bool dmarc_aligned(struct text a, struct text a_organisation, struct text b, struct text b_organisation, bool strict);
/* What a domain owner does next, and when; "" when nothing is left. */
const char *dmarc_next_step(const struct dmarc *dmarc);

#endif
