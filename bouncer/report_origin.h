#ifndef BOUNCER_REPORT_ORIGIN_H
#define BOUNCER_REPORT_ORIGIN_H

/* Which message of ours a report is about, by a token that nobody else can make (common/return_path.h). Bounces and
 * answers prove it by the address that they came to; a feedback report, which goes to an address that everybody knows,
 * by a token within what it returns. */

#include "common/return_path.h"

#include "bouncer/report_mail.h"

struct report_keys {
	struct text key[8]; /* whichever made the token */
	size_t count;
	struct text host; /* of return paths */
};

struct report_origin {
	struct return_path path;
	bool unsubscribes; /* it came to u+TOKEN@HOST, the address of List-Unsubscribe */
};

/* The envelope recipient b+TOKEN@HOST or u+TOKEN@HOST. NULL and *OUT, or why it is none of ours. */
const char *report_origin_of_address(const struct report_keys *keys, struct text address, struct report_origin *out);

/* A token anywhere in the fields of a feedback report or in the header of what it returns: Return-Path, List-Unsubscribe,
 * Original-Mail-From. NULL and *OUT, or why there is none. */
const char *report_origin_within(const struct report_keys *keys, const struct report_mail *mail,
				 struct report_origin *out);

#endif
