#ifndef BOUNCER_REPORT_HANDLE_H
#define BOUNCER_REPORT_HANDLE_H

/* One mail that came back, to the database: what it says, whether it is about a message of ours, whom it is about, the
 * events. Logs what became of it. */

#include "common/pg.h"

#include "bouncer/report_origin.h"

struct rules;

struct report_settings {
	struct report_keys keys;
	struct pg *pg;
	/* The rules that bounces are judged by; asked for at most once. */
	struct rules *(*rules)(void);
};

/* MAIL came for the envelope recipients ADDRESSES, of which one has the token; without pieces it could not be read. 0: done. -1: not now (the database is away, or
 * the log of the message is not read to its end); nothing is lost when the same mail comes again. */
int report_handle(const struct report_settings *settings, const struct report_mail *mail, const char *const *addresses,
		  size_t count);

#endif
