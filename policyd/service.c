/* One request: see service.h. Rights are decided within the call, over a view of the directory that all requests of one
 * round share: to begin one costs more than a decision. Limits need Redis: the plan, which owns what it names, waits in
 * a ticket until the counters answer; the view does not wait. */

#include <stdlib.h>

#include "common/limit_warning.h"
#include "common/log.h"
#include "common/memory.h"
#include "common/spool.h"

#include "policyd/decide.h"
#include "policyd/lookup.h"
#include "policyd/record.h"
#include "policyd/service.h"
#include "policyd/stats.h"

struct ticket {
	struct service *service;
	struct request request;
	struct decide_plan plan;
	service_answer *answer; /* set when the counters are asked */
	void *context;
	int64_t asked_us;
	struct ticket *next; /* among the spare ones */
};

struct service {
	struct service_options options;
	struct ticket *spare;
	struct buffer reply, line;
	uint64_t next_id;
	struct reminders told; /* warnings, and logins that seem to be taken over */
	struct lookup_cache cache;
	struct directory_view view;
	bool viewing;        /* view is open */
	const char *trouble; /* the last one logged: it is said once */
};

struct service *service_new(const struct service_options *options)
{
	struct service *service = memory_zero(1, sizeof *service);
	service->options = *options;
	service->next_id = options->first_id;
	return service;
}

static void end_view(struct service *service)
{
	if (service->viewing)
		directory_end(&service->view);
	service->viewing = false;
}

void service_round_end(struct service *service)
{
	counters_async_flush(service->options.counters);
	end_view(service);
}

void service_free(struct service **service)
{
	struct service *s = *service;
	if (!s)
		return;
	end_view(s);
	for (struct ticket *ticket; (ticket = s->spare);) {
		s->spare = ticket->next;
		free(ticket);
	}
	buffer_free(&s->reply);
	buffer_free(&s->line);
	free(s);
	*service = NULL;
}

static struct ticket *ticket_new(struct service *service)
{
	struct ticket *ticket = service->spare;
	if (ticket)
		service->spare = ticket->next;
	else
		ticket = memory_new(sizeof *ticket);
	ticket->service = service;
	return ticket;
}

static void ticket_spare(struct ticket *ticket)
{
	ticket->next = ticket->service->spare;
	ticket->service->spare = ticket;
}

/* Allowed recipients are the bulk of all decisions, and Postfix logs them itself: they go to the debug level. */
static void log_decision(struct service *service, const struct request *request, struct text customer,
			 const struct verdict *verdict)
{
	bool routine = verdict->reason == REPLY_ALLOWED && !decide_wants_limits(request);
	if (!log_wants(routine ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO))
		return;
	service->line.len = 0;
	decide_log_line(request, customer, verdict, &service->line);
	if (routine)
		log_debug("%s", buffer_string(&service->line));
	else
		log_info("%s", buffer_string(&service->line));
}

/* A request on its way to an answer. */
struct question {
	const struct request *request;
	struct text customer;
	const struct decide_plan *plan;       /* NULL: no limit was asked */
	const struct counters_result *result; /* of plan */
};

static struct record_context record_context(const struct service *service, const struct question *q)
{
	return (struct record_context){text_of(service->options.node), service->options.now_s(), q->customer};
}

/* Leaves a refusal in the spool under a new id. */
static void record(struct service *service, const struct question *q, const struct verdict *verdict,
		   char id[RECORD_ID_SIZE])
{
	struct record_context context = record_context(service, q);
	id[0] = '\0';
	if (!service->options.spool || reply_kind(verdict->reason) == REPLY_ACCEPT)
		return;
	record_id_print(service->next_id++, id);
	service->line.len = 0;
	record_refusal(&context, id, q->request, verdict, q->plan, q->result, &service->line);
	spool_add(service->options.spool, buffer_view(&service->line));
}

