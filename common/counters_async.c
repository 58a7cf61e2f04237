/* Redis for a libevent loop: see counters_async.h.
 *
 * hiredis buffers what is asked; it is written when some questions have come together, and at the end of a round of the
 * loop: Redis answers the first ones while the others are still being read. Questions are answered in order, so the
 * oldest one waits longest: one timer at the front of a queue serves them all (hiredis 0.14 has none). When it fires the
 * connection is discarded with all that was asked on it, since its answers would come late; so a hung Redis costs every
 * question one time-out at most. While the breaker is open a new connection is tried each second, and only a whole answer
 * on it closes the breaker: no question is risked. */

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <event2/event.h>
#include <hiredis/adapters/libevent.h>
#include <hiredis/async.h>
#include <hiredis/hiredis.h>

#include "common/breaker.h"
#include "common/counters_reply.h"
#include "common/counters_script.h"
#include "common/counters_stand_in.h"
#include "common/log.h"
#include "common/memory.h"

#include "common/counters_async.h"

#define SOON_US  20000
#define PIPELINE 5 /* questions: fewer cost Redis and us more in system calls than is gained by working side by side */

struct question {
	struct counters_async *counters;
	const struct counters_request *request;
	counters_done *done;
	void *context;
	int64_t deadline_us;
	struct buffer call;
	struct counters_expected expected;
	struct question *previous, *next; /* in the queue of open ones; next alone in the list of spare ones */
};

struct counters_async {
	struct event_base *base;
	char *socket, *host, *password;
	int port;
	int64_t timeout_us;
	struct counters_local *local; /* NULL: none */
	bool only_local;
	enum counters_unavailable rules[LIMIT_SCOPE_MAX]; /* while Redis is away */
	struct breaker breaker;
	redisAsyncContext *redis;         /* NULL between connections */
	struct event *timer;              /* the oldest question's deadline */
	struct event *retry;              /* the next connection */
	struct question *oldest, *newest; /* open questions, in order of their deadlines */
	struct question *spare;
	bool timer_set, closing;
	int unwritten; /* questions that hiredis still has */
	bool ready;    /* this connection has answered */
};

