/* What became of deliveries, written down. Nearly all of a busy outbox's were delivered at once: they cost one row each. */

#include <stdio.h>
#include <stdlib.h>

#include "common/memory.h"

#include "bouncer/array.h"
#include "bouncer/outbox_internal.h"

/* Of both statements, in this order; those from RECORD_ERROR on only of the second. */
enum record_param {
	RECORD_CUSTOMER,
	RECORD_ENDPOINT,
	RECORD_EVENT,
	RECORD_ATTEMPT,
	RECORD_STARTED,
	RECORD_DURATION,
	RECORD_HTTP_STATUS,
	RECORD_ANSWER,
	HEALTH_CUSTOMER,
	HEALTH_ENDPOINT,
	HEALTH_OK,
	HEALTH_GONE,
	HEALTH_PAUSE,
	HEALTH_FAILED,
	RECORD_ERROR,
	RECORD_POSTED,
	RECORD_STATE,
	RECORD_WAIT,
	RECORD_MAX
};

/* $1 the failures in a row from which the breaker is open. It opens for half a minute, then twice as long each time, up to
 * ten minutes. */
#define HEALTH_SQL                                                                                                   \
	" h AS (SELECT customer, endpoint, bool_or(ok) AS ok, bool_or(gone) AS gone, max(pause_ms) AS pause_ms,"     \
	"   sum(failed)::int AS failed FROM unnest($10::text[], $11::text[], $12::boolean[], $13::boolean[],"        \
	"   $14::bigint[], $15::int[]) AS u(customer, endpoint, ok, gone, pause_ms, failed)"                         \
	"   GROUP BY customer, endpoint ORDER BY customer, endpoint)"                                                \
	" UPDATE waybill.endpoints e SET"                                                                            \
	"   failures = CASE WHEN h.ok THEN 0 ELSE e.failures + h.failed END,"                                        \
	"   failing_since = CASE WHEN NOT h.ok THEN coalesce(e.failing_since, now()) END,"                           \
	"   notices = CASE WHEN h.ok THEN 0 ELSE e.notices END,"                                                     \
	"   retry_at = CASE WHEN h.pause_ms > 0 THEN now() + h.pause_ms * interval '1 ms'"                           \
	"     WHEN NOT h.ok AND e.failures + h.failed >= $1::int"                                                    \
	"     THEN now() + least(600, 30 * 2 ^ least(10, (e.failures + h.failed - $1::int) / greatest(1, $1::int)))" \
	"       * interval '1 s' END,"                                                                               \
	"   status = CASE WHEN h.gone THEN 'disabled' ELSE e.status END,"                                            \
	"   status_reason = CASE WHEN h.gone THEN 'it answered 410 Gone' ELSE e.status_reason END"                   \
	"  FROM h WHERE e.customer = h.customer AND e.endpoint = h.endpoint"                                         \
	"   AND (e.failures > 0 OR e.retry_at IS NOT NULL OR h.failed > 0)"                                          \
	" RETURNING e.customer, e.endpoint, e.status, e.status_reason"

/* An attempt counts only if nobody recorded it before: a lease that ended under a POST may have been taken by another
 * instance. */
#define THIS_ATTEMPT                                                                             \
	" WHERE d.customer = r.customer AND d.endpoint = r.endpoint AND d.event_id = r.event_id" \
	" AND d.state = 'due' AND d.attempts < r.attempt"

static const char delivered_sql[] =
	"WITH d AS (UPDATE waybill.deliveries d SET attempts = r.attempt, state = 'delivered', leased_until = NULL,"
	"   finished_at = now(), started_at = to_timestamp(r.started_us / 1e6), duration_ms = r.duration_ms,"
	"   status = r.status, answer = r.answer"
	"  FROM unnest($2::text[], $3::text[], $4::text[], $5::int[], $6::bigint[], $7::int[], $8::int[], $9::text[])"
	"   AS r(customer, endpoint, event_id, attempt, started_us, duration_ms, status, answer)" THIS_ATTEMPT
	")," HEALTH_SQL;

static const char mixed_sql[] =
	"WITH r AS MATERIALIZED (SELECT * FROM unnest($2::text[], $3::text[], $4::text[], $5::int[], $6::bigint[],"
	"   $7::int[], $8::int[], $9::text[], $16::text[], $17::boolean[], $18::text[], $19::bigint[]) AS r("
	"  customer, endpoint, event_id, attempt, started_us, duration_ms, status, answer, error, posted, state, "
	"wait_ms)),"
	" d AS (UPDATE waybill.deliveries d SET attempts = CASE WHEN r.posted THEN r.attempt ELSE d.attempts END,"
	"   state = r.state, due_at = CASE WHEN r.state = 'due' THEN now() + r.wait_ms * interval '1 ms' ELSE d.due_at "
	"END,"
	"   leased_until = NULL, finished_at = CASE WHEN r.state <> 'due' THEN now() END,"
	"   started_at = CASE WHEN r.state = 'delivered' THEN to_timestamp(r.started_us / 1e6) END,"
	"   duration_ms = CASE WHEN r.state = 'delivered' THEN r.duration_ms END,"
	"   status = CASE WHEN r.state = 'delivered' THEN r.status END,"
	"   answer = CASE WHEN r.state = 'delivered' THEN r.answer END FROM r" THIS_ATTEMPT " RETURNING r.*, d.batch),"
	" a AS (INSERT INTO waybill.earlier_attempts"
	"  (customer, endpoint, event_id, attempt, started_at, duration_ms, status, error, answer, batch)"
	"  SELECT customer, endpoint, event_id, attempt, to_timestamp(started_us / 1e6), duration_ms, status, error, "
	"answer, batch FROM d WHERE posted AND state <> 'delivered' ON CONFLICT DO NOTHING)," HEALTH_SQL;

