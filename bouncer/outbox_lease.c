/* Taking what is due, and making it ready to post: the events' bodies and the endpoints' secrets. */

#include <stdio.h>
#include <stdlib.h>

#include "common/memory.h"
#include "common/seal.h"

#include "bouncer/envelope.h"
#include "bouncer/json.h"
#include "bouncer/outbox_internal.h"
#include "bouncer/signature.h"

/* $1, $2 after whom the walk goes on; $3 how many each endpoint may hold; $4 held now, a JSON object; $5 the most rows;
 * $6 lease in ms; $7 failures from which an endpoint is only probed.
 *
 * The recursive part walks the index from endpoint to endpoint that has anything due, now or later. LATERAL with LIMIT
 * everywhere: the planner must never turn a look-up into a scan of all events or deliveries.
 *
 * The commit of a lease does not wait for the disk: one that is lost with the machine ends a little early, no more. */
static const char lease_head[] =
	"WITH RECURSIVE busy AS ("
	" (SELECT customer, endpoint FROM waybill.deliveries"
	"   WHERE state = 'due' AND (customer, endpoint) > ($1, $2) ORDER BY customer, endpoint LIMIT 1)"
	" UNION ALL"
	" SELECT n.customer, n.endpoint FROM busy b CROSS JOIN LATERAL"
	"  (SELECT customer, endpoint FROM waybill.deliveries d"
	"    WHERE d.state = 'due' AND (d.customer, d.endpoint) > (b.customer, b.endpoint)"
	"    ORDER BY customer, endpoint LIMIT 1) n),"
	" picked AS MATERIALIZED ("
	" SELECT d.id FROM busy b"
	" CROSS JOIN LATERAL (SELECT e.failures FROM waybill.endpoints e"
	"   WHERE e.customer = b.customer AND e.endpoint = b.endpoint"
	"     AND e.status = 'active' AND (e.retry_at IS NULL OR e.retry_at <= now()) LIMIT 1) e"
	" CROSS JOIN LATERAL (SELECT d.ctid AS id FROM waybill.deliveries d"
	"   WHERE d.customer = b.customer AND d.endpoint = b.endpoint AND d.state = 'due' AND d.due_at <= now()"
	"     AND (d.leased_until IS NULL OR d.leased_until <= now())"
	"   ORDER BY d.due_at"
	"   LIMIT greatest(0, CASE WHEN e.failures >= $7::int THEN 1 ELSE $3::int END"
	"                     - coalesce(($4::jsonb ->> b.endpoint)::int, 0))"
	"   FOR UPDATE SKIP LOCKED) d"
	" LIMIT $5::int),"
	" leased AS ("
	" UPDATE waybill.deliveries d SET leased_until = now() + $6::bigint * interval '1 ms' FROM picked"
	"  WHERE d.ctid = picked.id AND (SELECT set_config('synchronous_commit', 'off', true)) = 'off'"
	"  RETURNING d.customer, d.endpoint, d.event_id, d.occurred_at, d.attempts, "
	"d.ladder_from, d.created_at)"
	" SELECT l.customer, l.endpoint, l.event_id, l.attempts, l.ladder_from,"
	" CASE WHEN l.created_at < e.recorded_at + interval '1 minute' THEN (extract(epoch FROM e.occurred_at) * "
	"1000000)::bigint END,"
	" (extract(epoch FROM e.recorded_at) * 1000000)::bigint, e.* FROM leased l LEFT JOIN LATERAL "
	"(SELECT e.occurred_at, e.recorded_at, ";
static const char lease_tail[] = " FROM waybill.events e"
				 " WHERE e.customer = l.customer AND e.occurred_at = l.occurred_at AND e.event_id = "
				 "l.event_id LIMIT 1) e ON true"
				 " ORDER BY l.customer, l.endpoint, l.occurred_at";
enum lease_column {
	LEASE_CUSTOMER,
	LEASE_ENDPOINT,
	LEASE_EVENT_ID,
	LEASE_ATTEMPTS,
	LEASE_LADDER,
	LEASE_OCCURRED,
	LEASE_RECORDED,
	LEASE_EVENT = LEASE_RECORDED + 3
};

