#include <stdio.h>
#include <stdlib.h>

#include "common/memory.h"

#include "bouncer/array.h"
#include "bouncer/outbox_internal.h"

#define CHANNEL "waybill_deliveries"

struct outbox *outbox_new(const struct outbox_settings *settings)
{
	struct outbox *outbox = memory_zero(1, sizeof(*outbox));
	outbox->settings = *settings;
	outbox->pg = pg_new(settings->postgres, "waybill-webhookd");
	outbox->lease_sql = outbox_lease_statement();
	outbox->members_sql = outbox_members_statement();
	return outbox;
}

void outbox_free(struct outbox **outbox)
{
	if (!*outbox)
		return;
	pg_free(&(*outbox)->pg);
	free((*outbox)->lease_sql);
	free((*outbox)->members_sql);
	free(*outbox);
	*outbox = NULL;
}

char *outbox_text(struct buffer *buffer)
{
	char *copy = text_copy(buffer_view(buffer));
	buffer_free(buffer);
	return copy;
}

void outbox_arrays_open(struct buffer *arrays, size_t count)
{
	for (size_t i = 0; i < count; i++)
		buffer_char(&arrays[i], '{');
}

void outbox_arrays_close(struct buffer *arrays, size_t count, const char **params)
{
	for (size_t i = 0; i < count; i++) {
		buffer_char(&arrays[i], '}');
		params[i] = buffer_string(&arrays[i]);
	}
}

void outbox_arrays_free(struct buffer *arrays, size_t count)
{
	for (size_t i = 0; i < count; i++)
		buffer_free(&arrays[i]);
}

void outbox_array_int(struct buffer *array, int64_t value)
{
	char digits[24];
	snprintf(digits, sizeof(digits), "%lld", (long long)value);
	array_add(array, text_of(digits));
}

const char *outbox_error(const struct outbox *outbox)
{
	return pg_error(outbox->pg);
}

/* Every statement here looks rows up by index, a thousand at a time. The planner takes arrays and the recursion for larger
 * than they are, and the tables for as small as they were at the last ANALYZE: it would scan them whole. */
static const char session_sql[] = "SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off;"
				  " SET plan_cache_mode = force_generic_plan; SET jit = off; LISTEN " CHANNEL;

enum pg_status outbox_listen(struct outbox *outbox)
{
	return pg_script(outbox->pg, session_sql);
}

int outbox_socket(const struct outbox *outbox)
{
	return pg_socket(outbox->pg);
}

bool outbox_notified(struct outbox *outbox)
{
	return pg_notified(outbox->pg);
}

/* Of a batch the row of the first alone: the others are not leased without it. */
static const char release_sql[] =
	"UPDATE waybill.deliveries d SET leased_until = NULL"
	" FROM unnest($1::text[], $2::text[], $3::text[], $4::int[]) AS r(customer, endpoint, event_id, attempt)"
	" WHERE d.customer = r.customer AND d.endpoint = r.endpoint AND d.event_id = r.event_id"
	" AND d.state = 'due' AND d.attempts = r.attempt - 1";

enum { RELEASE_CUSTOMER, RELEASE_ENDPOINT, RELEASE_EVENT, RELEASE_ATTEMPT, RELEASE_MAX };

enum pg_status outbox_release(struct outbox *outbox, const struct delivery_list *unused)
{
	struct buffer columns[RELEASE_MAX] = {0};
	const char *params[RELEASE_MAX];
	outbox_arrays_open(columns, RELEASE_MAX);
	for (const struct delivery *d = unused->head; d; d = d->next) {
		array_add(&columns[RELEASE_CUSTOMER], text_of(d->endpoint->customer));
		array_add(&columns[RELEASE_ENDPOINT], text_of(d->endpoint->id));
		array_add(&columns[RELEASE_EVENT], text_of(d->events[0].id));
		outbox_array_int(&columns[RELEASE_ATTEMPT], d->attempt);
	}
	outbox_arrays_close(columns, RELEASE_MAX, params);
	enum pg_status status = pg_query(outbox->pg, release_sql, params, RELEASE_MAX, NULL);
	outbox_arrays_free(columns, RELEASE_MAX);
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