static int64_t now_us(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void set_timer(struct event *timer, int64_t after_us)
{
	struct timeval after = {after_us / 1000000, after_us % 1000000};
	evtimer_add(timer, &after);
}

static const char *where(const struct counters_async *counters)
{
	return counters->socket ? counters->socket : counters->host;
}

static void note_failure(struct counters_async *counters)
{
	if (breaker_failed(&counters->breaker, now_us() / 1000) && !counters->closing)
		log_warning("redis: %s does not answer; it is asked again every second", where(counters));
}

static void note_answer(struct counters_async *counters)
{
	if (breaker_answered(&counters->breaker))
		log_info("redis: %s answers again", where(counters));
}

static struct question *question_new(struct counters_async *counters, const struct counters_request *request,
				     counters_done *done, void *context)
{
	struct question *q = counters->spare;
	if (q)
		counters->spare = q->next;
	else
		q = memory_zero(1, sizeof *q);
	q->counters = counters;
	q->request = request;
	q->done = done;
	q->context = context;
	q->call.len = 0;
	q->deadline_us = now_us() + counters->timeout_us;
	q->next = NULL;
	q->previous = counters->newest;
	*(q->previous ? &q->previous->next : &counters->oldest) = q;
	counters->newest = q;
	return q;
}

/* Ends a question: it leaves the queue before its caller hears, who may ask the next one at once. */
static void question_end(struct question *q, const struct counters_result *result)
{
	struct counters_async *counters = q->counters;
	counters_done *done = q->done;
	void *context = q->context;
	*(q->previous ? &q->previous->next : &counters->oldest) = q->next;
	*(q->next ? &q->next->previous : &counters->newest) = q->previous;
	q->next = counters->spare;
	counters->spare = q;
	done(context, result);
}

/* The local store answers: in full where it is all there is, by the scopes' rules while Redis is away. */
static void answer_for_redis(struct counters_async *counters, const struct counters_request *request,
			     struct counters_result *result)
{
	if (counters->only_local && counters->local)
		counters_local_charge(counters->local, request, result);
	else
		counters_stand_in(counters->local, counters->rules, request, result);
}

/* Redis does not answer: this host does. */
static void question_fail(struct question *q)
{
	struct counters_result result = {.answer = COUNTERS_UNAVAILABLE};
	if (!q->counters->closing)
		answer_for_redis(q->counters, q->request, &result);
	question_end(q, &result);
}

/* Discards the connection; hiredis tells every question on it, with no reply. */
static void disconnect(struct counters_async *counters)
{
	redisAsyncContext *redis = counters->redis;
	counters->redis = NULL;
	if (redis)
		redisAsyncFree(redis);
}

/* Soon, while the breaker is closed: so it is known, and said, early that Redis is away. */
static void connect_later(struct counters_async *counters)
{
	if (!counters->closing && !evtimer_pending(counters->retry, NULL))
		set_timer(counters->retry,
			  breaker_is_open(&counters->breaker) ? BREAKER_PROBE_MS * INT64_C(1000) : SOON_US);
}

static void connection_lost(const redisAsyncContext *redis, int status)
{
	(void)status;
	struct counters_async *counters = redis->data;
	if (counters->redis != redis)
		return;         /* given up by disconnect() */
	counters->redis = NULL; /* hiredis frees it */
	if (!counters->ready)
		note_failure(counters);
	connect_later(counters);
}

static void connection_made(const redisAsyncContext *redis, int status)
{
	if (status != REDIS_OK)
		connection_lost(redis, status);
}

/* Password and script are sent ahead of the first question, and a charge of nothing that leaves a receipt: a Redis that
 * answers but cannot write (a replica, out of memory, disk trouble) is as good as away. */
static void prepared(redisAsyncContext *redis, void *answer, void *context)
{
	struct counters_async *counters = context;
	redisReply *reply = answer;
	if (!reply || counters->redis != redis)
		return;
	if (reply->type != REDIS_REPLY_ERROR) {
		counters->ready = true;
		note_answer(counters);
		return;
	}
	if (!breaker_is_open(&counters->breaker))
		log_warning("redis: %s", reply->str);
	redisAsyncDisconnect(redis);
}

static void send_ahead(struct counters_async *counters, redisCallbackFn *then, struct buffer *call)
{
	redisAsyncFormattedCommand(counters->redis, then, counters, call->ptr, call->len);
	buffer_free(call);
}

static void prepare(struct counters_async *counters)
{
	static const struct counters_request nothing = {
		.customer = {"*", 1}, .node = {"probe", 5}, .queue_id = {"-", 1}, .begins = true};
	struct buffer call = {0};
	if (counters->password) {
		counters_script_auth(counters->password, &call);
		send_ahead(counters, NULL, &call);
	}
	counters_script_load(COUNTERS_SCRIPT_CHARGE, &call);
	send_ahead(counters, NULL, &call);
	counters_script_charge(&nothing, &call);
	send_ahead(counters, prepared, &call);
}

/* A connection that stays silent is given up before the next one is due. */
static void open_connection(struct counters_async *counters)
{
	disconnect(counters);
	redisAsyncContext *redis = counters->socket ? redisAsyncConnectUnix(counters->socket)
						    : redisAsyncConnect(counters->host, counters->port);
	if (!redis)
		abort();
	if (redis->err || redisLibeventAttach(redis, counters->base) != REDIS_OK) {
		redisAsyncFree(redis);
		note_failure(counters);
		connect_later(counters);
		return;
	}
	redis->data = counters;
	counters->redis = redis;
	counters->ready = false;
	redisAsyncSetConnectCallback(redis, connection_made);
	redisAsyncSetDisconnectCallback(redis, connection_lost);
	prepare(counters);
	if (breaker_is_open(&counters->breaker))
		set_timer(counters->retry, BREAKER_PROBE_MS * INT64_C(1000));
}

static void retry_due(evutil_socket_t none, short what, void *context)
{
	(void)none;
	(void)what;
	struct counters_async *counters = context;
	if (!counters->redis || breaker_is_open(&counters->breaker))
		open_connection(counters);
}

/* The oldest question's time is up. */
static void timer_due(evutil_socket_t none, short what, void *context)
{
	(void)none;
	(void)what;
	struct counters_async *counters = context;
	counters->timer_set = false;
	if (!counters->oldest)
		return;
	int64_t left_us = counters->oldest->deadline_us - now_us();
	if (left_us > 0) {
		counters->timer_set = true;
		set_timer(counters->timer, left_us);
		return;
	}
	note_failure(counters);
	disconnect(counters);
	connect_later(counters);
}

static void answered(redisAsyncContext *redis, void *answer, void *context);

/* Redis has lost the script (SCRIPT FLUSH): the same question again, with the script, within the same deadline. */
static void ask_again(redisAsyncContext *redis, struct question *q)
{
	struct buffer whole = {0};
	counters_script_spell_out(COUNTERS_SCRIPT_CHARGE, buffer_view(&q->call), &whole);
	if (redisAsyncFormattedCommand(redis, answered, q, whole.ptr, whole.len) != REDIS_OK)
		question_fail(q);
	buffer_free(&whole);
}

static void answered(redisAsyncContext *redis, void *answer, void *context)
{
	struct question *q = context;
	const redisReply *reply = answer;
	struct counters_async *counters = q->counters;
	if (!reply) {
		question_fail(q);
		return;
	}
	if (reply->type == REDIS_REPLY_ERROR && text_starts(text_at(reply->str, reply->len), TEXT("NOSCRIPT"))) {
		ask_again(redis, q);
		return;
	}
	struct counters_result result;
	const char *why = counters_reply_read(reply, &q->expected, &result);
	if (why) {
		if (!breaker_is_open(&counters->breaker))
			log_error("redis: %s", reply->type == REDIS_REPLY_ERROR ? reply->str : why);
		note_failure(counters);
		if (breaker_is_open(&counters->breaker))
			connect_later(counters);
		question_fail(q);
	} else {
		note_answer(counters);
		question_end(q, &result);
	}
}

static char *copy_or_null(const char *string)
{
	return string ? text_copy(text_of(string)) : NULL;
}

struct counters_async *counters_async_new(struct event_base *base, const struct counters_options *options)
{
	struct counters_async *counters = memory_zero(1, sizeof *counters);
	counters->base = base;
	counters->socket = copy_or_null(options->socket);
	counters->host = copy_or_null(options->host);
	counters->password = copy_or_null(options->password);
	counters->port = options->port;
	counters->timeout_us = (int64_t)options->timeout_ms * 1000;
	counters->local = counters_local_of(options);
	counters->only_local = options->only_local;
	memcpy(counters->rules, options->unavailable, sizeof counters->rules);
	counters->timer = evtimer_new(base, timer_due, counters);
	counters->retry = evtimer_new(base, retry_due, counters);
	if (!counters->timer || !counters->retry)
		abort();
	if (!counters->only_local)
		open_connection(counters);
	return counters;
}

void counters_async_free(struct counters_async **counters)
{
	struct counters_async *c = *counters;
	if (!c)
		return;
	c->closing = true;
	disconnect(c);
	for (struct question *q; (q = c->spare);) {
		c->spare = q->next;
		buffer_free(&q->call);
		free(q);
	}
	counters_local_free(&c->local);
	event_free(c->timer);
	event_free(c->retry);
	free(c->socket);
	free(c->host);
	free(c->password);
	free(c);
	*counters = NULL;
}

void counters_async_charge(struct counters_async *counters, const struct counters_request *request, counters_done *done,
			   void *context)
{
	if (!counters->redis && !counters->only_local && !breaker_is_open(&counters->breaker))
		open_connection(counters);
	struct question *q = question_new(counters, request, done, context);
	if (!counters->redis || breaker_is_open(&counters->breaker)) {
		question_fail(q);
		return;
	}
	counters_script_charge(request, &q->call);
	counters_script_expect(request, &q->expected);
	if (redisAsyncFormattedCommand(counters->redis, answered, q, q->call.ptr, q->call.len) != REDIS_OK) {
		question_fail(q);
		return;
	}
	if (!counters->timer_set) {
		counters->timer_set = true;
		set_timer(counters->timer, counters->timeout_us);
	}
	if (++counters->unwritten >= PIPELINE)
		counters_async_flush(counters);
}

/* Not before the connection stands, nor while hiredis hands out answers: a failure would free what it works on. There its
 * own event writes. */
void counters_async_flush(struct counters_async *counters)
{
	redisAsyncContext *redis = counters->redis;
	if (!counters->unwritten || !redis || !counters->ready || (redis->c.flags & REDIS_IN_CALLBACK))
		return;
	counters->unwritten = 0;
	redisAsyncHandleWrite(redis);
}

void counters_async_suspend(struct counters_async *counters, struct text customer, struct text login, int64_t since)
{
	struct buffer call = {0};
	if (counters->only_local && counters->local)
		counters_local_suspend(counters->local, customer, login, since);
	if (!counters->redis || breaker_is_open(&counters->breaker))
		return;
	counters_script_suspend(customer, login, since, &call);
	send_ahead(counters, NULL, &call);
}

/* Spelt out, since it is rare and nobody waits for the answer NOSCRIPT. */
void counters_async_refund(struct counters_async *counters, struct text customer, struct text node,
			   struct text queue_id)
{
	struct buffer call = {0}, whole = {0};
	if (counters->only_local && counters->local)
		counters_local_refund(counters->local, customer, node, queue_id);
	if (!counters->redis || breaker_is_open(&counters->breaker))
		return;
	counters_script_refund(customer, node, queue_id, &call);
	counters_script_spell_out(COUNTERS_SCRIPT_REFUND, buffer_view(&call), &whole);
	send_ahead(counters, NULL, &whole);
	buffer_free(&call);
}
