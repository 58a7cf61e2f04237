/* Random sequences of charges, settlements, refunds and edits: the Lua scripts in a real Redis and the arithmetic of
 * common/limit.c must agree to the microsecond after every step. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <hiredis/hiredis.h>

#include "common/counters_script.h"
#include "tests/unit/common/draw.h"
#include "tests/unit/common/redis_server.h"

#define STEPS     6000
#define LIMITS    6
#define QUEUE_IDS 5
#define INSTANCES 8

static const char *const specs[] = {"7/s",    "100/h",       "20/s burst 100", "999983/h", "3/min burst 10",
				    "0/h",    "50/day",      "200/month",      "0/day",    "1000G/s",
				    "1M/min", "13/s burst 1"};
#define SPECS (sizeof specs / sizeof *specs)

struct model {
	struct counters_item items[LIMITS];
	struct limit_state states[LIMITS];
	char ids[LIMITS][8];
	struct receipt {
		bool instances[INSTANCES], held[INSTANCES];
		int64_t cost[LIMITS]; /* microseconds of a speed, units of a quota */
	} receipts[QUEUE_IDS];
	int generation; /* of the queue ids: an edit makes the receipts of before another matter */
};

static void edit(struct model *m, size_t i)
{
	struct counters_item *item = &m->items[i];
	size_t at;
	assert_null(limit_spec_parse(text_of(specs[draw(SPECS)]), &item->limit.spec, &at));
	item->limit.action = draw(3) ? LIMIT_DEFER : draw(2) ? LIMIT_SHADOW : LIMIT_HOLD;
	item->window_start = item->window_end = 0;
	if (limit_is_quota(item->limit.spec.period))
		limit_window(item->limit.spec.period, 4102444800, 0, &item->window_start, &item->window_end);
	memset(m->receipts, 0, sizeof m->receipts);
	m->generation++;
}

static redisReply *ask(redisContext *redis, struct buffer *call)
{
	void *reply = NULL;
	assert_int_equal(redisAppendFormattedCommand(redis, call->ptr, call->len), REDIS_OK);
	assert_int_equal(redisGetReply(redis, &reply), REDIS_OK);
	buffer_free(call);
	return reply;
}

static redisReply *run(redisContext *redis, enum counters_script script, struct buffer *call)
{
	struct buffer first = {0};
	buffer_text(&first, buffer_view(call));
	redisReply *reply = ask(redis, &first);
	if (reply->type == REDIS_REPLY_ERROR && strncmp(reply->str, "NOSCRIPT", 8) == 0) {
		struct buffer whole = {0};
		freeReplyObject(reply);
		counters_script_spell_out(script, buffer_view(call), &whole);
		reply = ask(redis, &whole);
	}
	if (reply->type == REDIS_REPLY_ERROR)
		fail_msg("%s", reply->str);
	buffer_free(call);
	return reply;
}

/* What Redis keeps for an item is what the model keeps. */
static void compare_state(redisContext *redis, const struct counters_request *request, size_t i,
			  const struct limit_state *state)
{
	char key[COUNTERS_KEY_MAX], expected[80];
	size_t len = counters_script_key(request, i, key);
	redisReply *reply = redisCommand(redis, "GET %b", key, len);
	if (reply->type == REDIS_REPLY_STRING) {
		if (limit_is_quota(request->items[i].limit.spec.period))
			snprintf(expected, sizeof expected, "%lld", (long long)state->used);
		else
			snprintf(expected, sizeof expected, "%lld %lld %lld", (long long)state->tat_us,
				 (long long)state->amount, (long long)state->period_us);
		assert_string_equal(reply->str, expected);
	}
	freeReplyObject(reply);
}

/* The queue id number Q; the last one is empty: such a question leaves no receipt. */
static struct text queue_id(const struct model *m, size_t q, char store[32])
{
	snprintf(store, 32, "Q%zu.%d", q, m->generation);
	return text_of(q == QUEUE_IDS - 1 ? "" : store);
}

/* Picks some of the limits into REQUEST; WHICH tells which. */
static void pick(struct model *m, struct counters_request *request, size_t which[LIMITS])
{
	request->begins = draw(4) == 0;
	for (size_t i = 0; i < LIMITS; i++) {
		if (draw(3) == 0)
			continue;
		which[request->count] = i;
		request->items[request->count] = m->items[i];
		request->items[request->count].cost = draw(2) ? 1 : draw(12);
		request->items[request->count].settles = draw(5) == 0;
		request->count++;
	}
}

static void compare_usage(const struct limit_usage *a, const struct limit_usage *b)
{
	assert_int_equal(a->allowed, b->allowed);
	assert_int_equal(a->used, b->used);
	assert_int_equal(a->allowed_units, b->allowed_units);
	assert_int_equal(a->retry_after_us, b->retry_after_us);
}

/* What one item of a request does to the model: HELD is what the receipt holds of it when it settles, STATE is the
 * limit without that. */
struct effect {
	int64_t held;
	struct limit_state state;
	struct limit_usage usage;
};

static void give_back(const struct limit_spec *spec, struct limit_state *state, int64_t cost)
{
	int64_t *fill = limit_is_quota(spec->period) ? &state->used : &state->tat_us;
	*fill = *fill > cost ? *fill - cost : 0;
}

