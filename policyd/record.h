#ifndef POLICYD_RECORD_H
#define POLICYD_RECORD_H

/* What policyd leaves in the event spool: refusals, with all that was known at that moment, for "waybill explain"; limits
 * that come close to their end; logins that seem to be taken over. A core: one JSON object without a newline each. */

#include "common/reminders.h"

#include "policyd/decide.h"

/* The name of one refusal, in its reply and in the spool: eight letters and digits of base32. */
#define RECORD_ID_SIZE 9
void record_id_print(uint64_t number, char out[RECORD_ID_SIZE]);

struct record_context {
	struct text node;
	int64_t now_s; /* seconds since 1970 */
	struct text customer;
};

/* A refusal, deferral or hold. PLAN and RESULT are NULL unless limits were asked. */
void record_refusal(const struct record_context *context, const char *id, const struct request *request,
		    const struct verdict *verdict, const struct decide_plan *plan, const struct counters_result *result,
		    struct buffer *out);

/* A limit that comes close to its end (common/limit_warning.h). */
void record_warning(const struct record_context *context, const struct request *request,
		    const struct counters_item *item, const struct limit_usage *after, int threshold,
		    struct buffer *out);

/* A login that seems to be taken over: credential.suspended, or credential.suspected when it is not suspended. VERDICT is
 * one of decide_takeover(), over PLAN. */
void record_takeover(const struct record_context *context, const struct request *request,
		     const struct decide_plan *plan, const struct verdict *verdict, struct buffer *out);

/* Is it due to be told of this login? Once an hour for each outcome; takes note of it. */
bool record_takeover_due(struct reminders *reminders, const struct decide_plan *plan, enum takeover_outcome outcome,
			 int64_t now_s);

#endif
