#include "policyd/stats.h"

enum { DECISIONS, CHARGES, CHARGE_SECONDS, TAKEOVER, TROUBLE, LOOKUPS, METRIC_MAX };

static const char *const answers[COUNTERS_ANSWER_MAX + 1] = {"charged", "repeated", "refused", "unavailable", NULL};

/* From a local socket's usual time to the time-out of 20 ms. */
static const int64_t charge_bounds_us[] = {100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000, 0};

static const struct metric rows[METRIC_MAX] = {
	[DECISIONS] = {"policyd_decisions_total", "Requests answered, by reason; allowed ones are \"allowed\".",
		       METRIC_COUNTER, "reason", reply_ids, NULL},
	[CHARGES] = {"policyd_charges_total", "Questions to the counters, by their answer.", METRIC_COUNTER, "answer",
		     answers, NULL},
	[CHARGE_SECONDS] = {"policyd_charge_duration_seconds", "How long the counters took to answer.",
			    METRIC_HISTOGRAM, NULL, NULL, charge_bounds_us},
	[TAKEOVER] = {"policyd_takeover_total",
		      "Messages that the takeover guard looked at, by what becomes of such a login.", METRIC_COUNTER,
		      "outcome", takeover_outcome_names, NULL},
	[TROUBLE] = {"policyd_trouble_total", "Requests without an answer, because the directory could not be read.",
		     METRIC_COUNTER, NULL, NULL, NULL},
	[LOOKUPS] = {"policyd_lookups_total", "Questions to the socketmap service, by what was found.", METRIC_COUNTER,
		     "answer", socketmap_status_words, NULL},
};

struct metrics *stats_new(void)
{
	return metrics_new(rows, METRIC_MAX);
}

void stats_note_decision(struct metrics *metrics, enum reply_reason reason)
{
	metrics_add(metrics, DECISIONS, reason, 1);
}

void stats_note_charge(struct metrics *metrics, enum counters_answer answer, int64_t duration_us)
{
	metrics_add(metrics, CHARGES, answer, 1);
	metrics_observe(metrics, CHARGE_SECONDS, 0, duration_us);
}

void stats_note_takeover(struct metrics *metrics, enum takeover_outcome outcome)
{
	metrics_add(metrics, TAKEOVER, outcome, 1);
}

void stats_note_trouble(struct metrics *metrics)
{
	metrics_add(metrics, TROUBLE, 0, 1);
}

void stats_note_lookup(struct metrics *metrics, enum socketmap_status status)
{
	metrics_add(metrics, LOOKUPS, status, 1);
}