/* Bytes are what the client claims; the milter charges what they were in the end, and tells of them. */
static void warn(struct service *service, const struct question *q)
{
	struct record_context context = record_context(service, q);
	bool charged = q->result->answer == COUNTERS_CHARGED;
	if (!service->options.spool)
		return;
	for (size_t i = 0; i < q->result->count; i++) {
		const struct counters_item *item = &q->plan->request.items[i];
		struct limit_usage after;
		int threshold = limit_warning_of(item, q->result, i, &after);
		bool settled_later = charged && item->limit.unit == LIMIT_BYTES;
		if (!threshold || settled_later || !limit_warning_due(&service->told, item, threshold, context.now_s))
			continue;
		service->line.len = 0;
		record_warning(&context, q->request, item, &after, threshold, &service->line);
		spool_add(service->options.spool, buffer_view(&service->line));
	}
}

/* What the takeover guard refuses, the limits let pass. */
static void give_back(struct service *service, const struct question *q)
{
	const struct counters_request *request = &q->plan->request;
	if (request->count && request->queue_id.len &&
	    (q->result->answer == COUNTERS_CHARGED || q->result->answer == COUNTERS_REPEATED))
		counters_async_refund(service->options.counters, request->customer, request->node, request->queue_id);
}

/* The event comes first: whoever is killed behind it tells it once more. */
static void suspect(struct service *service, const struct question *q, const struct verdict *verdict)
{
	struct record_context context = record_context(service, q);
	enum takeover_outcome outcome = verdict->takeover.outcome;
	if (q->result->watched)
		stats_note_takeover(service->options.metrics, outcome);
	if (outcome == TAKEOVER_QUIET || (outcome == TAKEOVER_SUSPENDED && verdict->takeover.facts.suspended) ||
	    !record_takeover_due(&service->told, q->plan, outcome, context.now_s))
		return;
	if (service->options.spool) {
		service->line.len = 0;
		record_takeover(&context, q->request, q->plan, verdict, &service->line);
		spool_add(service->options.spool, buffer_view(&service->line));
	}
	if (outcome == TAKEOVER_SUSPENDED)
		counters_async_suspend(service->options.counters, q->customer, q->plan->request.watch.login,
				       q->plan->request.watch.since);
}

/* Logs and records the verdict and writes its reply; a view that is good until the next one. The answer is given by the
 * caller last of all, since whoever takes it may ask the next question at once. */
static struct text conclude(struct service *service, const struct question *q, const struct verdict *verdict)
{
	char limit_text[DECIDE_LIMIT_TEXT], id[RECORD_ID_SIZE];
	struct reply_words words = decide_words(q->request, q->customer, verdict, limit_text);
	log_decision(service, q->request, q->customer, verdict);
	stats_note_decision(service->options.metrics, verdict->reason);
	record(service, q, verdict, id);
	words.id = text_of(id);
	service->reply.len = 0;
	reply_add(verdict->reason, &words, &service->reply);
	return buffer_view(&service->reply);
}

/* Own trouble: no reply, Postfix asks again and then answers 451 itself. */
static struct text give_up(struct service *service, const char *why)
{
	if (why != service->trouble)
		log_error("%s; mail is deferred meanwhile; see waybill directory status", why);
	service->trouble = why;
	stats_note_trouble(service->options.metrics);
	return TEXT("");
}

static void note_directory_works(struct service *service)
{
	if (service->trouble)
		log_info("the directory can be read again");
	service->trouble = NULL;
}

static void counted(void *context, const struct counters_result *result)
{
	struct ticket *ticket = context;
	struct service *service = ticket->service;
	struct verdict verdict = decide_limits(&ticket->plan, result);
	decide_takeover(&ticket->plan, result, &service->options.takeover, service->options.now_s(), &verdict);
	stats_note_charge(service->options.metrics, result->answer, service->options.now_us() - ticket->asked_us);
	struct question q = {&ticket->request, text_of(ticket->plan.customer), &ticket->plan, result};
	if (verdict.reason == REPLY_TAKEOVER_SUSPENDED)
		give_back(service, &q);
	else
		warn(service, &q);
	suspect(service, &q, &verdict);
	struct text action = conclude(service, &q, &verdict);
	ticket_spare(ticket);
	ticket->answer(ticket->context, action);
}

