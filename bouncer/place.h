#ifndef BOUNCER_PLACE_H
#define BOUNCER_PLACE_H

/* A place in a followed file (tail.h) or in the journal (journal.h) as the JSON of waybill.log_positions, and back. */

#include "common/pg.h"

#include "bouncer/tail.h"

/* A cursor of journald has some 140 bytes; a longer one is no cursor. */
#define PLACE_CURSOR_SIZE 512

struct place {
	struct tail_position file;
	char cursor[PLACE_CURSOR_SIZE]; /* not empty: in the journal, and FILE means nothing */
};

/* Asks for the row of source $1; its first column is the last batch. */
extern const char place_query[];

/* The place of that query's first row; false when none was stored yet, or it cannot be read. */
bool place_read(const struct pg_result *result, struct place *out);

/* Appends PLACE as JSON. */
void place_print(const struct place *place, struct buffer *out);

#endif
