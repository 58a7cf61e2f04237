#ifndef BOUNCER_STORE_H
#define BOUNCER_STORE_H

/* Events into Postgres, with the place in the log and the open messages, in one transaction a batch: after a crash of
 * anything, either all of a batch stands there or nothing of it, and reading goes on exactly behind it. */

#include "common/pg.h"

#include "bouncer/event.h"
#include "bouncer/place.h"
#include "bouncer/track.h"

struct store;

/* SOURCE names the log among all nodes' logs. CONNINFO and SOURCE are copied. */
struct store *store_new(const char *conninfo, const char *source);
void store_free(struct store **store);

/* Reads where to go on: *FOUND and *PLACE, and the open messages into TRACK. PG_RETRY: not now. */
enum pg_status store_load(struct store *store, struct track *track, bool *found, struct place *place);
/* Makes partitions for yesterday and the days to come. */
enum pg_status store_partitions(struct store *store);

/* Adds to the open batch; everything is copied. */
void store_event(struct store *store, const struct event *event);
void store_unparsed(struct store *store, struct text line, const char *why);
/* Events in the open batch, and bytes that they take. */
size_t store_events(const struct store *store);
size_t store_bytes(const struct store *store);

/* Closes the open batch, and opens the next: takes TRACK's changes and the PLACE in the log behind its last line. LOG_TIME_US
 * is that line's. The closed batch before it is committed by then. */
void store_seal(struct store *store, struct track *track, const struct place *place, int64_t log_time_us,
		uint64_t behind);
/* Sends the closed batch, if that is possible now, and does not wait: the open one may be filled meanwhile. */
void store_send(struct store *store);
/* Commits the closed batch, sent or not. PG_OK: that is done. PG_RETRY: nothing happened or nobody knows, call again; the
 * same batch is never stored twice. PG_FAILED: another bouncer follows the source. A row that Postgres refuses is put
 * among the dead letters, and counted by store_dead(). */
enum pg_status store_commit(struct store *store);
uint64_t store_dead(const struct store *store);

/* Why the last call did not go well. */
const char *store_error(const struct store *store);

#endif
