#ifndef MILTER_COMPLETE_H
#define MILTER_COMPLETE_H

/* What is added to a message before it is signed: fields that somebody on the way would add later and so break the
 * signature, and fields that tell receivers where complaints go. A core: no I/O, time and randomness are arguments. */

#include "common/text.h"

#include "milter/fields.h"

struct complete_options {
	bool fix;                     /* add Date, Message-ID, MIME-Version where they are missing */
	struct text feedback;         /* last part of Feedback-ID, the name of this sender; empty: none is added */
	struct text cfbl;             /* address of CFBL-Address (RFC 9477); empty: none is added */
	struct text unsubscribe_host; /* of the address in List-Unsubscribe; empty: there is none beside the URL */
};

struct complete_facts {
	int64_t now_s;
	struct text queue_id, random; /* RANDOM: letters and digits that nobody else has */
	struct text domain;           /* of header From */
	struct text customer, login;
	struct text list_unsubscribe; /* the customer's template of an https URL; empty: no List-Unsubscribe is added */
	/* Names message and recipient: stands in it for "{token}", and as CFBL-Feedback-ID. Empty: nobody can be named, such
	 * a template is left. */
	struct text token;
};

/* Adds to FIELDS, and names in ADDED as well, what is missing there. */
void complete(struct fields *fields, const struct complete_options *options, const struct complete_facts *facts,
	      struct fields *added);
/* "Sat, 21 Nov 2026 10:00:00 +0000" (RFC 5322 section 3.3); OUT has COMPLETE_DATE_SIZE bytes. */
#define COMPLETE_DATE_SIZE 40
void complete_date(int64_t now_s, char *out);

#endif
