#ifndef BOUNCER_SPOOLS_H
#define BOUNCER_SPOOLS_H

/* The event spools of policyd and milter (common/spool.h) on their way into Postgres: tag and metadata of messages, and
 * limit.warning, credential.* and domain.* as events (schema/0002_events.sql). Each spool is a source of its own with its
 * place, stored with what was read of it in one transaction. What the milter knows of a message stands in its spool before
 * Postfix logs that it is queued, so whoever takes the spools before it stores events finds every tag. */

#include "common/pg.h"

struct spools;

/* NODE and FOLDER as in [common]; all three are copied. Nothing is connected yet. */
struct spools *spools_new(const char *conninfo, const char *node, const char *folder);
void spools_free(struct spools **spools);

/* Stores what the spools hold now. PG_OK: all of it. PG_RETRY: not now; the same again with the next call, never stored
 * twice. PG_FAILED: another bouncer follows the same node's spools. */
enum pg_status spools_take(struct spools *spools);

/* Why the last call did not go well. */
const char *spools_error(const struct spools *spools);

#endif
