#include <stdio.h>
#include <stdlib.h>

#include "common/memory.h"

#include "bouncer/json.h"
#include "bouncer/outbox_internal.h"

#define CHANNEL "waybill_deliveries"

struct outbox *outbox_new(const struct outbox_settings *settings)
{
	struct outbox *outbox = memory_zero(1, sizeof(*outbox));
	outbox->settings = *settings;
	outbox->pg = pg_new(settings->postgres, "waybill-webhookd");
	outbox->lease_sql = outbox_lease_statement();
	return outbox;
}

void outbox_free(struct outbox **outbox)
{
	if (!*outbox)
		return;
	pg_free(&(*outbox)->pg);
	free((*outbox)->lease_sql);
	free(*outbox);
	*outbox = NULL;
}

const char *outbox_error(const struct outbox *outbox)
{
	return pg_error(outbox->pg);
}

enum pg_status outbox_listen(struct outbox *outbox)
{
	return pg_query(outbox->pg, "LISTEN " CHANNEL, NULL, 0, NULL);
}

int outbox_socket(const struct outbox *outbox)
{
	return pg_socket(outbox->pg);
}

bool outbox_notified(struct outbox *outbox)
{
	return pg_notified(outbox->pg);
}

/* $1: an array of objects, one a delivery; $2: failures in a row from which the breaker is open. An attempt counts only
 * if nobody recorded it before: a lease that ended under a POST may have been taken by another instance. The breaker
 * opens for half a minute, then twice as long each time, up to ten minutes. */
static const char record_sql[] =
	"WITH r AS MATERIALIZED (SELECT * FROM json_to_recordset($1::json) AS r("
	"  customer text, endpoint text, event_id text, attempt int, started_us bigint, duration_ms int, status int,"
	"  error text, answer text, posted boolean, ok boolean, gone boolean, state text, wait_ms bigint, pause_ms "
	"bigint)),"
	" d AS (UPDATE waybill.deliveries d SET attempts = CASE WHEN r.posted THEN r.attempt ELSE d.attempts END,"
	"   state = r.state, due_at = now() + r.wait_ms * interval '1 ms',"
	"   finished_at = CASE WHEN r.state <> 'due' THEN now() END"
	"  FROM r WHERE d.customer = r.customer AND d.endpoint = r.endpoint AND d.event_id = r.event_id"
	"   AND d.state = 'due' AND d.attempts < r.attempt RETURNING r.*),"
	" a AS (INSERT INTO waybill.attempts"
	"  (customer, endpoint, event_id, attempt, started_at, duration_ms, status, error, answer)"
	"  SELECT customer, endpoint, event_id, attempt, to_timestamp(started_us / 1e6), duration_ms, status, error, "
	"answer"
	"   FROM d WHERE posted ON CONFLICT DO NOTHING),"
	" h AS (SELECT customer, endpoint, bool_or(ok) AS ok, bool_or(gone) AS gone, max(pause_ms) AS pause_ms,"
	"   (count(*) FILTER (WHERE NOT ok))::int AS failed FROM r WHERE posted GROUP BY customer, endpoint"
	"   ORDER BY customer, endpoint)"
	" UPDATE waybill.endpoints e SET"
	"   failures = CASE WHEN h.ok THEN 0 ELSE e.failures + h.failed END,"
	"   failing_since = CASE WHEN NOT h.ok THEN coalesce(e.failing_since, now()) END,"
	"   notices = CASE WHEN h.ok THEN 0 ELSE e.notices END,"
	"   retry_at = CASE WHEN h.pause_ms > 0 THEN now() + h.pause_ms * interval '1 ms'"
	"     WHEN NOT h.ok AND e.failures + h.failed >= $2::int"
	"     THEN now() + least(600, 30 * 2 ^ least(10, (e.failures + h.failed - $2::int) / greatest(1, $2::int)))"
	"       * interval '1 s' END,"
	"   status = CASE WHEN h.gone THEN 'disabled' ELSE e.status END,"
	"   status_reason = CASE WHEN h.gone THEN 'it answered 410 Gone' ELSE e.status_reason END"
	"  FROM h WHERE e.customer = h.customer AND e.endpoint = h.endpoint"
	"   AND (e.failures > 0 OR e.retry_at IS NOT NULL OR h.failed > 0)"
	" RETURNING e.customer, e.endpoint, e.status, e.status_reason";

