/* Redis for threads: see counters_sync.h. Connections are non-blocking and every wait is a poll(2) up to the
 * operation's deadline, so that neither a hung nor a trickling Redis holds a caller longer than the time-out; hiredis'
 * own time-outs are per system call. A connection that failed or was late is closed: its answer may still come. */

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include <hiredis/hiredis.h>

#include "common/breaker.h"
#include "common/counters_reply.h"
#include "common/counters_script.h"
#include "common/counters_stand_in.h"
#include "common/log.h"
#include "common/memory.h"

#include "common/counters_sync.h"

#define POOL_MAX 64 /* idle connections kept: more than the milter's threads */

struct counters {
	char *socket, *host, *password;
	int port, timeout_ms;
	struct counters_local *local; /* NULL: none */
	bool only_local;
	enum counters_unavailable rules[LIMIT_SCOPE_MAX]; /* while Redis is away */
	pthread_mutex_t lock;                             /* guards what follows */
	struct breaker breaker;
	redisContext *idle[POOL_MAX];
	size_t idle_count;
};

static int64_t now_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static char *copy_or_null(const char *string)
{
	return string ? text_copy(text_of(string)) : NULL;
}

struct counters *counters_new(const struct counters_options *options)
{
	struct counters *counters = memory_zero(1, sizeof *counters);
	counters->socket = copy_or_null(options->socket);
	counters->host = copy_or_null(options->host);
	counters->password = copy_or_null(options->password);
	counters->port = options->port;
	counters->timeout_ms = options->timeout_ms;
	counters->local = counters_local_of(options);
	counters->only_local = options->only_local;
	memcpy(counters->rules, options->unavailable, sizeof counters->rules);
	pthread_mutex_init(&counters->lock, NULL);
	return counters;
}

void counters_free(struct counters **counters)
{
	struct counters *c = *counters;
	if (!c)
		return;
	while (c->idle_count)
		redisFree(c->idle[--c->idle_count]);
	counters_local_free(&c->local);
	pthread_mutex_destroy(&c->lock);
	free(c->socket);
	free(c->host);
	free(c->password);
	free(c);
	*counters = NULL;
}

/* Waits for EVENTS until the deadline. 0, or -1. */
static int wait_for(redisContext *redis, short events, int64_t deadline_ms)
{
	struct pollfd fd = {.fd = redis->fd, .events = events};
	for (;;) {
		int64_t left_ms = deadline_ms - now_ms();
		if (left_ms <= 0)
			return -1;
		int ready = poll(&fd, 1, (int)left_ms);
		if (ready > 0)
			return 0;
		if (ready < 0 && errno != EINTR)
			return -1;
	}
}

