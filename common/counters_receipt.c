#include <string.h>

#include "common/counters_receipt.h"

/* In front of each name, in the byte order of the machine: the store never leaves it. */
struct header {
	int64_t cost, amount, period_us;
	uint32_t name_len;
	uint8_t kind;
};

bool counters_receipt_next(struct text *receipt, struct counters_receipt_line *out)
{
	struct header header;
	if (receipt->len < sizeof header)
		return false;
	memcpy(&header, receipt->ptr, sizeof header);
	struct text rest = text_from(*receipt, sizeof header);
	if (header.name_len > rest.len || header.kind >= COUNTERS_RECEIPT_MAX)
		return false;
	*out = (struct counters_receipt_line){
		.kind = (enum counters_receipt_kind)header.kind,
		.name = text_head(rest, header.name_len),
		.cost = header.cost,
		.amount = header.amount,
		.period_us = header.period_us,
	};
	*receipt = text_from(rest, header.name_len);
	return true;
}

void counters_receipt_add(struct buffer *receipt, const struct counters_receipt_line *line)
{
	struct header header;
	memset(&header, 0, sizeof header);
	header.cost = line->cost;
	header.amount = line->amount;
	header.period_us = line->period_us;
	header.name_len = (uint32_t)line->name.len;
	header.kind = (uint8_t)line->kind;
	buffer_add(receipt, &header, sizeof header);
	buffer_text(receipt, line->name);
}
