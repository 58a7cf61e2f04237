/* Taking what is due, and making it ready to post. */

#include <stdio.h>
#include <stdlib.h>

#include "bouncer/envelope.h"
#include "bouncer/outbox_internal.h"

/* $1, $2 after whom the walk goes on; $3 how many an endpoint may hold (but a batch) that $4, the lanes, says nothing about; $5 the most rows;
 * $6 lease in ms; $7 failures from which an endpoint is only probed.
 *
 * The recursive part walks the index from endpoint to endpoint that has anything due, now or later. LATERAL with LIMIT
 * everywhere: the planner must never turn a look-up into a scan of all events or deliveries.
 *
 * Where batches are wanted, an event waits until one is full or it has waited long enough (ripe). A batch that was formed
 * before is taken by its first row; each counts with its events, and the last one taken may go beyond the most.
 *
 * The commit of a lease does not wait for the disk: one that is lost with the machine ends a little early, no more. */
#define SINGLE                                                                                                     \
	" FROM waybill.deliveries d WHERE d.customer = b.customer AND d.endpoint = b.endpoint AND d.state = 'due'" \
	" AND d.due_at <= now() AND (d.leased_until IS NULL OR d.leased_until <= now()) AND d.batch IS NULL"
static const char lease_head[] =
	"WITH RECURSIVE lanes AS MATERIALIZED (SELECT $4::jsonb AS j), busy AS ("
	" (SELECT customer, endpoint FROM waybill.deliveries"
	"   WHERE state = 'due' AND (customer, endpoint) > ($1, $2) ORDER BY customer, endpoint LIMIT 1)"
	" UNION ALL"
	" SELECT n.customer, n.endpoint FROM busy b CROSS JOIN LATERAL"
	"  (SELECT customer, endpoint FROM waybill.deliveries d"
	"    WHERE d.state = 'due' AND (d.customer, d.endpoint) > (b.customer, b.endpoint)"
	"    ORDER BY customer, endpoint LIMIT 1) n),"
	" found AS ("
	" SELECT d.id, d.events FROM busy b"
	" CROSS JOIN LATERAL (SELECT e.failures, e.batch_max, CASE WHEN e.batch_max = 1 THEN true"
	"     ELSE EXISTS (SELECT" SINGLE " AND d.due_at <= now() - e.batch_wait_s * interval '1 s')"
	"       OR (SELECT count(*) FROM (SELECT" SINGLE " LIMIT e.batch_max) s) = e.batch_max END AS ripe"
	"   FROM waybill.endpoints e WHERE e.customer = b.customer AND e.endpoint = b.endpoint"
	"     AND e.status = 'active' AND (e.retry_at IS NULL OR e.retry_at <= now()) LIMIT 1) e"
	" CROSS JOIN LATERAL (SELECT d.ctid AS id, coalesce(cardinality(d.batch_members), 1) AS events"
	"   FROM waybill.deliveries d"
	"   WHERE d.customer = b.customer AND d.endpoint = b.endpoint AND d.state = 'due' AND d.due_at <= now()"
	"     AND (d.leased_until IS NULL OR d.leased_until <= now())"
	"     AND (d.batch IS NULL AND e.ripe OR d.batch_members IS NOT NULL)"
	"   ORDER BY d.due_at"
	"   LIMIT greatest(0, CASE WHEN e.failures >= $7::int THEN 1 ELSE coalesce("
	"      ((SELECT j FROM lanes) -> b.endpoint -> 'may')::int, greatest($3::int, nullif(e.batch_max, 1))) END"
	"     - coalesce(((SELECT j FROM lanes) -> b.endpoint -> 'holds')::int, 0))"
	"   FOR UPDATE SKIP LOCKED) d"
	" LIMIT $5::int),"
	" picked AS MATERIALIZED (SELECT id FROM (SELECT id, sum(events) OVER"
	"   (ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before FROM found) f"
	"  WHERE before IS NULL OR before < $5::int),"
	" leased AS ("
	" UPDATE waybill.deliveries d SET leased_until = now() + $6::bigint * interval '1 ms' FROM picked"
	"  WHERE d.ctid = picked.id AND (SELECT set_config('synchronous_commit', 'off', true)) = 'off'"
	"  RETURNING d.*)"
	" SELECT " OUTBOX_ROW_SQL("d.customer", "d.endpoint", "d.event_id");
