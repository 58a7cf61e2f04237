#ifndef BOUNCER_WEBHOOK_STATS_H
#define BOUNCER_WEBHOOK_STATS_H

/* What webhookd counts for Prometheus: attempts by their outcome, and how long an event takes from its log line to the
 * database, from there to its first POST, and from the log line to a 2xx. A core. */

#include "common/metrics.h"

#include "bouncer/delivery.h"

/* metrics_free() them. */
struct metrics *webhook_stats_new(void);
/* DELIVERY was posted and judged. */
void webhook_stats_note(struct metrics *metrics, const struct delivery *delivery);

#endif
