#ifndef MILTER_FIELDS_H
#define MILTER_FIELDS_H

/* The header fields of one message, and which of them a signature covers. A core: no I/O. */

#include "common/directory_record.h"
#include "common/text.h"

/* Beyond these a header is refused as too large: Postfix's header_size_limit is 102400 by default; ten times that leaves
 * room for sites that raised it. */
#define FIELDS_MAX_BYTES ((size_t)1024 * 1024)
#define FIELDS_MAX_COUNT 10000

struct field {
	size_t name, name_len; /* offset into bytes, length */
	size_t value, value_len;
	int known; /* row in the table of signed names, or -1 */
	bool replaced;
};

struct fields {
	struct buffer bytes;
	struct field *list;
	size_t count, room;
	size_t unused; /* of bytes: values that were replaced */
};

/* Forgets the fields, keeps the memory for the next message. */
void fields_clear(struct fields *fields);
void fields_free(struct fields *fields);
/* Adds the next field in the order of the message; both texts are copied. False when a maximum is reached. */
bool fields_add(struct fields *fields, struct text name, struct text value);
/* Gives field number I another VALUE, which is copied. False, and nothing changes, when a maximum is reached. */
bool fields_replace(struct fields *fields, size_t i, struct text value);
bool fields_is_replaced(const struct fields *fields, size_t i);
/* Field number I; views that hold until the next change. */
struct text fields_name(const struct fields *fields, size_t i);
struct text fields_value(const struct fields *fields, size_t i);
/* How many fields are called NAME; *FIRST, unless none, is the number of the first one. FIRST may be NULL. */
size_t fields_find(const struct fields *fields, struct text name, size_t *first);
/* The number of field I among those of its name, from 1: how the milter protocol names a field. */
size_t fields_number(const struct fields *fields, size_t i);
/* The size of the header on the wire: names, ": ", values, CRLF. */
size_t fields_size(const struct fields *fields);

/* Chooses what to sign. Appends to NAMES the h= tag's value without white space ("from:from:to:…") and to CANON the
 * fields it names, in its order, canonical, each with CRLF. Several fields of one name are taken from the bottom up
 * (RFC 6376 section 5.4.2); a name that stands once more than there are fields protects against adding one (section
 * 8.15).
 *	strict         always over-signs from, to, cc, subject, date, reply-to; what else describes the content, when
 *	               it is there
 *	list-friendly  over-signs from, subject, date, to only, so that a mailing list may add its own fields
 * Sender, List-* and Resent-* are signed where they are and never over-signed. */
void fields_select(const struct fields *fields, enum directory_header_profile profile, struct buffer *names,
		   struct buffer *canon);

#endif