char *outbox_lease_statement(void)
{
	struct buffer sql = {0};
	buffer_text(&sql, TEXT(lease_head));
	for (size_t i = 0; i < EVENT_FIELD_MAX; i++)
		buffer_format(&sql, "%s%s AS f%zu", i ? ", " : "", event_row_sql[i], i);
	buffer_text(&sql, TEXT(lease_tail));
	char *statement = text_copy(buffer_view(&sql));
	buffer_free(&sql);
	return statement;
}

/* What the deliveries of a lease have in common, kept while the rows are turned into deliveries. */
struct endpoints {
	struct endpoint **list; /* NULL: cannot be used, why is in the same place of REASONS */
	char **reasons;
	size_t count;
};

static void endpoints_free(struct endpoints *endpoints)
{
	for (size_t i = 0; i < endpoints->count; i++) {
		endpoint_free(&endpoints->list[i]);
		free(endpoints->reasons[i]);
	}
	free(endpoints->list);
	free(endpoints->reasons);
}

/* The customers and endpoints that ROWS are about, in their order, each once, as JSON. */
static void endpoints_named(const struct pg_result *rows, struct buffer *out)
{
	struct json json = {.out = out};
	struct text last = {0};
	json_open(&json, NULL, '[');
	for (size_t i = 0; i < pg_rows(rows); i++) {
		struct text endpoint = pg_field(rows, i, LEASE_ENDPOINT);
		if (last.ptr && text_equal(endpoint, last))
			continue;
		last = endpoint;
		json_open(&json, NULL, '{');
		json_string(&json, "customer", pg_field(rows, i, LEASE_CUSTOMER));
		json_string(&json, "endpoint", endpoint);
		json_close(&json, '}');
	}
	json_close(&json, ']');
}

static const char endpoints_sql[] = "SELECT customer, endpoint, url, format, sealed_secret,"
				    " CASE WHEN previous_until > now() THEN sealed_previous END, v1a,"
				    " coalesce(timeout_s, 0), sealed_header, sealed_certificate"
				    " FROM json_to_recordset($1::json) AS w(customer text, endpoint text) JOIN "
				    "waybill.endpoints USING (customer, endpoint)"
				    " ORDER BY customer, endpoint";
enum endpoint_column {
	ENDPOINT_CUSTOMER,
	ENDPOINT_ID,
	ENDPOINT_URL,
	ENDPOINT_FORMAT,
	ENDPOINT_SECRET,
	ENDPOINT_PREVIOUS,
	ENDPOINT_ASYMMETRIC,
	ENDPOINT_TIMEOUT,
	ENDPOINT_HEADER,
	ENDPOINT_CERTIFICATE
};

/* Opens a sealed secret and adds its key; NULL or why not. */
static const char *add_key(const struct outbox *outbox, struct text sealed_hex, struct endpoint *endpoint)
{
	struct buffer sealed = {0}, secret = {0}, bound = {0};
	buffer_format(&bound, "%s %s", endpoint->customer, endpoint->id);
	const char *why = pg_bytea(sealed_hex, &sealed);
	if (!why)
		why = seal_unseal(outbox->settings.seal, buffer_view(&sealed), buffer_view(&bound), &secret);
	if (!why)
		why = signature_key(buffer_view(&secret), &endpoint->keys[endpoint->key_count]);
	if (!why)
		endpoint->key_count++;
	seal_wipe(&secret);
	buffer_free(&sealed);
	buffer_free(&bound);
	return why;
}

/* Opens what is sealed for the endpoint and this KIND, if there is any; NULL or why not. */
static const char *take_sealed(const struct outbox *outbox, struct text sealed_hex, const struct endpoint *endpoint,
			       const char *kind, struct buffer *out)
{
	struct buffer sealed = {0}, bound = {0};
	if (!sealed_hex.ptr)
		return NULL;
	buffer_format(&bound, "%s %s %s", endpoint->customer, endpoint->id, kind);
	const char *why = pg_bytea(sealed_hex, &sealed);
	if (!why)
		why = seal_unseal(outbox->settings.seal, buffer_view(&sealed), buffer_view(&bound), out);
	buffer_free(&sealed);
	buffer_free(&bound);
	return why;
}

