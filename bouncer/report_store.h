#ifndef BOUNCER_REPORT_STORE_H
#define BOUNCER_REPORT_STORE_H

/* Reports and Postgres: whom a report is about, the event, or an account of a report that makes none
 * (schema/0005_reports.sql). */

#include "common/pg.h"

#include "bouncer/report_event.h"
#include "bouncer/report_origin.h"

/* The message that a token names. */
struct report_message {
	bool customer_known, known; /* the customer; the message */
	bool later;                 /* its log is not read to the end: the mail must be read again */
	char *customer, *host;
	char *only_recipient;                  /* NULL: several, or none yet */
	char *match[REPORT_MAX_RECIPIENTS][2]; /* by the report's address and original address; NULL: none */
};

/* Finds the message of PATH and its recipients among those of REPORT. report_message_free() it, whatever was returned. */
enum pg_status report_store_find(struct pg *pg, const struct return_path *path, const struct report *report,
				 struct report_message *out);
void report_message_free(struct report_message *message);

/* Stores an event (report_event()). *FRESH: it was not there before. */
enum pg_status report_store_event(struct pg *pg, struct buffer *event, bool *fresh);
/* Keeps an account (report_account()). */
enum pg_status report_store_account(struct pg *pg, struct buffer *account);

#endif
