#ifndef BOUNCER_FOLLOW_H
#define BOUNCER_FOLLOW_H

/* The bouncer at work: tail, pipeline and store in one loop. */

#include <stdbool.h>

struct counters_options;
struct metrics;
struct rules;

struct follow_settings {
	const char *node, *log, *postgres;
	const char *spool;                    /* the event spools' folder; NULL: none */
	const struct counters_options *redis; /* for the takeover guard's facts */
	/* Waits for FD (-1: none) or a signal, at most TIMEOUT_MS; true: stop. */
	bool (*pause)(int fd, int timeout_ms);
	void (*ready)(void);
	struct metrics *metrics; /* follow_stats.h's; NULL: nothing is counted */
	/* New rules to judge by, owned by the taker, or NULL when there are none since the last call. */
	struct rules *(*take_rules)(void);
};

/* Runs until stopped; an exit status. */
int follow_run(const struct follow_settings *settings);

#endif
