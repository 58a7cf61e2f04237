#ifndef BOUNCER_OUTBOX_INTERNAL_H
#define BOUNCER_OUTBOX_INTERNAL_H

#include "bouncer/outbox.h"

/* Names of customers and endpoints, NUL-terminated (schema: 63 and 19 bytes). */
#define OUTBOX_NAME_SIZE 64

struct outbox {
	struct outbox_settings settings;
	struct pg *pg;
	char *lease_sql, *members_sql;
	char customer[OUTBOX_NAME_SIZE], endpoint[OUTBOX_NAME_SIZE]; /* whose turn was last; empty: from the start */
};

/* What BUFFER holds, to be freed; the buffer is freed. */
char *outbox_text(struct buffer *buffer);

/* Columns of rows as Postgres arrays (array.h), one an element of ARRAYS; closed, their texts are in PARAMS. */
void outbox_arrays_open(struct buffer *arrays, size_t count);
void outbox_arrays_close(struct buffer *arrays, size_t count, const char **params);
void outbox_arrays_free(struct buffer *arrays, size_t count);
void outbox_array_int(struct buffer *array, int64_t value);

/* A row of a delivery with its event: what the statements that read them select. The first three are the delivery's key. */
enum outbox_row {
	ROW_CUSTOMER,
	ROW_ENDPOINT,
	ROW_EVENT_ID,
	ROW_BATCH, /* NULL: of none */
	ROW_ATTEMPTS,
	ROW_LADDER,
	ROW_OCCURRED, /* 0: owed later than at once */
	ROW_RECORDED,
	ROW_EVENT = ROW_RECORDED + 3 /* behind the two times as they are; all NULL: it is no longer kept */
};
#define OUTBOX_ROW_SQL(CUSTOMER, ENDPOINT, EVENT_ID)                                 \
	CUSTOMER ", " ENDPOINT ", " EVENT_ID ", d.batch, d.attempts, d.ladder_from," \
		 " CASE WHEN d.created_at < e.recorded_at + interval '1 minute'"     \
		 " THEN (extract(epoch FROM e.occurred_at) * 1000000)::bigint END,"  \
		 " (extract(epoch FROM e.recorded_at) * 1000000)::bigint, e.*"
/* Appends what joins the events to DELIVERIES, which is called d. */
void outbox_event_sql(const char *deliveries, struct buffer *sql);
/* The statements; free them. */
char *outbox_lease_statement(void);
char *outbox_members_statement(void);

/* Endpoints that rows are about, each once. */
struct outbox_endpoints {
	struct endpoint **list;
	char **reasons; /* in the same places: why it cannot be used, or NULL */
	size_t count;
};

enum pg_status outbox_endpoints_load(struct outbox *outbox, const struct pg_result *rows, struct outbox_endpoints *out);
/* Where ID is, or SIZE_MAX. Looks from FROM on: rows and endpoints come in the same order. */
size_t outbox_endpoints_find(const struct outbox_endpoints *endpoints, struct text id, size_t from);
void outbox_endpoints_free(struct outbox_endpoints *endpoints);

struct outbox_batch;

/* Batches of a lease: those that it forms, and those that were formed before, whose events are still to be read. */
struct outbox_batches {
	struct outbox_batch *list;
	size_t count;
};

struct lease {
	struct outbox *outbox;
	const struct pg_result *rows;
	struct outbox_endpoints endpoints;
	struct outbox_batches batches;
	struct buffer scratch; /* bodies are made here: each takes no more memory than it is long */
	int64_t now_ms;
};

/* Gives DELIVERY what SCRATCH holds as its body, and empties that. */
void outbox_take_body(struct lease *lease, struct delivery *delivery);

void outbox_row_event(const struct pg_result *rows, size_t row, struct event_row *event);
int64_t outbox_start_until(const struct outbox *outbox, const struct endpoint *endpoint, int64_t now_ms);

/* COUNT rows of the lease from ROW on are to be a batch. */
void outbox_batch_form(struct lease *lease, size_t row, size_t count, struct endpoint *endpoint);
/* ROW leads a batch that was formed before. */
void outbox_batch_want(struct lease *lease, size_t row, struct endpoint *endpoint);
/* Writes down the new batches, reads the others, and appends the deliveries of both to OUT. A batch that has lost an event
 * is dissolved instead. */
enum pg_status outbox_batches_take(struct lease *lease, struct delivery_list *out);
void outbox_batches_free(struct outbox_batches *batches);

#endif
