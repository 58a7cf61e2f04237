#include <stdlib.h>

#include "bouncer/array.h"
#include "bouncer/event_ascii.h"
#include "bouncer/line.h"
#include "bouncer/report_store.h"

static void claims_of(const struct report *report, struct buffer *out)
{
	char ascii[EVENT_ADDRESS_SIZE];
	buffer_char(out, '{');
	for (size_t i = 0; i < report->count; i++) {
		array_add(out, event_address_ascii(report->recipient[i].address, ascii));
		array_add(out, event_address_ascii(report->recipient[i].original, ascii));
	}
	buffer_char(out, '}');
}

static const char find_sql[] =
	"SELECT m.customer, m.host, m.only_recipient, m.later, m.matches[2 * n - 1], m.matches[2 * n] "
	"FROM waybill.reported_message($1, $2, $3, $4, $5) m "
	"LEFT JOIN generate_series(1, cardinality(m.matches) / 2) AS n ON true ORDER BY n";

static char *copy(const struct pg_result *r, size_t row, size_t column)
{
	struct text field = pg_field(r, row, column);
	return field.ptr ? text_copy(field) : NULL;
}

static void take(const struct pg_result *r, struct report_message *out)
{
	if (!pg_rows(r))
		return;
	out->customer_known = true;
	out->customer = copy(r, 0, 0);
	out->host = copy(r, 0, 1);
	out->known = out->host != NULL;
	out->only_recipient = copy(r, 0, 2);
	out->later = pg_bool(r, 0, 3);
	for (size_t i = 0; i < pg_rows(r) && i < REPORT_MAX_RECIPIENTS; i++)
		for (size_t k = 0; k < 2; k++)
			out->match[i][k] = copy(r, i, 4 + k);
}

enum pg_status report_store_find(struct pg *pg, const struct return_path *path, const struct report *report,
				 struct report_message *out)
{
	struct buffer customer = {0}, node = {0}, claims = {0};
	struct pg_result *r = NULL;
	char queued_at[40];
	int64_t queued_us = line_queue_time(text_of(path->queue_id));
	*out = (struct report_message){0};
	event_time(queued_us, queued_at);
	pg_bytea_param(text_at(path->customer, sizeof path->customer), &customer);
	pg_bytea_param(text_at(path->node, sizeof path->node), &node);
	claims_of(report, &claims);
	const char *const params[] = {buffer_string(&customer), buffer_string(&node), path->queue_id,
				      queued_us ? queued_at : NULL, buffer_string(&claims)};
	enum pg_status status = pg_query(pg, find_sql, params, 5, &r);
	if (status == PG_OK)
		take(r, out);
	pg_result_free(&r);
	buffer_free(&customer);
	buffer_free(&node);
	buffer_free(&claims);
	return status;
}

void report_message_free(struct report_message *m)
{
	free(m->customer);
	free(m->host);
	free(m->only_recipient);
	for (size_t i = 0; i < REPORT_MAX_RECIPIENTS; i++)
		for (size_t k = 0; k < 2; k++)
			free(m->match[i][k]);
	*m = (struct report_message){0};
}

enum pg_status report_store_event(struct pg *pg, struct buffer *event, bool *fresh)
{
	struct pg_result *r = NULL;
	const char *const params[] = {buffer_string(event)};
	enum pg_status status = pg_query(pg, "SELECT waybill.record_report($1)", params, 1, &r);
	*fresh = status == PG_OK && pg_bool(r, 0, 0);
	pg_result_free(&r);
	return status;
}

enum pg_status report_store_account(struct pg *pg, struct buffer *account)
{
	const char *const params[] = {buffer_string(account)};
	return pg_query(pg, "SELECT waybill.keep_report($1)", params, 1, NULL);
}
