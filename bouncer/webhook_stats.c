#include "bouncer/webhook_stats.h"

enum { ATTEMPTS, POST_SECONDS, RECORDED_SECONDS, FIRST_POST_SECONDS, DELIVERED_SECONDS, METRIC_MAX };
enum { DELIVERED, AGAIN, EXHAUSTED, GONE };

static const char *const outcomes[] = {
	[DELIVERED] = "delivered", [AGAIN] = "again", [EXHAUSTED] = "exhausted", [GONE] = "gone", NULL};

/* From a local receiver's usual time to the last step of the ladder. */
static const int64_t bounds_us[] = {1000,      2500,       5000,        10000,        25000,   50000,    100000,
				    250000,    500000,     1000000,     2500000,      5000000, 15000000, 60000000,
				    300000000, 3600000000, 86400000000, 259200000000, 0};

#define LATENCY(NAME, HELP)                                         \
	{                                                           \
		NAME, HELP, METRIC_HISTOGRAM, NULL, NULL, bounds_us \
	}

static const struct metric rows[METRIC_MAX] = {
	[ATTEMPTS] = {"webhookd_attempts_total", "POSTs, by what became of them.", METRIC_COUNTER, "outcome", outcomes,
		      NULL},
	[POST_SECONDS] = LATENCY("webhookd_post_duration_seconds", "How long POSTs took, failed ones included."),
	[RECORDED_SECONDS] = LATENCY("webhookd_recorded_duration_seconds", "From an event's log line to the database."),
	[FIRST_POST_SECONDS] =
		LATENCY("webhookd_first_post_duration_seconds", "From the database to an event's first POST."),
	[DELIVERED_SECONDS] =
		LATENCY("webhookd_delivered_duration_seconds", "From an event's log line to a 2xx answer."),
};

struct metrics *webhook_stats_new(void)
{
	return metrics_new(rows, METRIC_MAX);
}

static size_t outcome_of(const struct delivery *d)
{
	if (d->ok)
		return DELIVERED;
	if (d->gone)
		return GONE;
	return text_equal(text_of(d->outcome), TEXT("due")) ? AGAIN : EXHAUSTED;
}

static void note_event(struct metrics *metrics, const struct delivery *d, const struct delivery_event *event)
{
	if (!event->occurred_us)
		return;
	if (d->attempt == 1) {
		metrics_observe(metrics, RECORDED_SECONDS, 0, event->recorded_us - event->occurred_us);
		metrics_observe(metrics, FIRST_POST_SECONDS, 0, d->started_us - event->recorded_us);
	}
	if (d->ok)
		metrics_observe(metrics, DELIVERED_SECONDS, 0,
				d->started_us + d->duration_ms * 1000 - event->occurred_us);
}

void webhook_stats_note(struct metrics *metrics, const struct delivery *d)
{
	metrics_add(metrics, ATTEMPTS, outcome_of(d), 1);
	metrics_observe(metrics, POST_SECONDS, 0, d->duration_ms * 1000);
	for (size_t i = 0; i < d->event_count; i++)
		note_event(metrics, d, &d->events[i]);
}
