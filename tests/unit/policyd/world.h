#ifndef TESTS_POLICYD_WORLD_H
#define TESTS_POLICYD_WORLD_H

/* The little world in which a policy file's questions are asked: a real directory snapshot made from its lines, and
 * counters that are common/limit.c itself, at the file's own time of day. world.c also stands in for the log. */

#include "common/counters_async.h"
#include "common/directory.h"

struct world;

struct world *world_new(void);
void world_free(struct world **world);

/* Takes one line of description; NULL, or what is wrong with it. The lines: tests/golden/policyd/README. */
const char *world_line(struct world *world, const char *line);

/* What the service needs. The snapshot is written first, when lines have changed it. */
struct directory *world_directory(struct world *world);
struct counters_async *world_counters(struct world *world);
int64_t world_now_s(void);
/* The last line that was logged. */
const char *world_log(void);

#endif