static void take_timeout(const struct outbox *outbox, int64_t own_ms, struct endpoint *endpoint)
{
	int64_t most = outbox->settings.lease_ms - OUTBOX_MARGIN_MS;
	endpoint->patient = own_ms > 0;
	endpoint->timeout_ms = own_ms ? own_ms : outbox->settings.timeout_ms;
	if (endpoint->timeout_ms > most)
		endpoint->timeout_ms = most;
}

static const char *endpoint_fill(const struct outbox *outbox, const struct pg_result *rows, size_t row,
				 struct endpoint *endpoint)
{
	endpoint->customer = text_copy(pg_field(rows, row, ENDPOINT_CUSTOMER));
	endpoint->id = text_copy(pg_field(rows, row, ENDPOINT_ID));
	endpoint->url = text_copy(pg_field(rows, row, ENDPOINT_URL));
	endpoint->format = format_of(pg_field(rows, row, ENDPOINT_FORMAT));
	endpoint->asymmetric = pg_bool(rows, row, ENDPOINT_ASYMMETRIC);
	take_timeout(outbox, pg_int(rows, row, ENDPOINT_TIMEOUT) * 1000, endpoint);
	if (endpoint->format == FORMAT_MAX)
		return "this waybill-webhookd does not know the endpoint's format";
	const char *why = add_key(outbox, pg_field(rows, row, ENDPOINT_SECRET), endpoint);
	struct text previous = pg_field(rows, row, ENDPOINT_PREVIOUS);
	if (!why && previous.ptr)
		why = add_key(outbox, previous, endpoint);
	if (!why)
		why = take_sealed(outbox, pg_field(rows, row, ENDPOINT_HEADER), endpoint, "header", &endpoint->header);
	if (!why)
		why = take_sealed(outbox, pg_field(rows, row, ENDPOINT_CERTIFICATE), endpoint, "certificate",
				  &endpoint->certificate);
	return why;
}

static enum pg_status endpoints_load(struct outbox *outbox, const struct pg_result *leased, struct endpoints *out)
{
	struct buffer wanted = {0};
	struct pg_result *rows;
	endpoints_named(leased, &wanted);
	const char *params[] = {buffer_string(&wanted)};
	enum pg_status status = pg_query(outbox->pg, endpoints_sql, params, 1, &rows);
	buffer_free(&wanted);
	if (status != PG_OK)
		return status;
	out->count = pg_rows(rows);
	out->list = memory_zero(out->count + 1, sizeof(*out->list));
	out->reasons = memory_zero(out->count + 1, sizeof(*out->reasons));
	for (size_t i = 0; i < out->count; i++) {
		out->list[i] = endpoint_new();
		const char *why = endpoint_fill(outbox, rows, i, out->list[i]);
		if (why)
			out->reasons[i] = text_copy(text_of(why));
	}
	pg_result_free(&rows);
	return PG_OK;
}

/* Looks from FROM on, where it usually is: rows and endpoints come in the same order. */
static size_t endpoints_find(const struct endpoints *endpoints, struct text id, size_t from)
{
	for (size_t i = 0; i < endpoints->count; i++) {
		size_t at = (from + i) % endpoints->count;
		if (text_equal(id, text_of(endpoints->list[at]->id)))
			return at;
	}
	return SIZE_MAX;
}

