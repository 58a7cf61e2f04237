#ifndef BOUNCER_OUTBOX_INTERNAL_H
#define BOUNCER_OUTBOX_INTERNAL_H

#include "bouncer/outbox.h"

/* Names of customers and endpoints, NUL-terminated (schema: 63 and 19 bytes). */
#define OUTBOX_NAME_SIZE 64

struct outbox {
	struct outbox_settings settings;
	struct pg *pg;
	char *lease_sql;
	char customer[OUTBOX_NAME_SIZE], endpoint[OUTBOX_NAME_SIZE]; /* whose turn was last; empty: from the start */
};

/* The statement of outbox_lease(); free it. */
char *outbox_lease_statement(void);

/* Columns of rows as Postgres arrays (array.h), one an element of ARRAYS; closed, their texts are in PARAMS. */
void outbox_arrays_open(struct buffer *arrays, size_t count);
void outbox_arrays_close(struct buffer *arrays, size_t count, const char **params);
void outbox_arrays_free(struct buffer *arrays, size_t count);
void outbox_array_int(struct buffer *array, int64_t value);

#endif
