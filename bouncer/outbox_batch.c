/* Batches: events of one endpoint in one POST. Who is in a batch is written down before its first POST, so that its body and
 * its id are the same in every attempt, whoever makes it. */

#include <stdlib.h>

#include "common/digest.h"
#include "common/encode.h"
#include "common/memory.h"

#include "bouncer/array.h"
#include "bouncer/envelope.h"
#include "bouncer/outbox_internal.h"

struct outbox_batch {
	struct endpoint *endpoint;
	char *id;
	size_t row, count; /* of the lease; count 0: it leads a batch that was formed before */
};

static struct outbox_batch *add(struct lease *lease, struct endpoint *endpoint)
{
	struct outbox_batches *batches = &lease->batches;
	batches->list = memory_resize(batches->list, batches->count + 1, sizeof(*batches->list));
	batches->list[batches->count] = (struct outbox_batch){.endpoint = endpoint_share(endpoint)};
	return &batches->list[batches->count++];
}

/* The same events make the same id, so that one that is formed again after a replay is known to its receiver. */
static char *batch_id(const struct pg_result *rows, size_t row, size_t count)
{
	unsigned char hash[32];
	struct buffer ids = {0}, id = {0};
	for (size_t i = 0; i < count; i++) {
		buffer_text(&ids, pg_field(rows, row + i, ROW_EVENT_ID));
		buffer_char(&ids, '\n');
	}
	digest_sha256(buffer_view(&ids), hash);
	buffer_text(&id, TEXT("bat_"));
	encode_base32(text_at(hash, 16), &id);
	buffer_free(&ids);
	return outbox_text(&id);
}

void outbox_batch_form(struct lease *lease, size_t row, size_t count, struct endpoint *endpoint)
{
	struct outbox_batch *batch = add(lease, endpoint);
	batch->id = batch_id(lease->rows, row, count);
	batch->row = row;
	batch->count = count;
}

void outbox_batch_want(struct lease *lease, size_t row, struct endpoint *endpoint)
{
	struct outbox_batch *batch = add(lease, endpoint);
	batch->id = text_copy(pg_field(lease->rows, row, ROW_BATCH));
	batch->row = row;
}

void outbox_batches_free(struct outbox_batches *batches)
{
	for (size_t i = 0; i < batches->count; i++) {
		endpoint_free(&batches->list[i].endpoint);
		free(batches->list[i].id);
	}
	free(batches->list);
}

/* How often the rows were tried: the batch goes on where the furthest of them stands. */
static void count_tries(const struct pg_result *rows, size_t row, size_t count, int *attempts, int *tries)
{
	*attempts = *tries = 0;
	for (size_t i = 0; i < count; i++) {
		int made = (int)pg_int(rows, row + i, ROW_ATTEMPTS),
		    since = made - (int)pg_int(rows, row + i, ROW_LADDER);
		*attempts = made > *attempts ? made : *attempts;
		*tries = since > *tries ? since : *tries;
	}
}

static struct delivery *make_batch(struct lease *lease, const struct outbox_batch *batch, const struct pg_result *rows,
				   size_t row, size_t count)
{
	int attempts, tries;
	struct event_row *events = memory_zero(count, sizeof(*events));
	count_tries(rows, row, count, &attempts, &tries);
	struct delivery *d = delivery_new_batch(batch->endpoint, text_of(batch->id), count, attempts + 1);
	d->try = tries + 1;
	d->start_until_ms = outbox_start_until(lease->outbox, batch->endpoint, lease->now_ms);
	for (size_t i = 0; i < count; i++) {
		outbox_row_event(rows, row + i, &events[i]);
		delivery_add_event(d, pg_field(rows, row + i, ROW_EVENT_ID), pg_int(rows, row + i, ROW_OCCURRED),
				   pg_int(rows, row + i, ROW_RECORDED));
	}
	format_batch(batch->endpoint->format, text_of(batch->id), events, count, &lease->scratch);
	outbox_take_body(lease, d);
	free(events);
	return d;
}

/* Those that are formed: all of them count as tried as often as the furthest. */
enum { FORM_CUSTOMER, FORM_ENDPOINT, FORM_EVENT, FORM_BATCH, FORM_MEMBERS, FORM_ATTEMPTS, FORM_LADDER, FORM_MAX };
static const char form_sql[] =
	"UPDATE waybill.deliveries d SET batch = f.batch, batch_members = f.members::text[], attempts = f.attempts,"
	" ladder_from = f.ladder FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::int[], "
	"$7::int[])"
	" AS f(customer, endpoint, event_id, batch, members, attempts, ladder)"
	" WHERE d.customer = f.customer AND d.endpoint = f.endpoint AND d.event_id = f.event_id AND d.state = 'due'";

static void add_formed(const struct pg_result *rows, const struct outbox_batch *batch, struct buffer *columns)
{
	int attempts, tries;
	struct buffer members = {0};
	count_tries(rows, batch->row, batch->count, &attempts, &tries);
	outbox_arrays_open(&members, 1);
	for (size_t i = 0; i < batch->count; i++)
		array_add(&members, pg_field(rows, batch->row + i, ROW_EVENT_ID));
	buffer_char(&members, '}');
	for (size_t i = 0; i < batch->count; i++) {
		array_add(&columns[FORM_CUSTOMER], text_of(batch->endpoint->customer));
		array_add(&columns[FORM_ENDPOINT], text_of(batch->endpoint->id));
		array_add(&columns[FORM_EVENT], pg_field(rows, batch->row + i, ROW_EVENT_ID));
		array_add(&columns[FORM_BATCH], text_of(batch->id));
		array_add(&columns[FORM_MEMBERS], i ? (struct text){0} : buffer_view(&members));
		outbox_array_int(&columns[FORM_ATTEMPTS], attempts);
		outbox_array_int(&columns[FORM_LADDER], attempts - tries);
	}
	buffer_free(&members);
}

