#ifndef COMMON_METRICS_H
#define COMMON_METRICS_H

/* What a daemon counts, and Prometheus' text format of it (exposition format 0.0.4). A core: who serves it is
 * metrics_http.h.
 *
 * A program lists its metrics in a table; a metric is named by its place there (an enum beside the table), one of its
 * cells by the label value's place. Threads may count at any time, without a lock; a NULL struct metrics counts nothing. */

#include "common/text.h"

enum metric_type {
	METRIC_COUNTER,   /* grows; its name ends in "_total" */
	METRIC_GAUGE,     /* grows and shrinks */
	METRIC_HISTOGRAM, /* of durations; its name ends in "_seconds" */
	METRIC_TYPE_MAX
};

struct metric {
	const char *name; /* what stands behind "waybill_": "policyd_requests_total" */
	const char *help; /* one line */
	enum metric_type type;
	const char *label;         /* the label's name; NULL: there is one cell, 0 */
	const char *const *values; /* of the label, NULL-terminated; never text from outside */
	const int64_t *bounds_us;  /* of a histogram: upper bounds in microseconds, ascending, 0 behind the last */
};

struct metrics;

/* ROWS is kept, not copied. */
struct metrics *metrics_new(const struct metric *rows, size_t count);
void metrics_free(struct metrics **metrics);

/* Adds N, negative for gauges only, to cell VALUE of metric METRIC. */
void metrics_add(struct metrics *metrics, size_t metric, size_t value, int64_t n);
/* Sets a gauge. */
void metrics_set(struct metrics *metrics, size_t metric, size_t value, int64_t n);
/* Puts a duration in microseconds into a histogram. */
void metrics_observe(struct metrics *metrics, size_t metric, size_t value, int64_t duration_us);

/* Appends all metrics, cells that are still 0 included. */
void metrics_print(const struct metrics *metrics, struct buffer *out);

#endif