/* What the attempts of a record say about one endpoint. */
struct health {
	const struct endpoint *endpoint;
	bool ok, gone;
	int failed;
	int64_t pause_ms;
};

/* A row for each event; of a batch all say the same. */
struct record {
	struct buffer columns[RECORD_MAX];
	struct health *health;
	size_t health_count;
	bool all_delivered;
};

static void add_health(struct record *record, const struct delivery *d)
{
	struct endpoint *endpoint = d->endpoint;
	if (endpoint->health_at >= record->health_count || record->health[endpoint->health_at].endpoint != endpoint) {
		endpoint->health_at = record->health_count++;
		record->health[endpoint->health_at] = (struct health){.endpoint = endpoint};
	}
	struct health *health = &record->health[endpoint->health_at];
	health->ok |= d->ok;
	health->gone |= d->gone;
	health->failed += !d->ok;
	if (d->pause_ms > health->pause_ms)
		health->pause_ms = d->pause_ms;
}

static void add_bool(struct buffer *column, bool value)
{
	array_add(column, value ? TEXT("t") : TEXT("f"));
}

static void add_row(struct record *record, const struct delivery *d, const struct delivery_event *event)
{
	struct buffer *columns = record->columns;
	array_add(&columns[RECORD_CUSTOMER], text_of(d->endpoint->customer));
	array_add(&columns[RECORD_ENDPOINT], text_of(d->endpoint->id));
	array_add(&columns[RECORD_EVENT], text_of(event->id));
	outbox_array_int(&columns[RECORD_ATTEMPT], d->attempt);
	outbox_array_int(&columns[RECORD_STARTED], d->started_us);
	outbox_array_int(&columns[RECORD_DURATION], d->duration_ms);
	if (d->status)
		outbox_array_int(&columns[RECORD_HTTP_STATUS], d->status);
	else
		array_add(&columns[RECORD_HTTP_STATUS], (struct text){0});
	array_add(&columns[RECORD_ANSWER], d->answer.len ? buffer_view(&d->answer) : (struct text){0});
	if (record->all_delivered)
		return;
	array_add(&columns[RECORD_ERROR], d->error ? text_of(d->error) : (struct text){0});
	add_bool(&columns[RECORD_POSTED], d->state == DELIVERY_POSTED);
	array_add(&columns[RECORD_STATE], text_of(d->outcome));
	outbox_array_int(&columns[RECORD_WAIT], d->wait_ms);
}

static void write_health(struct record *record)
{
	struct buffer *columns = record->columns;
	for (size_t i = 0; i < record->health_count; i++) {
		const struct health *health = &record->health[i];
		array_add(&columns[HEALTH_CUSTOMER], text_of(health->endpoint->customer));
		array_add(&columns[HEALTH_ENDPOINT], text_of(health->endpoint->id));
		add_bool(&columns[HEALTH_OK], health->ok);
		add_bool(&columns[HEALTH_GONE], health->gone);
		outbox_array_int(&columns[HEALTH_PAUSE], health->pause_ms);
		outbox_array_int(&columns[HEALTH_FAILED], health->failed);
	}
}

static bool all_delivered(const struct delivery_list *done)
{
	for (const struct delivery *d = done->head; d; d = d->next)
		if (!d->ok)
			return false;
	return true;
}

static void fill(struct record *record, const struct delivery_list *done)
{
	record->all_delivered = all_delivered(done);
	record->health = memory_zero(done->count + 1, sizeof(*record->health));
	for (const struct delivery *d = done->head; d; d = d->next) {
		for (size_t i = 0; i < d->event_count; i++)
			add_row(record, d, &d->events[i]);
		if (d->state == DELIVERY_POSTED)
			add_health(record, d);
	}
	write_health(record);
}

enum changed_column { CHANGED_CUSTOMER, CHANGED_ENDPOINT, CHANGED_STATUS, CHANGED_REASON };

/* Only active endpoints are posted to, so each is told once. */
static void tell_disabled(const struct outbox *outbox, const struct pg_result *changed)
{
	for (size_t i = 0; i < pg_rows(changed); i++)
		if (text_equal(pg_field(changed, i, CHANGED_STATUS), TEXT("disabled")))
			outbox->settings.disabled(pg_string(changed, i, CHANGED_CUSTOMER),
						  pg_string(changed, i, CHANGED_ENDPOINT),
						  pg_string(changed, i, CHANGED_REASON));
}

enum pg_status outbox_record(struct outbox *outbox, const struct delivery_list *done)
{
	char failures[24];
	const char *params[RECORD_MAX + 1] = {failures};
	struct record record = {0};
	struct pg_result *changed;
	snprintf(failures, sizeof(failures), "%d", outbox->settings.breaker_failures);
	outbox_arrays_open(record.columns, RECORD_MAX);
	fill(&record, done);
	outbox_arrays_close(record.columns, RECORD_MAX, params + 1);
	enum pg_status status =
		pg_query(outbox->pg, record.all_delivered ? delivered_sql : mixed_sql, params,
			 1 + (record.all_delivered ? (size_t)RECORD_ERROR : (size_t)RECORD_MAX), &changed);
	if (status == PG_OK)
		tell_disabled(outbox, changed);
	pg_result_free(&changed);
	outbox_arrays_free(record.columns, RECORD_MAX);
	free(record.health);
	return status;
}
