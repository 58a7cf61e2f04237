#ifndef CTL_FOLLOW_H
#define CTL_FOLLOW_H

/* Keeping the snapshot (common/directory.h) what Postgres says.
 *
 * The position is the snapshot of Postgres's transactions (pg_current_snapshot()) that the file shows. Changes to apply
 * are the rows of waybill.changes that were not visible in it: none is missed, in whatever order transactions commit,
 * and none waits for a long transaction that has nothing to do with it. What changed is read, and the new position
 * taken, in one REPEATABLE READ transaction, so the file always shows one moment of the database.
 *
 * It is built anew, into a file of its own that takes the old one's place, when there is none that can be read, when it has
 * outgrown its map, when
 * the database is another one (another cluster, timeline, database or schema), when the position is older than the
 * changes that Postgres keeps, or when so much changed that reading everything is quicker. */

#include "common/directory_writer.h"
#include "common/pg.h"

#define FOLLOW_CHANNEL     "waybill_directory" /* NOTIFY wakes a follower before it would ask by itself */
#define FOLLOW_SLEEP_MAX_S (3 * 24 * 3600)     /* below the 7 days of waybill.prune_changes() */
#define FOLLOW_BUILD_AGE_S (30 * 24 * 3600)    /* waybill.zone_offsets() reaches 400 days ahead */
#define FOLLOW_BULK_MAX    100000              /* more changes at once than this: build anew */

struct follow;

enum follow_outcome {
	FOLLOW_SAME,    /* nothing to do */
	FOLLOW_APPLIED, /* changes were applied, or a snapshot built */
	FOLLOW_AWAY,    /* Postgres failed; the snapshot stands */
	FOLLOW_BROKEN,  /* the snapshot cannot be written; it stands too */
	FOLLOW_OUTCOME_MAX
};

/* NODE names this host in waybill.followers. PG and WRITER are the caller's. PATH is the snapshot's. */
struct follow *follow_new(struct pg *pg, struct directory_writer *writer, const char *path, const char *node);
void follow_free(struct follow **follow);
/* Brings the snapshot up to now. *WHY (static or until the next call) is set when AWAY or BROKEN. */
enum follow_outcome follow_step(struct follow *follow, const char **why);
/* What the last APPLIED did, for the log. */
struct follow_report {
	bool built;
	size_t entries;
	int64_t seq;
	const char *reason; /* of a build */
};
struct follow_report follow_report(const struct follow *follow);
/* Tells Postgres where this node is, and prunes old changes; now and then. */
void follow_sign_of_life(struct follow *follow);

#endif
