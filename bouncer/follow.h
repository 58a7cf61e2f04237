#ifndef BOUNCER_FOLLOW_H
#define BOUNCER_FOLLOW_H

/* The bouncer at work: sources, pipelines and stores in one loop. Each source has a tracker and a place of its own, so that
 * one that is behind holds up no other; what one log says of a message, another does not complete. */

#include <stdbool.h>
#include <stddef.h>

struct counters_options;
struct metrics;
struct rules;

#define FOLLOW_SOURCES_MAX 16

struct follow_settings {
	const char *node, *postgres;
	const char *const *logs; /* names of sources (source.h) */
	size_t log_count;        /* at most FOLLOW_SOURCES_MAX */
	const char *journal_unit;
	const char *spool;                    /* the event spools' folder; NULL: none */
	const struct counters_options *redis; /* for the takeover guard's facts */
	/* Waits for one of FDS (-1: none) or a signal, at most TIMEOUT_MS; true: stop. */
	bool (*pause)(const int *fds, size_t count, int timeout_ms);
	void (*ready)(void);
	struct metrics *metrics; /* follow_stats.h's; NULL: nothing is counted */
	/* New rules to judge by, owned by the taker, or NULL when there are none since the last call. */
	struct rules *(*take_rules)(void);
};

/* Runs until stopped; an exit status. */
int follow_run(const struct follow_settings *settings);

#endif
