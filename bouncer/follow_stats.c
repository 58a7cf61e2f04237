#include "bouncer/follow_stats.h"

static const char *const lines[FOLLOW_LINES_MAX + 1] = {"taken", "other", "unparsed"};

static const char *const fates[BAD_MAILBOXES_MAX + 1] = {"told", "untold", NULL};

static const struct metric rows[FOLLOW_METRIC_MAX] = {
	[FOLLOW_LINES] = {"bouncer_lines_total", "Lines of the log: taken, of no interest, not understood.",
			  METRIC_COUNTER, "kind", lines, NULL},
	[FOLLOW_CUT] = {"bouncer_cut_lines_total", "Lines that were longer than Postfix writes, and cut.",
			METRIC_COUNTER, NULL, NULL, NULL},
	[FOLLOW_EVENTS] = {"bouncer_events_total", "Events that the log told.", METRIC_COUNTER, "type",
			   event_type_words, NULL},
	[FOLLOW_BATCHES] = {"bouncer_batches_total", "Transactions committed.", METRIC_COUNTER, NULL, NULL, NULL},
	[FOLLOW_DEAD_LETTERS] = {"bouncer_dead_letters_total", "Events that Postgres refused.", METRIC_COUNTER, NULL,
				 NULL, NULL},
	[FOLLOW_POSTGRES_AWAY] = {"bouncer_postgres_away_total",
				  "Times that Postgres did not answer, each wait counted.", METRIC_COUNTER, NULL, NULL,
				  NULL},
	[FOLLOW_UNRECONCILED] = {"bouncer_unreconciled_messages_total",
				 "Messages that ended with recipients unaccounted for.", METRIC_COUNTER, NULL, NULL,
				 NULL},
	[FOLLOW_BAD_MAILBOXES] =
		{"bouncer_bad_mailboxes_total",
		 "Recent bounces of unknown mailboxes: told to the takeover guard, or not, while Redis "
		 "is away or the login is gone.",
		 METRIC_COUNTER, "fate", fates, NULL},
	[FOLLOW_OPEN_MESSAGES] = {"bouncer_open_messages", "Messages that are followed now.", METRIC_GAUGE, NULL, NULL,
				  NULL},
	[FOLLOW_BEHIND] = {"bouncer_behind_bytes", "Bytes of the log that are not read yet.", METRIC_GAUGE, NULL, NULL,
			   NULL},
	[FOLLOW_LOG_TIME] = {"bouncer_log_time_seconds", "Time of the last event's line, in seconds since 1970.",
			     METRIC_GAUGE, NULL, NULL, NULL},
};

struct metrics *follow_stats_new(void)
{
	return metrics_new(rows, FOLLOW_METRIC_MAX);
}

void follow_stats_count(struct metrics *metrics, const struct pipeline_counts *before,
			const struct pipeline_counts *now)
{
	uint64_t other = now->other - before->other, unparsed = now->unparsed - before->unparsed;
	metrics_add(metrics, FOLLOW_LINES, LINES_OTHER, (int64_t)other);
	metrics_add(metrics, FOLLOW_LINES, LINES_UNPARSED, (int64_t)unparsed);
	metrics_add(metrics, FOLLOW_LINES, LINES_TAKEN, (int64_t)(now->lines - before->lines - other - unparsed));
	for (enum event_type type = 0; type < EVENT_TYPE_MAX; type++)
		metrics_add(metrics, FOLLOW_EVENTS, type, (int64_t)(now->events[type] - before->events[type]));
	metrics_add(metrics, FOLLOW_UNRECONCILED, 0, (int64_t)(now->track.unreconciled - before->track.unreconciled));
	/* Sums over several sources. */
	metrics_add(metrics, FOLLOW_OPEN_MESSAGES, 0, (int64_t)now->open - (int64_t)before->open);
}
