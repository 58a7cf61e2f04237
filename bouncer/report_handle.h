#ifndef BOUNCER_REPORT_HANDLE_H
#define BOUNCER_REPORT_HANDLE_H

/* One mail that came back, from its bytes to the database: read it, verify where it comes from, find the message that it
 * is about, store the events. Logs what became of it. */

#include "common/pg.h"

#include "bouncer/report_origin.h"

struct rules;

struct report_settings {
	struct report_keys keys;
	struct pg *pg;
	/* The rules that bounces are judged by; asked for at most once. */
	struct rules *(*rules)(void);
};

/* RAW came for the envelope recipients ADDRESS, of which one has the token. 0: done. -1: not now (the database is away, or
 * the log of the message is not read to its end); nothing is lost when the same mail comes again. */
int report_handle(const struct report_settings *settings, struct text raw, const char *const *addresses, size_t count);

#endif
