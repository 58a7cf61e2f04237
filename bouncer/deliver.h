#ifndef BOUNCER_DELIVER_H
#define BOUNCER_DELIVER_H

/* What becomes of a delivery: from the clerk, signed and posted, judged, back to the clerk. */

#include "bouncer/clerk.h"

struct event_base;
struct guard_policy;
struct deliver;

struct deliver_settings {
	struct event_base *loop;
	struct guard_policy *policy;
	const char *ca_file;
	int64_t connect_ms;
	struct metrics *metrics; /* webhook_stats_new() */
	struct clerk_settings clerk;
};

struct deliver *deliver_new(const struct deliver_settings *settings);
/* Begins nothing more; when what is under way has ended, the loop ends. */
void deliver_stop(struct deliver *deliver);
void deliver_free(struct deliver **deliver);

#endif
