#ifndef BOUNCER_PLACE_H
#define BOUNCER_PLACE_H

/* A place in a followed file (tail.h) as the JSON of waybill.log_positions, and back. */

#include "common/pg.h"

#include "bouncer/tail.h"

/* Asks for the row of source $1; its first column is the last batch. */
extern const char place_query[];

/* The place of that query's first row; false when none was stored yet, or it cannot be read. */
bool place_read(const struct pg_result *result, struct tail_position *out);

/* Appends POSITION as JSON. */
void place_print(const struct tail_position *position, struct buffer *out);

#endif
