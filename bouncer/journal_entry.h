#ifndef BOUNCER_JOURNAL_ENTRY_H
#define BOUNCER_JOURNAL_ENTRY_H

/* Entries of the systemd journal as "journalctl --output=export" writes them (systemd.io/JOURNAL_EXPORT_FORMATS): lines
 * "FIELD=text", or "FIELD", eight bytes of length (little-endian), so many bytes and a line end; an empty line ends an
 * entry. A core: it takes the stream in pieces as they come and keeps of it only what is asked for, whatever its size.
 *
 * A client of journald chooses its own fields, but none whose name begins with "_": those are journald's word and alone
 * are trusted (systemd.journal-fields(7)). */

#include "common/text.h"

enum journal_field {
	JOURNAL_CURSOR,
	JOURNAL_TIME, /* microseconds since 1970 */
	JOURNAL_HOST,
	JOURNAL_UNIT,
	JOURNAL_TRANSPORT,
	JOURNAL_UID,
	JOURNAL_PID,
	JOURNAL_IDENTIFIER, /* the client's word, as the message is */
	JOURNAL_MESSAGE,
	JOURNAL_FIELD_MAX
};
extern const struct text journal_fields[JOURNAL_FIELD_MAX]; /* their names */

/* Of one field; the rest is cut (bouncer/tail.h: TAIL_LINE_MAX). */
#define JOURNAL_FIELD_BYTES 16384
/* Longer than any name of ours. */
#define JOURNAL_NAME_BYTES 64

/* Zero-initialised it waits for the first entry. */
struct journal_entry {
	struct buffer field[JOURNAL_FIELD_MAX]; /* empty: not there */
	/* The rest is the reader's own. */
	enum { JOURNAL_IN_NAME, JOURNAL_IN_TEXT, JOURNAL_IN_SIZE, JOURNAL_IN_BYTES, JOURNAL_BEHIND_BYTES } state;
	char name[JOURNAL_NAME_BYTES];
	size_t name_len, size_len;
	enum journal_field current; /* JOURNAL_FIELD_MAX: one that is not wanted */
	uint64_t left;              /* of a field with a length */
	bool complete;
};

/* Takes bytes from *STREAM, moved over; true: an entry is complete, its fields stand there until the next call. */
bool journal_entry_next(struct journal_entry *entry, struct text *stream);
void journal_entry_free(struct journal_entry *entry);

/* Appends what a complete entry says as a line of syslog (RFC 3339 time, host, tag, message), without its end. False and
 * nothing appended: it is not Postfix's. It is when the name of the unit that wrote it begins with UNIT (empty: any), when
 * root wrote it (postsuper), or when journald speaks itself, of messages that it suppressed. */
bool journal_entry_line(const struct journal_entry *entry, struct text unit, struct buffer *out);

#endif