static const char lease_tail[] = " ORDER BY d.customer, d.endpoint, d.batch IS NOT NULL, d.occurred_at";

void outbox_event_sql(const char *deliveries, struct buffer *sql)
{
	buffer_format(sql, " FROM %s LEFT JOIN LATERAL (SELECT e.occurred_at, e.recorded_at", deliveries);
	for (size_t i = 0; i < EVENT_FIELD_MAX; i++)
		buffer_format(sql, ", %s AS f%zu", event_row_sql[i], i);
	buffer_text(sql, TEXT(" FROM waybill.events e WHERE e.customer = d.customer AND e.occurred_at = d.occurred_at"
			      " AND e.event_id = d.event_id LIMIT 1) e ON true"));
}

char *outbox_lease_statement(void)
{
	struct buffer sql = {0};
	buffer_text(&sql, TEXT(lease_head));
	outbox_event_sql("leased d", &sql);
	buffer_text(&sql, TEXT(lease_tail));
	return outbox_text(&sql);
}

void outbox_row_event(const struct pg_result *rows, size_t row, struct event_row *event)
{
	for (size_t i = 0; i < EVENT_FIELD_MAX; i++)
		event->field[i] = pg_field(rows, row, ROW_EVENT + i);
}

/* No attempt may begin later: it has to end, and to be recorded, while nobody else takes it. */
int64_t outbox_start_until(const struct outbox *outbox, const struct endpoint *endpoint, int64_t now_ms)
{
	return now_ms + outbox->settings.lease_ms - endpoint->timeout_ms - OUTBOX_MARGIN_MS / 2;
}

void outbox_take_body(struct lease *lease, struct delivery *delivery)
{
	size_t len = lease->scratch.len;
	delivery->body = (struct buffer){.ptr = text_copy(buffer_view(&lease->scratch)), .len = len, .cap = len + 1};
	lease->scratch.len = 0;
}

static struct delivery *make_delivery(struct lease *lease, size_t row, struct endpoint *endpoint, const char *reason)
{
	const struct pg_result *rows = lease->rows;
	struct event_row event;
	struct delivery *d =
		delivery_new(endpoint, pg_field(rows, row, ROW_EVENT_ID), (int)pg_int(rows, row, ROW_ATTEMPTS) + 1);
	d->try = d->attempt - (int)pg_int(rows, row, ROW_LADDER);
	d->events[0].occurred_us = pg_int(rows, row, ROW_OCCURRED);
	d->events[0].recorded_us = pg_int(rows, row, ROW_RECORDED);
	d->start_until_ms = outbox_start_until(lease->outbox, endpoint, lease->now_ms);
	outbox_row_event(rows, row, &event);
	if (reason) {
		d->state = DELIVERY_UNSENDABLE;
		d->error = text_copy(text_of(reason));
	} else if (!event.field[EVENT_ID].ptr) {
		d->state = DELIVERY_LOST;
		d->error = text_copy(TEXT("the event is no longer kept"));
	} else {
		envelope_body(endpoint, &event, &lease->scratch);
		outbox_take_body(lease, d);
	}
	return d;
}

/* How many rows from ROW on are to be one batch: 0 when it is none. Rows of a batch that was formed before come alone. */
static size_t batch_rows(const struct lease *lease, size_t row, const struct endpoint *endpoint)
{
	const struct pg_result *rows = lease->rows;
	size_t count = 0;
	if (endpoint->batch_max == 1)
		return 0;
	while (count < endpoint->batch_max && row + count < pg_rows(rows) &&
	       !pg_field(rows, row + count, ROW_BATCH).ptr && pg_field(rows, row + count, ROW_EVENT).ptr &&
	       text_equal(pg_field(rows, row + count, ROW_ENDPOINT), text_of(endpoint->id)))
		count++;
	return count;
}

