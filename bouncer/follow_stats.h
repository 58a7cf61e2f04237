#ifndef BOUNCER_FOLLOW_STATS_H
#define BOUNCER_FOLLOW_STATS_H

/* What the bouncer tells Prometheus. A core: the place in the table is the metric's name (common/metrics.h). */

#include "common/metrics.h"

#include "bouncer/pipeline.h"

enum follow_metric {
	FOLLOW_LINES, /* by enum follow_lines */
	FOLLOW_CUT,
	FOLLOW_EVENTS, /* by enum event_type */
	FOLLOW_BATCHES,
	FOLLOW_DEAD_LETTERS,
	FOLLOW_POSTGRES_AWAY,
	FOLLOW_UNRECONCILED,
	FOLLOW_BAD_MAILBOXES, /* by enum bad_mailboxes_fate */
	FOLLOW_OPEN_MESSAGES,
	FOLLOW_BEHIND,
	FOLLOW_LOG_TIME,
	FOLLOW_METRIC_MAX
};
enum follow_lines { LINES_TAKEN, LINES_OTHER, LINES_UNPARSED, FOLLOW_LINES_MAX };

enum bad_mailboxes_fate { BAD_MAILBOXES_TOLD, BAD_MAILBOXES_UNTOLD, BAD_MAILBOXES_MAX };

struct metrics *follow_stats_new(void);

/* Adds what was counted between BEFORE and NOW. METRICS may be NULL. */
void follow_stats_count(struct metrics *metrics, const struct pipeline_counts *before,
			const struct pipeline_counts *now);

#endif
