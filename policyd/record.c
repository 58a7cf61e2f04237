/* Lines for the event spool: see record.h. */

#include <stdio.h>

#include "common/spool_line.h"

#include "policyd/record.h"

#define FNV_OFFSET UINT64_C(0xcbf29ce484222325) /* FNV-1a of 64 bits, draft-eastlake-fnv */
#define FNV_PRIME  UINT64_C(0x100000001b3)

static const int thresholds[] = {100, 95, 80};

/* A step of splitmix64: neighbouring numbers get unlike names. */
static uint64_t scattered(uint64_t n)
{
	n += UINT64_C(0x9e3779b97f4a7c15);
	n = (n ^ (n >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	n = (n ^ (n >> 27)) * UINT64_C(0x94d049bb133111eb);
	return n ^ (n >> 31);
}

void record_id_print(uint64_t number, char out[RECORD_ID_SIZE])
{
	number = scattered(number);
	for (int i = 0; i < RECORD_ID_SIZE - 1; i++, number >>= 5)
		out[i] = "abcdefghijklmnopqrstuvwxyz234567"[number & 31];
	out[RECORD_ID_SIZE - 1] = '\0';
}

static void add_head(struct buffer *out, const char *type, const struct record_context *context,
		     const struct request *request)
{
	const struct spool_line line = {.type = type,
					.now_s = context->now_s,
					.node = context->node,
					.customer = context->customer,
					.login = request->values[REQUEST_LOGIN],
					.queue_id = request->values[REQUEST_QUEUE_ID]};
	spool_line_begin(&line, out);
}

static void add_limits(struct buffer *out, const struct decide_plan *plan, const struct counters_result *result)
{
	buffer_format(out, ",\"limits\":[");
	for (size_t i = 0; i < result->count; i++) {
		if (i)
			buffer_char(out, ',');
		spool_line_limit(out, &plan->request.items[i], &result->usage[i]);
	}
	buffer_char(out, ']');
}

void record_refusal(const struct record_context *context, const char *id, const struct request *request,
		    const struct verdict *verdict, const struct decide_plan *plan, const struct counters_result *result,
		    struct buffer *out)
{
	add_head(out, "policy.refused", context, request);
	spool_line_text(out, "id", text_of(id));
	spool_line_text(out, "action", text_of(reply_kind_names[reply_kind(verdict->reason)]));
	spool_line_text(out, "reason", text_of(reply_id(verdict->reason)));
	spool_line_text(out, "detail", verdict->detail);
	spool_line_text(out, "sender", request->values[REQUEST_SENDER]);
	spool_line_text(out, "recipient", request->values[REQUEST_RECIPIENT]);
	spool_line_number(out, "recipients", request_number(request, REQUEST_RECIPIENT_COUNT));
	spool_line_number(out, "size", request_number(request, REQUEST_SIZE));
	spool_line_text(out, "client_ip", request->values[REQUEST_CLIENT_ADDRESS]);
	if (request->values[REQUEST_CONTEXT].len)
		spool_line_text(out, "context", request->values[REQUEST_CONTEXT]);
	if (plan && result)
		add_limits(out, plan, result);
	buffer_char(out, '}');
}

int record_threshold(const struct limit_usage *before, int64_t cost)
{
	if (before->allowed_units <= 0)
		return 0;
	for (size_t i = 0; i < sizeof thresholds / sizeof *thresholds; i++) {
		int64_t mark = (before->allowed_units / 100) * thresholds[i] +
			       (before->allowed_units % 100 * thresholds[i] + 99) / 100;
		if (before->used < mark && before->used + cost >= mark)
			return thresholds[i];
	}
	return 0;
}

void record_warning(const struct record_context *context, const struct request *request,
		    const struct counters_item *item, const struct limit_usage *before, int threshold,
		    struct buffer *out)
{
	struct limit_usage after = *before;
	after.used += item->cost;
	add_head(out, "limit.warning", context, request);
	spool_line_number(out, "threshold", threshold);
	buffer_format(out, ",\"limits\":[");
	spool_line_limit(out, item, &after);
	buffer_format(out, "]}");
}

static uint64_t hash(uint64_t seed, struct text t)
{
	for (size_t i = 0; i < t.len; i++)
		seed = (seed ^ (unsigned char)t.ptr[i]) * FNV_PRIME;
	return seed;
}

bool record_warning_due(struct record_warned *warned, const struct counters_item *item, int threshold, int64_t now_s)
{
	if (limit_is_quota(item->limit.spec.period))
		return true;
	uint64_t what = hash(hash(FNV_OFFSET + (uint64_t)threshold, item->limit.id), item->subject);
	size_t slot = what % RECORD_WARNED;
	if (warned->slots[slot].what == what && warned->slots[slot].until_s > now_s)
		return false;
	warned->slots[slot].what = what;
	warned->slots[slot].until_s = now_s + RECORD_SPEED_REST;
	return true;
}
