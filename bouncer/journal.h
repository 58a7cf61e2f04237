#ifndef BOUNCER_JOURNAL_H
#define BOUNCER_JOURNAL_H

/* Follows the systemd journal through a child, journalctl(1), started again with growing pauses when it ends. A place in
 * the journal is a cursor; whether its entry is still there is seen by reading that entry once more. */

#include "common/text.h"

struct journal;

/* FOLDER: of the journal's files; NULL: the machine's own. UNIT as for journal_entry_line(). CURSOR: the entry to go on
 * behind; empty: from the journal's start. All are copied. Never fails: journalctl may come later. */
struct journal *journal_open(const char *folder, const char *unit, const char *cursor);
void journal_close(struct journal **journal);

/* The next entry's line, a view until the next call; an entry that is not Postfix's gives an empty one. False: none now. */
bool journal_next(struct journal *journal, struct text *line);
/* Of the last entry taken; valid until the next journal_next(). */
const char *journal_cursor(struct journal *journal);
/* Was the entry at the cursor gone since the last call? Then nobody knows what else is. */
bool journal_take_loss(struct journal *journal);
/* Why journalctl does not run just now, or NULL. */
const char *journal_trouble(const struct journal *journal);
/* Readable when there may be entries; -1: journalctl does not run, poll. */
int journal_fd(const struct journal *journal);

#endif
