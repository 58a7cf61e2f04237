#ifndef BOUNCER_CLERK_H
#define BOUNCER_CLERK_H

/* The clerk keeps the outbox, on a thread of its own, so that a slow database never holds up a POST and a POST never a
 * database: it leases what is due, hands it over through the lanes, and records what became of it, in batches that grow
 * with the load. Woken by NOTIFY, by finished deliveries, and once a second.
 *
 * Everything below is called from one other thread, the loop's. */

#include "bouncer/lane.h"
#include "bouncer/outbox.h"

struct clerk;

struct clerk_settings {
	struct outbox_settings outbox;
	size_t concurrency, endpoint_concurrency; /* POSTs under way: in all, to one endpoint */
	size_t endpoint_held;                     /* events taken from the database at one time, of one endpoint */
	int64_t poll_ms;
	int64_t keep_ms; /* attempts and deliveries; older ones are forgotten */
};

/* Starts the thread. */
struct clerk *clerk_new(const struct clerk_settings *settings);
/* Readable when clerk_next() may have something new; clerk_woken() makes it unreadable again. */
int clerk_fd(const struct clerk *clerk);
void clerk_woken(struct clerk *clerk);
/* The next delivery to be posted now (ownership passes), or NULL. */
struct delivery *clerk_next(struct clerk *clerk);
/* Takes back a delivery from clerk_next(): posted and judged, or unused. */
void clerk_done(struct clerk *clerk, struct delivery *delivery);
/* Leases nothing more and gives back what waits; clerk_next() has nothing from now on. */
void clerk_stop(struct clerk *clerk);
/* How many are between clerk_next() and clerk_done(). */
size_t clerk_under_way(struct clerk *clerk);
/* Records what is left, as far as the database lets it now, and ends the thread. */
void clerk_free(struct clerk **clerk);

#endif
