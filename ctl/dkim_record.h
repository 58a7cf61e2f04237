#ifndef CTL_DKIM_RECORD_H
#define CTL_DKIM_RECORD_H

/* DKIM keys as DNS shows them (RFC 6376 section 3.6.1, RFC 8463 section 4.2). A core: no I/O, no clock. */

#include "common/directory_record.h"

/* "rsa-sha256", "ed25519-sha256": the words of waybill.dkim_keys. */
extern const char *const dkim_algorithm_names[DIRECTORY_ALGORITHM_MAX];

/* The selector for keys made in this month (1 to 12): "s2026q4", for the NTH (from 0) of that quarter "s2026q4b", "c",
 * …; an Ed25519 key has "e" before that letter: "s2026q4e", "s2026q4eb". */
#define DKIM_SELECTOR_SIZE 32
void dkim_selector(int year, int month, enum directory_key_algorithm algorithm, unsigned nth,
		   char out[DKIM_SELECTOR_SIZE]);

/* The two slots of mode cname, used in turn: "wb1" and "wb2" ("wb1e", "wb2e" for Ed25519). */
void dkim_slot(unsigned slot, enum directory_key_algorithm algorithm, char out[DKIM_SELECTOR_SIZE]);

/* The record's text: "v=DKIM1; k=rsa; p=…". An empty PUBLIC_KEY says that the key is revoked. */
void dkim_record_text(enum directory_key_algorithm algorithm, struct text public_key, struct buffer *out);

/* What a key's record in DNS says about the key. */
enum dkim_shown {
	DKIM_SHOWN,     /* this key */
	DKIM_MISSING,   /* nothing */
	DKIM_OTHER,     /* another key, or an algorithm that does not fit */
	DKIM_REVOKED,   /* an empty p= */
	DKIM_MALFORMED, /* no DKIM key record (RFC 6376 section 3.6.1) */
	DKIM_SEVERAL,   /* more than one record: undefined for verifiers */
	DKIM_SHOWN_MAX
};
/* RECORD is one TXT, its strings joined. */
enum dkim_shown dkim_record_compare(struct text record, enum directory_key_algorithm algorithm, struct text public_key);
/* "no record", "another key", …: what a person reads. */
extern const char *const dkim_shown_texts[DKIM_SHOWN_MAX];
/* The value of a tag in a tag list (RFC 6376 section 3.2), as "p" in "v=DKIM1; p=…"; false when it is not there. */
bool dkim_tag(struct text list, struct text tag, struct text *value);

/* One record as a line of a zone file (RFC 1035 section 5.1), with a newline. A TXT's VALUE is cut into strings of at
 * most 255 bytes. NAME and a CNAME's VALUE are absolute, without the last dot. */
void dkim_zone_line(struct text name, struct text type, struct text value, struct buffer *out);
/* Takes the next string of a TXT's value; false at the end. */
bool dkim_string_next(struct text *value, struct text *string);

#endif
