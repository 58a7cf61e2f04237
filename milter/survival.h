#ifndef MILTER_SURVIVAL_H
#define MILTER_SURVIVAL_H

/* Will the signature still hold when the message arrives? What mail servers change on the way, found before signing: no
 * receiver would ever tell. A core: no I/O; the body is looked at as it comes.
 *
 *	NUL, bare CR or LF     replaced or refused by Postfix and others (RFC 5321 section 2.3.8)
 *	lines over 998 bytes   broken by Postfix's smtp_line_length_limit (RFC 5321 section 4.5.3.1.6)
 *	8-bit                  turned into quoted-printable for a server without 8BITMIME, or mangled when undeclared */

#include "common/text.h"

#include "milter/fields.h"

#define SURVIVAL_MAX_LINE 998

/* In the order of gravity. */
enum survival_problem {
	SURVIVAL_GOOD,
	SURVIVAL_EIGHT_BIT_BODY,   /* declared: 8BITMIME carries it where the next server has it */
	SURVIVAL_UNDECLARED_8BIT,  /* 8-bit bytes, and no Content-Transfer-Encoding that says so */
	SURVIVAL_EIGHT_BIT_HEADER, /* goes through only where SMTPUTF8 is spoken all the way */
	SURVIVAL_LONG_LINE,
	SURVIVAL_BARE_LF,
	SURVIVAL_BARE_CR,
	SURVIVAL_NUL,
	SURVIVAL_MAX
};

struct survival {
	enum survival_problem problem; /* the gravest so far */
	size_t problem_line;           /* of the body, from 1 */
	size_t line, length;           /* where the next byte goes: its line, and how many bytes that has */
	bool cr;                       /* the byte before was a CR */
};

void survival_begin(struct survival *survival);
/* The next bytes of the body. */
void survival_add(struct survival *survival, struct text bytes);

struct survival_finding {
	enum survival_problem problem;
	bool in_header;
	size_t line; /* of the body; or the number of the field in the header; from 1 */
};
/* The gravest problem of the whole message, once the body is complete. */
struct survival_finding survival_end(struct survival *survival, const struct fields *fields);
extern const char *const survival_ids[SURVIVAL_MAX + 1]; /* NULL-terminated */
/* "long-line", for logs; and what is wrong, in words that fit behind "Line 12 of the body ". */
const char *survival_id(enum survival_problem problem);
const char *survival_words(enum survival_problem problem);

#endif
