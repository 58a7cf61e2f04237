#ifndef BOUNCER_OUTBOX_H
#define BOUNCER_OUTBOX_H

/* What is owed, in Postgres: leasing it, recording what became of it. Blocking; for one thread.
 *
 * A lease writes leased_until in a transaction of its own: other instances pass over the row (SKIP LOCKED while it is
 * being taken, leased_until afterwards), nothing is locked during a POST, and a lease whose holder died ends by itself. So a
 * delivery may be posted twice, never not at all. */

#include "common/pg.h"

#include "bouncer/delivery.h"

/* Between the last moment at which a POST may begin and the end of its lease: time to record it, too. */
#define OUTBOX_MARGIN_MS 1500

struct seal;
struct outbox;

struct outbox_settings {
	const char *postgres;    /* connection string */
	const struct seal *seal; /* opens the endpoints' secrets */
	int64_t lease_ms;   /* longer than a POST and OUTBOX_MARGIN_MS: an attempt that would outlast it is not begun */
	int64_t timeout_ms; /* of a POST to an endpoint that has no other; none gets longer than a lease allows */
	size_t endpoint_max;  /* leased at one time of an endpoint that outbox_lease() is told nothing about */
	int breaker_failures; /* in a row, until an endpoint is only probed */
	/* Told of each endpoint that a record disabled. */
	void (*disabled)(const char *customer, const char *endpoint, const char *reason);
};

struct outbox *outbox_new(const struct outbox_settings *settings);
void outbox_free(struct outbox **outbox);
/* The reason of the last PG_RETRY or PG_FAILED. */
const char *outbox_error(const struct outbox *outbox);

/* Connects if need be and listens for new deliveries; again after each PG_RETRY. */
enum pg_status outbox_listen(struct outbox *outbox);
/* Readable when a notification may have come; -1 when not connected. */
int outbox_socket(const struct outbox *outbox);
/* Reads and drops what arrived: was there any? */
bool outbox_notified(struct outbox *outbox);

/* Leases up to MAX due deliveries of active endpoints and appends them to OUT, state DELIVERY_LEASED, or
 * DELIVERY_LOST or DELIVERY_UNSENDABLE with the reason. LANES is a JSON object of endpoint ids, and for each an object of
 * how many events this instance "holds" of it and "may" hold. Endpoints take turns between calls. NOW_MS is the monotonic clock. */
enum pg_status outbox_lease(struct outbox *outbox, size_t max, struct text lanes, int64_t now_ms,
			    struct delivery_list *out);

/* Records what became of deliveries, by their judgement: all or nothing. */
enum pg_status outbox_record(struct outbox *outbox, const struct delivery_list *done);
/* Gives leases back: due at once for whoever comes. */
enum pg_status outbox_release(struct outbox *outbox, const struct delivery_list *unused);
/* Forgets attempts and deliveries older than KEEP_MS, some thousands at a time; *COUNT tells how many. */
enum pg_status outbox_prune(struct outbox *outbox, int64_t keep_ms, size_t *count);

#endif
