/* Lines for the event spool: see record.h. */

#include <stdio.h>

#include "common/limit_warning.h"

#include "policyd/record.h"

#define SUSPECTED_REST_S 3600

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

static struct spool_line head_of(const char *type, const struct record_context *context, const struct request *request)
{
	return (struct spool_line){.type = type,
				   .now_s = context->now_s,
				   .node = context->node,
				   .customer = context->customer,
				   .login = request->values[REQUEST_LOGIN],
				   .queue_id = request->values[REQUEST_QUEUE_ID]};
}

static void add_head(struct json *json, const char *type, const struct record_context *context,
		     const struct request *request)
{
	const struct spool_line line = head_of(type, context, request);
	spool_line_begin(&line, json);
}

/* A sign: what was counted, what is usual, what gives all points. */
static void add_sign(struct json *json, const char *name, int64_t count, int64_t usual, int64_t mark, int points)
{
	json_open(json, name, '{');
	json_int(json, "count", count);
	json_int(json, "usual", usual);
	json_int(json, "mark", mark);
	json_int(json, "points", points);
	json_close(json, '}');
}

static void add_takeover(struct json *json, const struct decide_takeover *takeover)
{
	const struct takeover_facts *facts = &takeover->facts;
	const struct takeover_marks *marks = takeover->marks;
	json_open(json, "takeover", '{');
	json_int(json, "score", takeover->score.total);
	json_int(json, "threshold", marks->score);
	add_sign(json, "networks", facts->networks, facts->networks_usual, takeover_networks_mark(marks, facts),
		 takeover->score.networks);
	add_sign(json, "volume", facts->volume, facts->volume_usual, takeover_volume_mark(marks, facts),
		 takeover->score.volume);
	add_sign(json, "bounces", facts->bad_mailboxes, 0, marks->bounces, takeover->score.bounces);
	json_close(json, '}');
}

void record_refusal(const struct record_context *context, const char *id, const struct request *request,
		    const struct verdict *verdict, const struct decide_plan *plan, const struct counters_result *result,
		    struct buffer *out)
{
	struct json json = {.out = out};
	add_head(&json, "policy.refused", context, request);
	spool_line_text(&json, "id", text_of(id));
	spool_line_text(&json, "action", text_of(reply_kind_names[reply_kind(verdict->reason)]));
	spool_line_text(&json, "reason", text_of(reply_id(verdict->reason)));
	spool_line_text(&json, "detail", verdict->detail);
	spool_line_text(&json, "sender", request->values[REQUEST_SENDER]);
	spool_line_text(&json, "recipient", request->values[REQUEST_RECIPIENT]);
	json_int(&json, "recipients", request_number(request, REQUEST_RECIPIENT_COUNT));
	json_int(&json, "size", request_number(request, REQUEST_SIZE));
	spool_line_text(&json, "client_ip", request->values[REQUEST_CLIENT_ADDRESS]);
	if (request->values[REQUEST_CONTEXT].len)
		spool_line_text(&json, "context", request->values[REQUEST_CONTEXT]);
	if (plan && result)
		spool_line_limits(&json, plan->request.items, result->usage, result->count);
	if (verdict->takeover.outcome != TAKEOVER_QUIET)
		add_takeover(&json, &verdict->takeover);
	json_close(&json, '}');
}

void record_warning(const struct record_context *context, const struct request *request,
		    const struct counters_item *item, const struct limit_usage *after, int threshold,
		    struct buffer *out)
{
	const struct spool_line head = head_of(NULL, context, request);
	limit_warning_add(&head, item, after, threshold, out);
}

void record_takeover(const struct record_context *context, const struct request *request,
		     const struct decide_plan *plan, const struct verdict *verdict, struct buffer *out)
{
	struct json json = {.out = out};
	const struct decide_takeover *takeover = &verdict->takeover;
	bool suspends = takeover->outcome == TAKEOVER_SUSPENDED;
	struct buffer words = {0};
	add_head(&json, suspends ? "credential.suspended" : "credential.suspected", context, request);
	takeover_describe(takeover->marks, &takeover->facts, &words);
	spool_line_text(&json, "action", text_of(takeover_outcome_names[takeover->outcome]));
	spool_line_text(&json, "reason", buffer_view(&words));
	spool_line_text(&json, "client_ip", request->values[REQUEST_CLIENT_ADDRESS]);
	json_int(&json, "since", plan->request.watch.since);
	add_takeover(&json, takeover);
	json_close(&json, '}');
	buffer_free(&words);
}

bool record_takeover_due(struct reminders *reminders, const struct decide_plan *plan, enum takeover_outcome outcome,
			 int64_t now_s)
{
	uint64_t what = reminders_name(0, plan->request.watch.login, outcome);
	what = reminders_name(what, plan->request.customer, plan->request.watch.since);
	return reminders_due(reminders, what, now_s, now_s + SUSPECTED_REST_S);
}