/* Plans the charge of an allowed request. True when the counters are to be asked; else *ACTION is the answer. */
static bool plan_charge(struct ticket *ticket, const struct decide_facts *facts, const struct verdict *verdict,
			struct text *action)
{
	struct service *service = ticket->service;
	const char *why = decide_plan(&ticket->request, facts, text_of(service->options.node), &ticket->plan);
	if (!why && (ticket->plan.request.count || ticket->plan.request.watch.login.len))
		return true;
	struct question q = {.request = &ticket->request, .customer = facts->customer->name};
	*action = why ? give_up(service, why) : conclude(service, &q, verdict);
	return false;
}

/* A ticket when the counters are to be asked; else NULL and *ACTION. */
static struct ticket *decide(struct service *service, struct service_session *session, const struct request *request,
			     const struct decide_facts *facts, struct text *action)
{
	struct verdict verdict = decide_rights(request, facts);
	if (verdict.reason == REPLY_ALLOWED && request->state == REQUEST_AT_RCPT && session->instance[0])
		session->recipients++;
	if (verdict.reason != REPLY_ALLOWED || !decide_wants_limits(request)) {
		struct question q = {.request = request, .customer = facts->login ? facts->login->customer : TEXT("")};
		*action = conclude(service, &q, &verdict);
		return NULL;
	}
	struct ticket *ticket = ticket_new(service);
	ticket->request = *request;
	if (plan_charge(ticket, facts, &verdict, action))
		return ticket;
	ticket_spare(ticket);
	return NULL;
}

/* NULL, or why the directory cannot be looked at. */
static const char *look(struct service *service)
{
	if (!service->viewing && directory_begin(service->options.directory, &service->view) != DIRECTORY_FOUND)
		return directory_trouble(service->options.directory);
	service->viewing = true;
	return NULL;
}

/* Instances are Postfix' own numbers ("1a2b.6553f100.d431.0"); what is none is not counted. */
static void follow_instance(struct service_session *session, const struct request *request)
{
	struct text instance = request->values[REQUEST_INSTANCE];
	if (instance.len && text_equal(instance, text_of(session->instance)))
		return;
	*session = (struct service_session){0};
	if (!text_put(instance, session->instance, sizeof session->instance))
		session->instance[0] = '\0';
}

static struct ticket *look_up_and_decide(struct service *service, struct service_session *session,
					 const struct request *request, struct text *action)
{
	struct lookup lookup;
	const char *why = look(service);
	if (!why)
		why = lookup_find(&service->view, &service->cache, request, service->options.now_s(), &lookup);
	if (why) {
		*action = give_up(service, why);
		return NULL;
	}
	note_directory_works(service);
	follow_instance(session, request);
	lookup.facts.recipients = session->recipients;
	return decide(service, session, request, &lookup.facts, action);
}

void service_ask(struct service *service, struct service_session *session, const struct request *request,
		 service_answer *answer, void *context)
{
	struct text action;
	struct ticket *ticket = NULL;
	if (decide_wants_rights(request))
		ticket = look_up_and_decide(service, session, request, &action);
	else
		action = conclude(service, &(struct question){.request = request, .customer = TEXT("")},
				  &(struct verdict){.reason = REPLY_ALLOWED});
	if (!ticket) {
		answer(context, action);
		return;
	}
	ticket->answer = answer;
	ticket->context = context;
	ticket->asked_us = service->options.now_us();
	counters_async_charge(service->options.counters, &ticket->plan.request, counted, ticket);
}
