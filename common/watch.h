#ifndef COMMON_WATCH_H
#define COMMON_WATCH_H

/* What the takeover guard remembers of one login, in the local store; counters_charge.lua keeps the same in Redis, with the
 * same arithmetic. A core: time is an argument. Networks are known one by one, up to WATCH_NETWORKS_MAX in a day. */

#include "common/counters.h"

#define WATCH_NETWORKS_MAX 256
#define WATCH_WEEK         168 /* hours */
#define WATCH_LIFE_S       (60 * 86400)

/* Zero-initialised it knows nothing. Hours and weeks are local time's, counted since 1970. */
struct watch_memory {
	int64_t since, hour; /* hour 0: there was no mail yet */
	int64_t volume, before, usual, networks_usual;
	int64_t bounce_hour, bounces, bounces_before; /* UTC */
	int64_t suspended_since;                      /* and one; 0: not suspended */
	int32_t first_week;                           /* and one; 0: no hour is over yet */
	uint32_t networks_count;
	uint32_t networks[WATCH_NETWORKS_MAX]; /* hashes */
	struct {
		double recipients; /* the average after week */
		int64_t week;      /* and one; 0: no habit */
	} habits[WATCH_WEEK];
};

/* What is known at NOW_S, after RECIPIENTS more; when COUNTS, from WATCH's network. Without, MEMORY is of no more use. */
struct takeover_facts watch_ask(struct watch_memory *memory, const struct counters_watch *watch, int64_t recipients,
				bool counts, int64_t now_s);
void watch_bounces(struct watch_memory *memory, int64_t count, int64_t now_s);
void watch_suspend(struct watch_memory *memory, int64_t since);

#endif
