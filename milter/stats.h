#ifndef MILTER_STATS_H
#define MILTER_STATS_H

/* What waybill-milter counts for Prometheus. A core. */

#include "common/directory_record.h"
#include "common/metrics.h"

#include "milter/reply.h"
#include "milter/sampler.h"
#include "milter/survival.h"

enum stats_action {
	STATS_SIGNED,
	STATS_UNSIGNED,
	STATS_HELD,
	STATS_DEFERRED,
	STATS_REJECTED,
	STATS_IGNORED,
	STATS_ACTION_MAX
};
extern const char *const stats_action_names[STATS_ACTION_MAX + 1];

/* One message at its end. */
struct stats_message {
	enum stats_action action;
	enum reply_reason reason; /* REPLY_NONE: it was not refused */
	enum survival_problem problem;
	size_t signatures[DIRECTORY_ALGORITHM_MAX];
	int64_t took_us; /* from its end to the verdict */
};

/* metrics_free() them. */
struct metrics *stats_new(void);
/* METRICS may be NULL. Any thread. */
void stats_note(struct metrics *metrics, const struct stats_message *message);
/* One self-check. */
void stats_note_check(struct metrics *metrics, enum sampler_result result);

#endif
