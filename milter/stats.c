#include "milter/stats.h"

const char *const stats_action_names[STATS_ACTION_MAX + 1] = {"signed",   "unsigned", "held",
							      "deferred", "rejected", "ignored"};

static const char *const algorithm_names[DIRECTORY_ALGORITHM_MAX + 1] = {"rsa-sha256", "ed25519-sha256"};

/* An RSA signature takes 0.2 ms, a look at Redis 0.1; beyond 20 ms something waits that should not. */
static const int64_t bounds_us[] = {250, 500, 1000, 2000, 5000, 10000, 20000, 50000, 100000, 0};

static const char *const check_names[SAMPLER_MAX + 1] = {"passed", "failed", "unknown"};

enum { MESSAGES, REFUSALS, SIGNATURES, UNSAFE, SECONDS, CHECKS };
static const struct metric rows[] = {
	[MESSAGES] = {"milter_messages_total", "Messages by what was done at their end.", METRIC_COUNTER, "action",
		      stats_action_names, NULL},
	[REFUSALS] = {"milter_refusals_total", "Messages deferred or rejected, by reason.", METRIC_COUNTER, "reason",
		      reply_ids, NULL},
	[SIGNATURES] = {"milter_signatures_total", "DKIM signatures made.", METRIC_COUNTER, "algorithm",
			algorithm_names, NULL},
	[UNSAFE] = {"milter_unsafe_total", "Messages that are likely to be changed on the way, by what is wrong.",
		    METRIC_COUNTER, "problem", survival_ids, NULL},
	[SECONDS] = {"milter_end_of_message_seconds", "From the end of a message to the verdict.", METRIC_HISTOGRAM,
		     NULL, NULL, bounds_us},
	[CHECKS] = {"milter_self_checks_total", "Signed messages verified against DNS, by result.", METRIC_COUNTER,
		    "result", check_names, NULL},
};

struct metrics *stats_new(void)
{
	return metrics_new(rows, sizeof rows / sizeof *rows);
}

void stats_note(struct metrics *metrics, const struct stats_message *message)
{
	metrics_add(metrics, MESSAGES, message->action, 1);
	if (message->action == STATS_IGNORED)
		return;
	if (message->reason != REPLY_NONE)
		metrics_add(metrics, REFUSALS, message->reason, 1);
	if (message->problem != SURVIVAL_GOOD)
		metrics_add(metrics, UNSAFE, message->problem, 1);
	for (size_t i = 0; i < DIRECTORY_ALGORITHM_MAX; i++)
		metrics_add(metrics, SIGNATURES, i, (int64_t)message->signatures[i]);
	metrics_observe(metrics, SECONDS, 0, message->took_us);
}

void stats_note_check(struct metrics *metrics, enum sampler_result result)
{
	metrics_add(metrics, CHECKS, result, 1);
}
