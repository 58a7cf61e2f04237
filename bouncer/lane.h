#ifndef BOUNCER_LANE_H
#define BOUNCER_LANE_H

/* Fairness: each endpoint has a lane of its own, and lanes take turns. What may be under way in a lane begins with one,
 * doubles with each success and is one again after a failure: so many endpoints that hang hold a place each, not all of
 * them, and delay nobody. A core; not thread-safe. */

#include "bouncer/delivery.h"

struct lanes;

/* At most TOTAL under way, at most EACH of them in one lane. A lane that fails FAILURES times in a row gives up what
 * waits in it: see lanes_done(). */
struct lanes *lanes_new(size_t total, size_t each, size_t failures);
/* Frees what still waits, too. */
void lanes_free(struct lanes **lanes);

void lanes_add(struct lanes *lanes, struct delivery *delivery);
/* The delivery whose turn it is, now under way; NULL when nothing waits or nothing more may be under way. */
struct delivery *lanes_next(struct lanes *lanes);
/* DELIVERY is no longer under way; OK says how it went. When its lane has failed too often in a row, or PAUSE is set
 * (the endpoint asked for a pause), all that waits in it moves to UNUSED. */
void lanes_done(struct lanes *lanes, const struct delivery *delivery, bool ok, bool pause,
		struct delivery_list *unused);
/* All that waits moves to UNUSED. */
void lanes_clear(struct lanes *lanes, struct delivery_list *unused);

/* Events waiting and under way, in all lanes. */
size_t lanes_held(const struct lanes *lanes);
/* POSTs under way. */
size_t lanes_under_way(const struct lanes *lanes);
/* Calls EACH with every endpoint that holds something, and how many events. */
void lanes_each(const struct lanes *lanes, void (*each)(const struct endpoint *endpoint, size_t held, void *cookie),
		void *cookie);

#endif
