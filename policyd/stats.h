#ifndef POLICYD_STATS_H
#define POLICYD_STATS_H

/* What policyd counts for Prometheus: the table of its metrics, and what a decision adds to them. A core. */

#include "common/counters.h"
#include "common/metrics.h"

#include "policyd/reply.h"
#include "policyd/socketmap.h"

/* metrics_free() them. */
struct metrics *stats_new(void);
/* METRICS may be NULL. */
void stats_note_decision(struct metrics *metrics, enum reply_reason reason);
/* DURATION_US: how long the counters took. */
void stats_note_charge(struct metrics *metrics, enum counters_answer answer, int64_t duration_us);
/* The takeover guard looked at a message. */
void stats_note_takeover(struct metrics *metrics, enum takeover_outcome outcome);
/* No reply could be given: own trouble. */
void stats_note_trouble(struct metrics *metrics);
/* An answer of the socketmap service. */
void stats_note_lookup(struct metrics *metrics, enum socketmap_status status);

#endif
