/* Lines for the event spool: see record.h. */

#include <stdio.h>

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

/* How many bytes the character at the head of T has; 0 when it is no UTF-8 (RFC 3629 section 4, table 3-7 of Unicode). */
static size_t character(struct text t)
{
	unsigned char first = (unsigned char)t.ptr[0], second = t.len > 1 ? (unsigned char)t.ptr[1] : 0;
	size_t len = first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
	if (len > t.len)
		return 0;
	for (size_t i = 1; i < len; i++)
		if ((t.ptr[i] & 0xc0) != 0x80)
			return 0;
	bool overlong = (first == 0xe0 && second < 0xa0) || (first == 0xf0 && second < 0x90);
	bool surrogate = first == 0xed && second > 0x9f, beyond = first == 0xf4 && second > 0x8f;
	return overlong || surrogate || beyond ? 0 : len;
}

/* A JSON string (RFC 8259) of what may be no text: a byte that is no UTF-8 becomes U+FFFD. */
static void add_string(struct buffer *out, struct text t)
{
	buffer_char(out, '"');
	for (size_t len; t.len; t = text_from(t, len ? len : 1)) {
		unsigned char c = (unsigned char)t.ptr[0];
		len = character(t);
		if (!len)
			buffer_add(out, "\\ufffd", 6);
		else if (c < 0x20 || c == 0x7f)
			buffer_format(out, "\\u%04x", c);
		else if (c == '"' || c == '\\')
			buffer_format(out, "\\%c", c);
		else
			buffer_text(out, text_head(t, len));
	}
	buffer_char(out, '"');
}

static void add_text(struct buffer *out, const char *name, struct text value)
{
	buffer_format(out, ",\"%s\":", name);
	add_string(out, value);
}

static void add_number(struct buffer *out, const char *name, int64_t value)
{
	buffer_format(out, ",\"%s\":%lld", name, (long long)value);
}

static void add_time(struct buffer *out, int64_t now_s)
{
	int64_t year, day = now_s / 86400, second = now_s % 86400;
	int month, day_of_month;
	limit_date(day, &year, &month, &day_of_month);
	buffer_format(out, ",\"time\":\"%04d-%02d-%02dT%02d:%02d:%02dZ\"", (int)year, month, day_of_month,
		      (int)(second / 3600), (int)(second / 60 % 60), (int)(second % 60));
}

static void add_head(struct buffer *out, const char *type, const struct record_context *context,
		     const struct request *request)
{
	buffer_format(out, "{\"type\":\"%s\"", type);
	add_time(out, context->now_s);
	add_text(out, "host", context->node);
	add_text(out, "customer", context->customer);
	add_text(out, "login", request->values[REQUEST_LOGIN]);
	add_text(out, "queue_id", request->values[REQUEST_QUEUE_ID]);
}

static void add_limit(struct buffer *out, const struct counters_item *item, const struct limit_usage *usage)
{
	char spec[LIMIT_SPEC_TEXT_MAX];
	limit_spec_print(&item->limit.spec, spec);
	buffer_format(out, "{\"scope\":\"%s\"", limit_scope_names[item->limit.scope]);
	add_text(out, "limit", item->limit.id);
	add_text(out, "spec", text_of(spec));
	add_text(out, "unit", text_of(limit_unit_names[item->limit.unit]));
	add_text(out, "action", text_of(limit_action_names[item->limit.action]));
	add_text(out, "subject", item->subject);
	add_number(out, "cost", item->cost);
	add_number(out, "used", usage->used);
	add_number(out, "allowed", usage->allowed_units);
	if (!usage->allowed && usage->retry_after_us != INT64_MAX)
		add_number(out, "retry_after_ms", usage->retry_after_us / 1000);
	buffer_format(out, ",\"fits\":%s}", usage->allowed ? "true" : "false");
}

static void add_limits(struct buffer *out, const struct decide_plan *plan, const struct counters_result *result)
{
	buffer_format(out, ",\"limits\":[");
	for (size_t i = 0; i < result->count; i++) {
		if (i)
			buffer_char(out, ',');
		add_limit(out, &plan->request.items[i], &result->usage[i]);
	}
	buffer_char(out, ']');
}

void record_refusal(const struct record_context *context, const char *id, const struct request *request,
		    const struct verdict *verdict, const struct decide_plan *plan, const struct counters_result *result,
		    struct buffer *out)
{
	add_head(out, "policy.refused", context, request);
	add_text(out, "id", text_of(id));
	add_text(out, "action", text_of(reply_kind_names[reply_kind(verdict->reason)]));
	add_text(out, "reason", text_of(reply_id(verdict->reason)));
	add_text(out, "detail", verdict->detail);
	add_text(out, "sender", request->values[REQUEST_SENDER]);
	add_text(out, "recipient", request->values[REQUEST_RECIPIENT]);
	add_number(out, "recipients", request_number(request, REQUEST_RECIPIENT_COUNT));
	add_number(out, "size", request_number(request, REQUEST_SIZE));
	add_text(out, "client_ip", request->values[REQUEST_CLIENT_ADDRESS]);
	if (request->values[REQUEST_CONTEXT].len)
		add_text(out, "context", request->values[REQUEST_CONTEXT]);
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
	add_number(out, "threshold", threshold);
	buffer_format(out, ",\"limits\":[");
	add_limit(out, item, &after);
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
