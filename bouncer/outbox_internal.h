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

#endif