static struct delivery *make_delivery(const struct outbox *outbox, const struct pg_result *rows, size_t row,
				      struct endpoint *endpoint, const char *reason, int64_t now_ms)
{
	struct event_row event;
	for (size_t i = 0; i < EVENT_FIELD_MAX; i++)
		event.field[i] = pg_field(rows, row, LEASE_EVENT + i);
	struct delivery *d =
		delivery_new(endpoint, pg_field(rows, row, LEASE_EVENT_ID), (int)pg_int(rows, row, LEASE_ATTEMPTS) + 1);
	d->try = d->attempt - (int)pg_int(rows, row, LEASE_LADDER);
	if (pg_field(rows, row, LEASE_OCCURRED).ptr) {
		d->occurred_us = pg_int(rows, row, LEASE_OCCURRED);
		d->recorded_us = pg_int(rows, row, LEASE_RECORDED);
	}
	d->start_until_ms = now_ms + outbox->settings.lease_ms - endpoint->timeout_ms - OUTBOX_MARGIN_MS / 2;
	if (!event.field[EVENT_ID].ptr) {
		d->state = DELIVERY_LOST;
		d->error = text_copy(TEXT("the event is no longer kept"));
	} else if (reason) {
		d->state = DELIVERY_UNSENDABLE;
		d->error = text_copy(text_of(reason));
	} else {
		envelope_body(endpoint, &event, &d->body);
	}
	return d;
}

static void make_deliveries(const struct outbox *outbox, const struct pg_result *rows,
			    const struct endpoints *endpoints, int64_t now_ms, struct delivery_list *out)
{
	size_t at = 0;
	for (size_t i = 0; i < pg_rows(rows); i++) {
		size_t found = endpoints_find(endpoints, pg_field(rows, i, LEASE_ENDPOINT), at);
		if (found == SIZE_MAX)
			continue; /* removed since it was leased: its deliveries went with it */
		at = found;
		delivery_list_add(out,
				  make_delivery(outbox, rows, i, endpoints->list[at], endpoints->reasons[at], now_ms));
	}
}

/* Whoever came last in this lease is where the next one goes on; a lease that was not full saw the end of the list. */
static void take_turn(struct outbox *outbox, const struct pg_result *rows, size_t max)
{
	size_t count = pg_rows(rows);
	bool full = count >= max;
	text_put(full ? pg_field(rows, count - 1, LEASE_CUSTOMER) : TEXT(""), outbox->customer, OUTBOX_NAME_SIZE);
	text_put(full ? pg_field(rows, count - 1, LEASE_ENDPOINT) : TEXT(""), outbox->endpoint, OUTBOX_NAME_SIZE);
}

static enum pg_status lease_rows(struct outbox *outbox, size_t max, const char *held, struct pg_result **rows)
{
	char each[24], most[24], lease_ms[24], failures[24];
	snprintf(each, sizeof(each), "%zu", outbox->settings.endpoint_max);
	snprintf(most, sizeof(most), "%zu", max);
	snprintf(lease_ms, sizeof(lease_ms), "%lld", (long long)outbox->settings.lease_ms);
	snprintf(failures, sizeof(failures), "%d", outbox->settings.breaker_failures);
	const char *params[] = {outbox->customer, outbox->endpoint, each, held, most, lease_ms, failures};
	return pg_query(outbox->pg, outbox->lease_sql, params, sizeof(params) / sizeof(params[0]), rows);
}

enum pg_status outbox_lease(struct outbox *outbox, size_t max, struct text held, int64_t now_ms,
			    struct delivery_list *out)
{
	struct pg_result *rows;
	char *held_copy = text_copy(held);
	bool from_start = !outbox->customer[0];
	enum pg_status status = lease_rows(outbox, max, held_copy, &rows);
	if (status == PG_OK && pg_rows(rows) == 0 && !from_start) {
		pg_result_free(&rows);
		outbox->customer[0] = outbox->endpoint[0] = '\0';
		status = lease_rows(outbox, max, held_copy, &rows);
	}
	free(held_copy);
	if (status != PG_OK)
		return status;

	struct endpoints endpoints = {0};
	if (pg_rows(rows))
		status = endpoints_load(outbox, rows, &endpoints);
	if (status == PG_OK) {
		make_deliveries(outbox, rows, &endpoints, now_ms, out);
		take_turn(outbox, rows, max);
	}
	endpoints_free(&endpoints);
	pg_result_free(&rows);
	return status;
}