static void add_name(struct json *json, const struct delivery *d)
{
	json_string(json, "customer", text_of(d->endpoint->customer));
	json_string(json, "endpoint", text_of(d->endpoint->id));
	json_string(json, "event_id", text_of(d->event_id));
}

static void add_record(struct json *json, const struct delivery *d)
{
	json_open(json, NULL, '{');
	add_name(json, d);
	json_int(json, "attempt", d->attempt);
	json_int(json, "started_us", d->started_us);
	json_int(json, "duration_ms", d->duration_ms);
	if (d->status)
		json_int(json, "status", d->status);
	if (d->error)
		json_string(json, "error", text_of(d->error));
	if (d->answer.len)
		json_string(json, "answer", buffer_view(&d->answer));
	json_bool(json, "posted", d->state == DELIVERY_POSTED);
	json_bool(json, "ok", d->ok);
	json_bool(json, "gone", d->gone);
	json_string(json, "state", text_of(d->outcome));
	json_int(json, "wait_ms", d->wait_ms);
	json_int(json, "pause_ms", d->pause_ms);
	json_close(json, '}');
}

enum record_column { RECORD_CUSTOMER, RECORD_ENDPOINT, RECORD_STATUS, RECORD_REASON };

/* Only active endpoints are posted to, so each is told once. */
static void tell_disabled(const struct outbox *outbox, const struct pg_result *changed)
{
	for (size_t i = 0; i < pg_rows(changed); i++)
		if (text_equal(pg_field(changed, i, RECORD_STATUS), TEXT("disabled")))
			outbox->settings.disabled(pg_string(changed, i, RECORD_CUSTOMER),
						  pg_string(changed, i, RECORD_ENDPOINT),
						  pg_string(changed, i, RECORD_REASON));
}

enum pg_status outbox_record(struct outbox *outbox, const struct delivery_list *done)
{
	struct buffer rows = {0};
	struct json json = {.out = &rows};
	json_open(&json, NULL, '[');
	for (const struct delivery *d = done->head; d; d = d->next)
		add_record(&json, d);
	json_close(&json, ']');

	char failures[24];
	snprintf(failures, sizeof(failures), "%d", outbox->settings.breaker_failures);
	const char *params[] = {buffer_string(&rows), failures};
	struct pg_result *changed;
	enum pg_status status = pg_query(outbox->pg, record_sql, params, 2, &changed);
	buffer_free(&rows);
	if (status == PG_OK)
		tell_disabled(outbox, changed);
	pg_result_free(&changed);
	return status;
}

static const char release_sql[] =
	"UPDATE waybill.deliveries d SET due_at = now()"
	" FROM json_to_recordset($1::json) AS r(customer text, endpoint text, event_id text, attempt int)"
	" WHERE d.customer = r.customer AND d.endpoint = r.endpoint AND d.event_id = r.event_id"
	" AND d.state = 'due' AND d.attempts = r.attempt - 1";

enum pg_status outbox_release(struct outbox *outbox, const struct delivery_list *unused)
{
	struct buffer rows = {0};
	struct json json = {.out = &rows};
	json_open(&json, NULL, '[');
	for (const struct delivery *d = unused->head; d; d = d->next) {
		json_open(&json, NULL, '{');
		add_name(&json, d);
		json_int(&json, "attempt", d->attempt);
		json_close(&json, '}');
	}
	json_close(&json, ']');
	const char *params[] = {buffer_string(&rows)};
	enum pg_status status = pg_query(outbox->pg, release_sql, params, 1, NULL);
	buffer_free(&rows);
	return status;
}

enum pg_status outbox_prune(struct outbox *outbox, int64_t keep_ms, size_t *count)
{
	char keep[32];
	struct pg_result *rows;
	snprintf(keep, sizeof(keep), "%lld milliseconds", (long long)keep_ms);
	const char *params[] = {keep};
	*count = 0;
	enum pg_status status = pg_query(outbox->pg, "SELECT waybill.prune_deliveries($1::interval)", params, 1, &rows);
	if (status == PG_OK)
		*count = (size_t)pg_int(rows, 0, 0);
	pg_result_free(&rows);
	return status;
}
