#ifndef COMMON_COUNTERS_LOCAL_H
#define COMMON_COUNTERS_LOCAL_H

/* Counters in a file of this host (LMDB): all there is on a machine without Redis, and what counts while Redis is away.
 * The same questions, keys, receipts and arithmetic as in Redis. Shared by the daemons of one group; thread-safe. Not
 * synced to the disk: a killed process loses nothing, a power cut at most the counters.
 *
 * As a stand-in it counts each limit at limit / nodes * 1.2, from nothing: what passes beyond the limits is bounded. The
 * takeover guard's facts it keeps only where it is the only store: one host's part of them would tell little. */

#include "common/counters.h"

struct counters_local;

struct counters_local_options {
	const char *path; /* of the file; it and a lock file PATH-lock are made, mode 0660, when they are missing */
	int nodes;        /* hosts that share the limits */
	bool stand_in;    /* or the only store: then limits are counted in full */
};

/* Never fails: the file is opened when it is first needed, and asked for again each second. OPTIONS is copied. */
struct counters_local *counters_local_new(const struct counters_local_options *options);
/* No call may be under way. */
void counters_local_free(struct counters_local **local);

/* As counters_charge(): UNAVAILABLE when the file cannot be used, which is logged once. */
void counters_local_charge(struct counters_local *local, const struct counters_request *request,
			   struct counters_result *result);
/* As counters_refund(). */
int counters_local_refund(struct counters_local *local, struct text customer, struct text node, struct text queue_id);

/* As counters_bounces() and counters_async_suspend(). 0 or -1. */
int counters_local_bounces(struct counters_local *local, struct text customer, struct text login, int64_t count);
int counters_local_suspend(struct counters_local *local, struct text customer, struct text login, int64_t since);

/* The options as waybill.conf tells them (counters.h): NULL when no local store is wanted. */
struct counters_local *counters_local_of(const struct counters_options *options);

#endif