static int finish_connecting(redisContext *redis, int64_t deadline_ms)
{
	int error = 0;
	socklen_t len = sizeof error;
	if (redis->err || wait_for(redis, POLLOUT, deadline_ms) != 0)
		return -1;
	return getsockopt(redis->fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0 && error == 0 ? 0 : -1;
}

static int send_all(redisContext *redis, int64_t deadline_ms)
{
	for (;;) {
		int done = 0;
		if (redisBufferWrite(redis, &done) != REDIS_OK)
			return -1;
		if (done)
			return 0;
		if (wait_for(redis, POLLOUT, deadline_ms) != 0)
			return -1;
	}
}

/* Sends CALL and takes its reply; NULL when the connection is of no more use. */
static redisReply *ask(redisContext *redis, struct text call, int64_t deadline_ms)
{
	void *reply = NULL;
	if (redisAppendFormattedCommand(redis, call.ptr, call.len) != REDIS_OK || send_all(redis, deadline_ms) != 0)
		return NULL;
	for (;;) {
		if (redisGetReplyFromReader(redis, &reply) != REDIS_OK)
			return NULL;
		if (reply)
			return reply;
		if (wait_for(redis, POLLIN, deadline_ms) != 0 || redisBufferRead(redis) != REDIS_OK)
			return NULL;
	}
}

static bool is_error(const redisReply *reply, const char *code)
{
	return reply->type == REDIS_REPLY_ERROR && text_starts(text_at(reply->str, reply->len), text_of(code));
}

static int authenticate(struct counters *counters, redisContext *redis, int64_t deadline_ms)
{
	if (!counters->password)
		return 0;
	struct buffer call = {0};
	counters_script_auth(counters->password, &call);
	redisReply *reply = ask(redis, buffer_view(&call), deadline_ms);
	int status = reply && reply->type == REDIS_REPLY_STATUS ? 0 : -1;
	if (reply)
		freeReplyObject(reply);
	buffer_free(&call);
	return status;
}

static redisContext *connect_redis(struct counters *counters, int64_t deadline_ms)
{
	redisContext *redis = counters->socket ? redisConnectUnixNonBlock(counters->socket)
					       : redisConnectNonBlock(counters->host, counters->port);
	if (!redis)
		abort();
	if (finish_connecting(redis, deadline_ms) == 0 && authenticate(counters, redis, deadline_ms) == 0)
		return redis;
	redisFree(redis);
	return NULL;
}

/* An idle connection on which something can be read was closed by Redis, or holds what nobody asked for. */
static bool is_fresh(redisContext *redis)
{
	struct pollfd fd = {.fd = redis->fd, .events = POLLIN};
	return poll(&fd, 1, 0) == 0;
}

static redisContext *take_idle(struct counters *counters)
{
	pthread_mutex_lock(&counters->lock);
	redisContext *redis = counters->idle_count ? counters->idle[--counters->idle_count] : NULL;
	pthread_mutex_unlock(&counters->lock);
	return redis;
}

static redisContext *take_connection(struct counters *counters, int64_t deadline_ms)
{
	redisContext *redis;
	while ((redis = take_idle(counters))) {
		if (is_fresh(redis))
			return redis;
		redisFree(redis);
	}
	return connect_redis(counters, deadline_ms);
}

static void give_connection(struct counters *counters, redisContext *redis)
{
	pthread_mutex_lock(&counters->lock);
	bool keep = counters->idle_count < POOL_MAX;
	if (keep)
		counters->idle[counters->idle_count++] = redis;
	pthread_mutex_unlock(&counters->lock);
	if (!keep)
		redisFree(redis);
}

/* CALL by hash, and spelled out when Redis does not know the script. The reply is an array or number, or NULL. */
static redisReply *run(redisContext *redis, enum counters_script script, struct text call, int64_t deadline_ms)
{
	redisReply *reply = ask(redis, call, deadline_ms);
	if (reply && is_error(reply, "NOSCRIPT")) {
		struct buffer whole = {0};
		freeReplyObject(reply);
		counters_script_spell_out(script, call, &whole);
		reply = ask(redis, buffer_view(&whole), deadline_ms);
		buffer_free(&whole);
	}
	if (reply && reply->type == REDIS_REPLY_ERROR) {
		log_debug("redis: %s", reply->str);
		freeReplyObject(reply);
		reply = NULL;
	}
	return reply;
}

static void note(struct counters *counters, bool answered)
{
	pthread_mutex_lock(&counters->lock);
	bool changed = answered ? breaker_answered(&counters->breaker) : breaker_failed(&counters->breaker, now_ms());
	pthread_mutex_unlock(&counters->lock);
	const char *where = counters->socket ? counters->socket : counters->host;
	if (changed && answered)
		log_info("redis: %s answers again", where);
	else if (changed)
		log_warning("redis: %s does not answer; it is asked again every second", where);
}

/* WAITED_MS of the time-out are spent. A call that has not got all of it says nothing about Redis when it fails. */
static redisReply *call_redis(struct counters *counters, enum counters_script script, struct text call,
			      int64_t waited_ms)
{
	int64_t start_ms = now_ms();
	pthread_mutex_lock(&counters->lock);
	bool allowed = breaker_allows(&counters->breaker, start_ms);
	pthread_mutex_unlock(&counters->lock);
	if (!allowed)
		return NULL;
	int64_t deadline_ms = start_ms + counters->timeout_ms - waited_ms;
	redisContext *redis = take_connection(counters, deadline_ms);
	redisReply *reply = redis ? run(redis, script, call, deadline_ms) : NULL;
	if (reply)
		give_connection(counters, redis);
	else if (redis)
		redisFree(redis);
	if (reply || !waited_ms)
		note(counters, reply != NULL);
	return reply;
}

static void charge_redis(struct counters *counters, const struct counters_request *request,
			 struct counters_result *result)
{
	struct buffer call = {0};
	struct counters_expected expected;
	counters_script_charge(request, &call);
	redisReply *reply = call_redis(counters, COUNTERS_SCRIPT_CHARGE, buffer_view(&call), 0);
	buffer_free(&call);
	if (!reply)
		return;
	counters_script_expect(request, &expected);
	const char *why = counters_reply_read(reply, &expected, result);
	if (why)
		log_error("redis: %s", why);
	freeReplyObject(reply);
}

void counters_charge(struct counters *counters, const struct counters_request *request, struct counters_result *result)
{
	int64_t start_ms = now_ms();
	*result = (struct counters_result){.answer = COUNTERS_UNAVAILABLE};
	if (!counters->only_local)
		charge_redis(counters, request, result);
	int64_t waited_ms = now_ms() - start_ms;
	if (counters->only_local && counters->local)
		counters_local_charge(counters->local, request, result);
	else if (result->answer == COUNTERS_UNAVAILABLE)
		counters_stand_in(counters->local, counters->rules, request, result);
	result->waited_ms = waited_ms;
}

static int refund_redis(struct counters *counters, struct text customer, struct text node, struct text queue_id,
			int64_t waited_ms)
{
	struct buffer call = {0};
	if (waited_ms >= counters->timeout_ms)
		return -1;
	counters_script_refund(customer, node, queue_id, &call);
	redisReply *reply = call_redis(counters, COUNTERS_SCRIPT_REFUND, buffer_view(&call), waited_ms);
	buffer_free(&call);
	if (!reply)
		return -1;
	freeReplyObject(reply);
	return 0;
}

int counters_bounces(struct counters *counters, struct text customer, struct text login, int64_t count)
{
	if (counters->only_local)
		return counters->local ? counters_local_bounces(counters->local, customer, login, count) : -1;
	struct buffer call = {0};
	counters_script_bounces(customer, login, count, &call);
	redisReply *reply = call_redis(counters, COUNTERS_SCRIPT_BOUNCES, buffer_view(&call), 0);
	buffer_free(&call);
	if (!reply)
		return -1;
	freeReplyObject(reply);
	return 0;
}

/* Redis may have gone or come back since the charge: both are asked. */
int counters_refund(struct counters *counters, struct text customer, struct text node, struct text queue_id,
		    int64_t waited_ms)
{
	int status = counters->only_local ? -1 : refund_redis(counters, customer, node, queue_id, waited_ms);
	if (counters->local && counters_local_refund(counters->local, customer, node, queue_id) == 0)
		status = 0;
	return status;
}

bool counters_healthy(struct counters *counters)
{
	pthread_mutex_lock(&counters->lock);
	bool healthy = !breaker_is_open(&counters->breaker);
	pthread_mutex_unlock(&counters->lock);
	return healthy;
}
