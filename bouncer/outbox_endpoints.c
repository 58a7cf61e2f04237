/* What deliveries of a lease have in common: their endpoints, with what is sealed for them opened. */

#include <stdlib.h>

#include "common/json.h"
#include "common/memory.h"
#include "common/seal.h"

#include "bouncer/outbox_internal.h"
#include "bouncer/signature.h"

void outbox_endpoints_free(struct outbox_endpoints *endpoints)
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
		struct text endpoint = pg_field(rows, i, ROW_ENDPOINT);
		if (last.ptr && text_equal(endpoint, last))
			continue;
		last = endpoint;
		json_open(&json, NULL, '{');
		json_string(&json, "customer", pg_field(rows, i, ROW_CUSTOMER));
		json_string(&json, "endpoint", endpoint);
		json_close(&json, '}');
	}
	json_close(&json, ']');
}

static const char endpoints_sql[] = "SELECT customer, endpoint, url, format, sealed_secret,"
				    " CASE WHEN previous_until > now() THEN sealed_previous END, v1a,"
				    " coalesce(timeout_s, 0), sealed_header, sealed_certificate, batch_max"
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
	ENDPOINT_CERTIFICATE,
	ENDPOINT_BATCH
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
	endpoint->batch_max = (size_t)pg_int(rows, row, ENDPOINT_BATCH);
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

enum pg_status outbox_endpoints_load(struct outbox *outbox, const struct pg_result *leased,
				     struct outbox_endpoints *out)
{
	struct buffer wanted = {0};
	struct pg_result *rows;
	endpoints_named(leased, &wanted);
	const char *params[] = {buffer_string(&wanted)};
	enum pg_status status = pg_query_again(outbox->pg, endpoints_sql, params, 1, &rows);
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

size_t outbox_endpoints_find(const struct outbox_endpoints *endpoints, struct text id, size_t from)
{
	for (size_t i = 0; i < endpoints->count; i++) {
		size_t at = (from + i) % endpoints->count;
		if (text_equal(id, text_of(endpoints->list[at]->id)))
			return at;
	}
	return SIZE_MAX;
}
