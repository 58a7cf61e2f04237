#ifndef BOUNCER_REPORT_EVENT_H
#define BOUNCER_REPORT_EVENT_H

/* The events that a report makes, as JSON for waybill.record_report(); and the account of one that makes none, for
 * waybill.keep_report(). A core but for the hash of the id, which the caller makes. */

#include "common/bounce.h"

#include "bouncer/report.h"

/* The event's type; NULL: this kind makes none. */
const char *report_event_type(enum report_kind kind);

struct report_subject {
	struct text customer, host, queue_id, event_id;
	struct text recipient; /* of the message; empty: nobody knows which */
};

/* CLAIM and VERDICT: of a bounce; NULL for other kinds. PROVIDER: classify_provider(). */
void report_event(const struct report *report, const struct report_subject *subject,
		  const struct report_recipient *claim, const struct verdict *verdict, struct text provider,
		  struct buffer *out);

/* WHY: what is missing. SENT_TO: the envelope recipient. CUSTOMER and QUEUE_ID are empty without a token. */
void report_account(const struct report *report, struct text sent_to, const char *why, struct text customer,
		    struct text queue_id, struct buffer *out);

#endif