static struct effect effect_of(const struct model *m, const struct counters_item *item, size_t i,
			       const struct receipt *receipt, int64_t now_us)
{
	struct effect e = {.state = m->states[i]};
	if (item->settles && item->limit.spec.amount)
		e.held = receipt->cost[i];
	give_back(&item->limit.spec, &e.state, e.held);
	e.usage = limit_check(&item->limit.spec, &e.state, item->cost, now_us, item->window_start, item->window_end);
	return e;
}

static void charge_model(struct model *m, const struct counters_item *item, size_t i, struct effect *e,
			 struct receipt *receipt, int64_t now_us)
{
	receipt->cost[i] -= e->held;
	if (!e->usage.allowed || (limit_cost(&item->limit.spec, item->cost) == 0 && e->held == 0))
		return;
	m->states[i] = e->state;
	limit_charge(&item->limit.spec, &m->states[i], item->cost, now_us, item->window_start);
	receipt->cost[i] += limit_cost(&item->limit.spec, item->cost);
}

/* The model's answer to the same question at the same moment. */
static void follow(struct model *m, const struct counters_request *request, const size_t *which, size_t q,
		   size_t instance, int64_t now_us, const struct counters_result *result)
{
	struct receipt receipt = m->receipts[q];
	struct effect effects[LIMITS];
	bool refused = false, held = false;
	if (receipt.instances[instance]) {
		assert_int_equal(result->answer, COUNTERS_REPEATED);
		assert_int_equal(result->held, receipt.held[instance]);
		return;
	}
	if (request->begins)
		receipt = (struct receipt){0};
	for (size_t n = 0; n < request->count; n++) {
		effects[n] = effect_of(m, &request->items[n], which[n], &receipt, now_us);
		compare_usage(&result->usage[n], &effects[n].usage);
		refused |= !effects[n].usage.allowed && request->items[n].limit.action == LIMIT_DEFER;
		held |= !effects[n].usage.allowed && request->items[n].limit.action == LIMIT_HOLD;
	}
	assert_int_equal(result->answer, refused ? COUNTERS_REFUSED : COUNTERS_CHARGED);
	assert_int_equal(result->held, held && !refused);
	if (result->held)
		assert_int_equal(request->items[result->binding].limit.action, LIMIT_HOLD);
	if (refused)
		return;
	for (size_t n = 0; n < request->count; n++)
		charge_model(m, &request->items[n], which[n], &effects[n], &receipt, now_us);
	receipt.instances[instance] = true;
	receipt.held[instance] = held;
	if (request->queue_id.len)
		m->receipts[q] = receipt;
}

static void charge_step(redisContext *redis, struct model *m)
{
	char store[32], instance_name[8];
	size_t which[LIMITS], q = (size_t)draw(QUEUE_IDS), instance = (size_t)draw(INSTANCES);
	struct counters_request request = {.customer = TEXT("acme"), .node = TEXT("mx1")};
	snprintf(instance_name, sizeof instance_name, "i%zu", instance);
	request.queue_id = queue_id(m, q, store);
	request.instance = text_of(instance_name);
	pick(m, &request, which);
	if (!request.count)
		return;
	struct buffer call = {0};
	counters_script_charge(&request, &call);
	redisReply *reply = run(redis, COUNTERS_SCRIPT_CHARGE, &call);
	int64_t values[COUNTERS_SCRIPT_VALUES];
	for (size_t i = 0; i < reply->elements; i++)
		values[i] = reply->element[i]->integer;
	struct counters_expected expected;
	struct counters_result result;
	counters_script_expect(&request, &expected);
	assert_null(counters_script_result(&expected, values, reply->elements, TEXT(""), &result));
	freeReplyObject(reply);
	follow(m, &request, which, q, instance, values[1], &result);
	for (size_t n = 0; n < request.count; n++)
		compare_state(redis, &request, n, &m->states[which[n]]);
}

static void refund_step(redisContext *redis, struct model *m)
{
	char store[32];
	size_t q = (size_t)draw(QUEUE_IDS - 1);
	struct buffer call = {0};
	counters_script_refund(TEXT("acme"), TEXT("mx1"), queue_id(m, q, store), &call);
	freeReplyObject(run(redis, COUNTERS_SCRIPT_REFUND, &call));
	for (size_t i = 0; i < LIMITS; i++)
		give_back(&m->items[i].limit.spec, &m->states[i], m->receipts[q].cost[i]);
	m->receipts[q] = (struct receipt){0};
}

static void redis_and_the_arithmetic_agree(void **state)
{
	redisContext *redis = redisConnectUnix(((struct redis_server *)*state)->socket);
	struct model m = {0};
	for (size_t i = 0; i < LIMITS; i++) {
		snprintf(m.ids[i], sizeof m.ids[i], "limit-%zu", i);
		m.items[i] = (struct counters_item){.limit.id = text_of(m.ids[i]), .subject = TEXT("app@acme.test")};
		edit(&m, i);
	}
	for (int step = 0; step < STEPS; step++) {
		if (draw(200) == 0)
			edit(&m, (size_t)draw(LIMITS));
		else if (draw(8) == 0)
			refund_step(redis, &m);
		else
			charge_step(redis, &m);
	}
	redisFree(redis);
}

static int start_redis(void **state)
{
	static struct redis_server server;
	redis_server_start(&server, "");
	*state = &server;
	return 0;
}

static int stop_redis(void **state)
{
	redis_server_remove(*state);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(redis_and_the_arithmetic_agree),
	};
	return cmocka_run_group_tests(tests, start_redis, stop_redis);
}
