#include <stdatomic.h>
#include <stdlib.h>

#include "common/memory.h"
#include "common/metrics.h"

/* A cell is one number, or of a histogram its buckets, the last one without bound, and the sum in microseconds. */
struct cells {
	size_t count, size; /* cells, numbers in each */
	_Atomic int64_t *numbers;
};

struct metrics {
	const struct metric *rows;
	size_t count;
	struct cells cells[];
};

static size_t bound_count(const struct metric *row)
{
	size_t count = 0;
	while (row->type == METRIC_HISTOGRAM && row->bounds_us[count])
		count++;
	return count;
}

static size_t cell_count(const struct metric *row)
{
	size_t count = 0;
	while (row->label && row->values[count])
		count++;
	return row->label ? count : 1;
}

struct metrics *metrics_new(const struct metric *rows, size_t count)
{
	struct metrics *metrics = memory_zero(1, sizeof *metrics + count * sizeof metrics->cells[0]);
	metrics->rows = rows;
	metrics->count = count;
	for (size_t i = 0; i < count; i++) {
		struct cells *cells = &metrics->cells[i];
		cells->count = cell_count(&rows[i]);
		cells->size = rows[i].type == METRIC_HISTOGRAM ? bound_count(&rows[i]) + 2 : 1;
		cells->numbers = memory_zero(cells->count * cells->size, sizeof *cells->numbers);
	}
	return metrics;
}

void metrics_free(struct metrics **metrics)
{
	if (!*metrics)
		return;
	for (size_t i = 0; i < (*metrics)->count; i++)
		free((*metrics)->cells[i].numbers);
	free(*metrics);
	*metrics = NULL;
}

/* NULL when there is no such cell: a miscount is no reason to fall. */
static _Atomic int64_t *find(struct metrics *metrics, size_t metric, size_t value)
{
	if (!metrics || metric >= metrics->count || value >= metrics->cells[metric].count)
		return NULL;
	return metrics->cells[metric].numbers + value * metrics->cells[metric].size;
}

static void add(_Atomic int64_t *number, int64_t n)
{
	atomic_fetch_add_explicit(number, n, memory_order_relaxed);
}

void metrics_add(struct metrics *metrics, size_t metric, size_t value, int64_t n)
{
	_Atomic int64_t *cell = find(metrics, metric, value);
	if (cell)
		add(cell, n);
}

void metrics_set(struct metrics *metrics, size_t metric, size_t value, int64_t n)
{
	_Atomic int64_t *cell = find(metrics, metric, value);
	if (cell)
		atomic_store_explicit(cell, n, memory_order_relaxed);
}

void metrics_observe(struct metrics *metrics, size_t metric, size_t value, int64_t duration_us)
{
	_Atomic int64_t *cell = find(metrics, metric, value);
	size_t bucket = 0;
	if (!cell || metrics->rows[metric].type != METRIC_HISTOGRAM)
		return;
	const int64_t *bounds = metrics->rows[metric].bounds_us;
	while (bounds[bucket] && duration_us > bounds[bucket])
		bucket++;
	add(&cell[bucket], 1);
	add(&cell[metrics->cells[metric].size - 1], duration_us);
}

/* Microseconds as seconds, without trailing zeros: 5000 is "0.005". */
static void print_seconds(int64_t us, struct buffer *out)
{
	buffer_format(out, "%s%lld.%06lld", us < 0 ? "-" : "", llabs((long long)us) / 1000000,
		      llabs((long long)us) % 1000000);
	while (out->ptr[out->len - 1] == '0')
		out->len--;
	if (out->ptr[out->len - 1] == '.')
		out->len--;
}

static void print_name(const struct metric *row, const char *suffix, size_t cell, struct buffer *out)
{
	buffer_format(out, "waybill_%s%s", row->name, suffix);
	if (row->label)
		buffer_format(out, "{%s=\"%s\"}", row->label, row->values[cell]);
	buffer_char(out, ' ');
}

/* One bucket's line; TOTAL is of it and those before. */
static void print_bucket(const struct metric *row, size_t cell, size_t bucket, int64_t total, struct buffer *out)
{
	buffer_format(out, "waybill_%s_bucket{", row->name);
	if (row->label)
		buffer_format(out, "%s=\"%s\",", row->label, row->values[cell]);
	buffer_text(out, TEXT("le=\""));
	if (row->bounds_us[bucket])
		print_seconds(row->bounds_us[bucket], out);
	else
		buffer_text(out, TEXT("+Inf"));
	buffer_format(out, "\"} %lld\n", (long long)total);
}

/* The count is the sum of the buckets as they were read, so that it agrees with them while others observe. */
static void print_histogram(const struct metric *row, size_t cell, const _Atomic int64_t *numbers, struct buffer *out)
{
	size_t buckets = bound_count(row) + 1;
	int64_t total = 0;
	for (size_t i = 0; i < buckets; i++) {
		total += atomic_load_explicit(&numbers[i], memory_order_relaxed);
		print_bucket(row, cell, i, total, out);
	}
	print_name(row, "_sum", cell, out);
	print_seconds(atomic_load_explicit(&numbers[buckets], memory_order_relaxed), out);
	buffer_char(out, '\n');
	print_name(row, "_count", cell, out);
	buffer_format(out, "%lld\n", (long long)total);
}

static void print_cell(const struct metric *row, size_t cell, const _Atomic int64_t *numbers, struct buffer *out)
{
	if (row->type == METRIC_HISTOGRAM) {
		print_histogram(row, cell, numbers, out);
		return;
	}
	print_name(row, "", cell, out);
	buffer_format(out, "%lld\n", (long long)atomic_load_explicit(numbers, memory_order_relaxed));
}

void metrics_print(const struct metrics *metrics, struct buffer *out)
{
	static const char *const types[METRIC_TYPE_MAX] = {"counter", "gauge", "histogram"};
	for (size_t i = 0; i < metrics->count; i++) {
		const struct metric *row = &metrics->rows[i];
		const struct cells *cells = &metrics->cells[i];
		buffer_format(out, "# HELP waybill_%s %s\n# TYPE waybill_%s %s\n", row->name, row->help, row->name,
			      types[row->type]);
		for (size_t k = 0; k < cells->count; k++)
			print_cell(row, k, cells->numbers + k * cells->size, out);
	}
}
