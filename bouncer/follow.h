#ifndef BOUNCER_FOLLOW_H
#define BOUNCER_FOLLOW_H

/* The bouncer at work: tail, pipeline and store in one loop. */

#include <stdbool.h>

struct follow_settings {
	const char *node, *log, *postgres;
	/* Waits for FD (-1: none) or a signal, at most TIMEOUT_MS; true: stop. */
	bool (*pause)(int fd, int timeout_ms);
	void (*ready)(void);
};

/* Runs until stopped; an exit status. */
int follow_run(const struct follow_settings *settings);

#endif
