#ifndef BOUNCER_LANE_H
#define BOUNCER_LANE_H

/* Fairness: each endpoint has a lane of its own, and lanes take turns. What may be under way in a lane begins with one,
 * doubles with each success and is one again after a failure: so many endpoints that hang hold a place each, not all of
 * them, and delay nobody. What a lane may hold ready behind that grows in the same way, from little to a share of what
 * all lanes have. A core; not thread-safe. */

#include "bouncer/delivery.h"

struct lanes;

/* What a lane may hold of which nothing is known: a POST under way and the next one. */
#define LANE_ROOM 2

/* At most TOTAL under way, at most EACH of them in one lane. A lane that fails FAILURES times in a row gives up what
 * waits in it: see lanes_done(). */
struct lanes *lanes_new(size_t total, size_t each, size_t failures);
/* Frees what still waits, too. */
void lanes_free(struct lanes **lanes);

void lanes_add(struct lanes *lanes, struct delivery *delivery);
/* The delivery whose turn it is, now under way; NULL when nothing waits or nothing more may be under way. */
struct delivery *lanes_next(struct lanes *lanes);
enum lane_result {
	LANE_OK,
	LANE_FAILED,
	LANE_PAUSED,  /* failed, and the endpoint asked for a pause */
	LANE_UNTRIED, /* says nothing about the endpoint */
	LANE_RESULT_MAX
};

/* DELIVERY is no longer under way; RESULT says how it went. When its lane has failed too often in a row, or asked for a
 * pause, all that waits in it moves to UNUSED. */
void lanes_done(struct lanes *lanes, const struct delivery *delivery, enum lane_result result,
		struct delivery_list *unused);
/* All that waits moves to UNUSED. */
void lanes_clear(struct lanes *lanes, struct delivery_list *unused);

/* Events waiting and under way, in all lanes. */
size_t lanes_held(const struct lanes *lanes);
/* POSTs under way. */
size_t lanes_under_way(const struct lanes *lanes);
/* Calls EACH with every endpoint that holds something or did well of late, how many events it HOLDS, and how many it MAY
 * hold: SHARE at most, but two full batches always. */
void lanes_each(const struct lanes *lanes, size_t share,
		void (*each)(const struct endpoint *endpoint, size_t holds, size_t may, void *cookie), void *cookie);

#endif