static enum pg_status form(struct lease *lease, struct delivery_list *out)
{
	struct buffer columns[FORM_MAX] = {0};
	const char *params[FORM_MAX];
	struct delivery_list made = {0};
	outbox_arrays_open(columns, FORM_MAX);
	for (size_t i = 0; i < lease->batches.count; i++) {
		const struct outbox_batch *batch = &lease->batches.list[i];
		if (!batch->count)
			continue;
		add_formed(lease->rows, batch, columns);
		delivery_list_add(&made, make_batch(lease, batch, lease->rows, batch->row, batch->count));
	}
	outbox_arrays_close(columns, FORM_MAX, params);
	enum pg_status status =
		made.count ? pg_query_again(lease->outbox->pg, form_sql, params, FORM_MAX, NULL) : PG_OK;
	if (status == PG_OK)
		delivery_list_join(out, &made);
	delivery_list_free(&made);
	outbox_arrays_free(columns, FORM_MAX);
	return status;
}

/* Those that were formed before: their events in order, batch after batch. */
enum { WANT_CUSTOMER, WANT_ENDPOINT, WANT_EVENT, WANT_MAX };
static const char members_head[] = "SELECT " OUTBOX_ROW_SQL("w.customer", "w.endpoint", "m.event_id") ", w.place";
static const char members_from[] =
	"unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY AS w(customer, endpoint, event_id, place)"
	" CROSS JOIN LATERAL (SELECT l.batch_members FROM waybill.deliveries l WHERE l.customer = w.customer"
	"  AND l.endpoint = w.endpoint AND l.event_id = w.event_id LIMIT 1) l"
	" CROSS JOIN LATERAL unnest(l.batch_members) WITH ORDINALITY AS m(event_id, place)"
	" LEFT JOIN LATERAL (SELECT * FROM waybill.deliveries d WHERE d.customer = w.customer"
	"  AND d.endpoint = w.endpoint AND d.event_id = m.event_id LIMIT 1) d ON true";
#define ROW_PLACE (ROW_EVENT + EVENT_FIELD_MAX)

char *outbox_members_statement(void)
{
	struct buffer sql = {0};
	buffer_text(&sql, TEXT(members_head));
	outbox_event_sql(members_from, &sql);
	buffer_text(&sql, TEXT(" ORDER BY w.place, m.place"));
	return outbox_text(&sql);
}

static const char dissolve_sql[] =
	"UPDATE waybill.deliveries d SET batch = NULL, batch_members = NULL, leased_until = NULL"
	" WHERE d.customer = $1 AND d.endpoint = $2 AND d.batch = $3 AND d.state = 'due'";

static enum pg_status dissolve(struct lease *lease, const struct outbox_batch *batch)
{
	const char *params[] = {batch->endpoint->customer, batch->endpoint->id, batch->id};
	return pg_query(lease->outbox->pg, dissolve_sql, params, 3, NULL);
}

static bool is_whole(const struct pg_result *rows, size_t row, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (!pg_field(rows, row + i, ROW_EVENT).ptr)
			return false;
	return count > 0;
}

/* ROWS are the events of all wanted batches; PLACE counts these from 1. */
static enum pg_status take_members(struct lease *lease, const struct pg_result *rows, struct delivery_list *out)
{
	enum pg_status status = PG_OK;
	int64_t place = 0;
	size_t row = 0;
	for (size_t i = 0; i < lease->batches.count && status == PG_OK; i++) {
		const struct outbox_batch *batch = &lease->batches.list[i];
		size_t count = 0;
		if (batch->count)
			continue;
		place++;
		while (row + count < pg_rows(rows) && pg_int(rows, row + count, ROW_PLACE) == place)
			count++;
		if (is_whole(rows, row, count))
			delivery_list_add(out, make_batch(lease, batch, rows, row, count));
		else
			status = dissolve(lease, batch);
		row += count;
	}
	return status;
}

static enum pg_status want(struct lease *lease, struct delivery_list *out)
{
	struct buffer columns[WANT_MAX] = {0};
	const char *params[WANT_MAX];
	struct pg_result *rows = NULL;
	bool any = false;
	outbox_arrays_open(columns, WANT_MAX);
	for (size_t i = 0; i < lease->batches.count; i++) {
		const struct outbox_batch *batch = &lease->batches.list[i];
		if (batch->count)
			continue;
		any = true;
		array_add(&columns[WANT_CUSTOMER], text_of(batch->endpoint->customer));
		array_add(&columns[WANT_ENDPOINT], text_of(batch->endpoint->id));
		array_add(&columns[WANT_EVENT], pg_field(lease->rows, batch->row, ROW_EVENT_ID));
	}
	outbox_arrays_close(columns, WANT_MAX, params);
	enum pg_status status =
		any ? pg_query_again(lease->outbox->pg, lease->outbox->members_sql, params, WANT_MAX, &rows) : PG_OK;
	if (status == PG_OK && any)
		status = take_members(lease, rows, out);
	pg_result_free(&rows);
	outbox_arrays_free(columns, WANT_MAX);
	return status;
}

enum pg_status outbox_batches_take(struct lease *lease, struct delivery_list *out)
{
	enum pg_status status = form(lease, out);
	return status == PG_OK ? want(lease, out) : status;
}
