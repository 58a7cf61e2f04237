#ifndef COMMON_COUNTERS_RECEIPT_H
#define COMMON_COUNTERS_RECEIPT_H

/* The receipt of one message in the local store: which questions were charged, and what stands under which key. The
 * lines that counters_charge.lua keeps, as bytes. A core. */

#include "common/text.h"

enum counters_receipt_kind {
	COUNTERS_RECEIPT_INSTANCE,
	COUNTERS_RECEIPT_SPEED,
	COUNTERS_RECEIPT_QUOTA,
	COUNTERS_RECEIPT_MAX
};

struct counters_receipt_line {
	enum counters_receipt_kind kind;
	struct text name;          /* the instance, or the key */
	int64_t cost;              /* microseconds of a speed, units of a quota; of an instance 1 when it was held */
	int64_t amount, period_us; /* the rate of a speed */
};

/* Takes the next line from *RECEIPT; false at the end, or where the bytes are damaged. */
bool counters_receipt_next(struct text *receipt, struct counters_receipt_line *out);
void counters_receipt_add(struct buffer *receipt, const struct counters_receipt_line *line);

#endif
