#ifndef MILTER_SIGNATURE_H
#define MILTER_SIGNATURE_H

/* The text of a DKIM-Signature field (RFC 6376 section 3.5). A core: the caller hashes and signs.
 *
 * There is never an l= tag (a signature that leaves an end of the body open lets anybody append to it) nor an i= tag;
 * b= comes last, so that the signed text is what signature_begin() wrote. */

#include "common/directory_record.h"
#include "common/text.h"

#define SIGNATURE_FIELD "DKIM-Signature"
/* The words of the a= tag, indexed by enum directory_key_algorithm. */
extern const char *const signature_algorithms[DIRECTORY_ALGORITHM_MAX];

struct signature {
	enum directory_key_algorithm algorithm;
	struct text domain, selector;
	struct text names;             /* h=, from fields_select() */
	struct text body_hash;         /* base64 of the SHA-256 of the canonical body */
	int64_t signed_at, expires_at; /* seconds since 1970: t=, x=; 0: without x= */
};

/* Appends the field's value up to an empty b=, folded with LF and TAB to lines of 76 columns where the tags allow it. */
void signature_begin(const struct signature *signature, struct buffer *out);
/* Appends to CANON what is signed after the fields of the message: the canonical DKIM-Signature field with an empty
 * b=, without CRLF (section 3.7). VALUE is what signature_begin() wrote. */
void signature_canon(struct text value, struct buffer *canon);
/* Appends the value of b=, BASE64, folded. */
void signature_end(struct text base64, struct buffer *out);

#endif
