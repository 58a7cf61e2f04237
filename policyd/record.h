#ifndef POLICYD_RECORD_H
#define POLICYD_RECORD_H

/* What policyd leaves in the event spool: refusals, with all that was known at that moment, for "waybill explain"; and
 * limits that come close to their end. A core: one JSON object without a newline each. */

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

/* The share of a limit, in percent, that was crossed by charging COST: 80, 95 or 100 (the highest), 0 for none. */
int record_threshold(const struct limit_usage *before, int64_t cost);
void record_warning(const struct record_context *context, const struct request *request,
		    const struct counters_item *item, const struct limit_usage *before, int threshold,
		    struct buffer *out);

/* Which warnings of speeds have been given: a speed goes up and down, its warning comes once an hour. Zero-initialised. */
#define RECORD_WARNED     4096
#define RECORD_SPEED_REST 3600 /* seconds */
struct record_warned {
	struct {
		uint64_t what;
		int64_t until_s;
	} slots[RECORD_WARNED];
};
/* Is the warning of THRESHOLD for ITEM due? Takes note of it. Those of quotas always are: they are crossed once. */
bool record_warning_due(struct record_warned *warned, const struct counters_item *item, int threshold, int64_t now_s);

#endif