/* Takes the rows from ROW on that make one delivery; how many. */
static size_t take_rows(struct lease *lease, size_t row, size_t at, struct delivery_list *out)
{
	struct endpoint *endpoint = lease->endpoints.list[at];
	const char *reason = lease->endpoints.reasons[at];
	size_t count = reason ? 0 : batch_rows(lease, row, endpoint);
	if (count)
		outbox_batch_form(lease, row, count, endpoint);
	else if (!reason && pg_field(lease->rows, row, ROW_BATCH).ptr)
		outbox_batch_want(lease, row, endpoint);
	else
		delivery_list_add(out, make_delivery(lease, row, endpoint, reason));
	return count ? count : 1;
}

static void make_deliveries(struct lease *lease, struct delivery_list *out)
{
	size_t at = 0;
	for (size_t row = 0; row < pg_rows(lease->rows);) {
		size_t found = outbox_endpoints_find(&lease->endpoints, pg_field(lease->rows, row, ROW_ENDPOINT), at);
		if (found == SIZE_MAX) {
			row++; /* removed since it was leased: its deliveries went with it */
			continue;
		}
		at = found;
		row += take_rows(lease, row, at, out);
	}
}

/* Whoever came last in this lease is where the next one goes on; a lease that was not full saw the end of the list. */
static void take_turn(struct outbox *outbox, const struct pg_result *rows, size_t max)
{
	size_t count = pg_rows(rows);
	bool full = count >= max;
	text_put(full ? pg_field(rows, count - 1, ROW_CUSTOMER) : TEXT(""), outbox->customer, OUTBOX_NAME_SIZE);
	text_put(full ? pg_field(rows, count - 1, ROW_ENDPOINT) : TEXT(""), outbox->endpoint, OUTBOX_NAME_SIZE);
}

static enum pg_status lease_rows(struct outbox *outbox, size_t max, const char *lanes, struct pg_result **rows)
{
	char each[24], most[24], lease_ms[24], failures[24];
	snprintf(each, sizeof(each), "%zu", outbox->settings.endpoint_max);
	snprintf(most, sizeof(most), "%zu", max);
	snprintf(lease_ms, sizeof(lease_ms), "%lld", (long long)outbox->settings.lease_ms);
	snprintf(failures, sizeof(failures), "%d", outbox->settings.breaker_failures);
	const char *params[] = {outbox->customer, outbox->endpoint, each, lanes, most, lease_ms, failures};
	return pg_query_again(outbox->pg, outbox->lease_sql, params, sizeof(params) / sizeof(params[0]), rows);
}

enum pg_status outbox_lease(struct outbox *outbox, size_t max, struct text lanes, int64_t now_ms,
			    struct delivery_list *out)
{
	struct pg_result *rows;
	char *lanes_copy = text_copy(lanes);
	bool from_start = !outbox->customer[0];
	enum pg_status status = lease_rows(outbox, max, lanes_copy, &rows);
	if (status == PG_OK && pg_rows(rows) == 0 && !from_start) {
		pg_result_free(&rows);
		outbox->customer[0] = outbox->endpoint[0] = '\0';
		status = lease_rows(outbox, max, lanes_copy, &rows);
	}
	free(lanes_copy);
	if (status != PG_OK)
		return status;

	struct lease lease = {.outbox = outbox, .rows = rows, .now_ms = now_ms};
	struct delivery_list made = {0};
	if (pg_rows(rows))
		status = outbox_endpoints_load(outbox, rows, &lease.endpoints);
	if (status == PG_OK) {
		make_deliveries(&lease, &made);
		status = outbox_batches_take(&lease, &made);
	}
	if (status == PG_OK) {
		delivery_list_join(out, &made);
		take_turn(outbox, rows, max);
	}
	delivery_list_free(&made);
	buffer_free(&lease.scratch);
	outbox_batches_free(&lease.batches);
	outbox_endpoints_free(&lease.endpoints);
	pg_result_free(&rows);
	return status;
}
