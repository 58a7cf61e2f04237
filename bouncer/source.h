#ifndef BOUNCER_SOURCE_H
#define BOUNCER_SOURCE_H

/* A log that is followed: a file (tail.h), "journal" (the machine's, journal.h) or "journal:FOLDER". */

#include "bouncer/place.h"

struct source;

/* NULL, or why NAME is no source. */
const char *source_check(const char *name);

/* Follows NAME (one that source_check() takes; copied) behind PLACE, or from its start when it is NULL. UNIT as for
 * journal_open(). Never fails: the log may come later. */
struct source *source_open(const char *name, const char *unit, const struct place *place);
void source_close(struct source **source);

/* The next line without its end, a view until the next call; false when there is none now. */
bool source_next(struct source *source, struct text *line);
/* The place behind the last line. */
void source_place(struct source *source, struct place *out);
/* What was found to be missing since the last call, a word for log.gap; false: nothing. */
bool source_take_loss(struct source *source, struct tail_loss *out);
/* Bytes not yet read; 0 for the journal, which does not tell. */
uint64_t source_behind(struct source *source);
/* Lines that were too long and therefore cut (TAIL_LINE_MAX); 0 for the journal. */
uint64_t source_cut(const struct source *source);
/* Why it cannot be read just now, or NULL. */
const char *source_trouble(const struct source *source);
/* Readable when there may be lines; -1: poll. source_drain() makes it unreadable again, or leaves that to source_next(). */
int source_fd(struct source *source);
void source_drain(struct source *source);

#endif
