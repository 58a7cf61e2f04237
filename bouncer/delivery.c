#include "bouncer/delivery.h"

#include <stdlib.h>
#include <string.h>

#include "common/memory.h"

#include "bouncer/retry.h"

/* When our own fault (a secret that cannot be opened) is looked at again. */
#define UNSENDABLE_WAIT_MS (5 * 60 * 1000)

struct endpoint *endpoint_new(void)
{
	struct endpoint *endpoint = memory_zero(1, sizeof(*endpoint));
	atomic_init(&endpoint->users, 1);
	return endpoint;
}

struct endpoint *endpoint_share(struct endpoint *endpoint)
{
	atomic_fetch_add(&endpoint->users, 1);
	return endpoint;
}

struct text endpoint_old_key(const struct endpoint *endpoint)
{
	return buffer_view(&endpoint->keys[endpoint->key_count > 1 ? 1 : 0]);
}

static void wipe(struct buffer *key)
{
	if (key->ptr)
		explicit_bzero(key->ptr, key->cap);
	buffer_free(key);
}

void endpoint_free(struct endpoint **endpoint)
{
	struct endpoint *e = *endpoint;
	*endpoint = NULL;
	if (!e || atomic_fetch_sub(&e->users, 1) > 1)
		return;
	if (e->signer)
		e->signer_free(e->signer);
	for (size_t i = 0; i < 2; i++)
		wipe(&e->keys[i]);
	wipe(&e->header);
	wipe(&e->certificate);
	free(e->customer);
	free(e->id);
	free(e->url);
	free(e);
}

static struct delivery *make(struct endpoint *endpoint, struct text id, size_t count, int attempt)
{
	struct delivery *d = memory_zero(1, sizeof(*d));
	d->endpoint = endpoint_share(endpoint);
	d->id = text_copy(id);
	d->events = memory_zero(count, sizeof(*d->events));
	d->attempt = d->try = attempt;
	return d;
}

struct delivery *delivery_new(struct endpoint *endpoint, struct text event_id, int attempt)
{
	struct delivery *d = make(endpoint, event_id, 1, attempt);
	delivery_add_event(d, event_id, 0, 0);
	return d;
}

struct delivery *delivery_new_batch(struct endpoint *endpoint, struct text id, size_t count, int attempt)
{
	struct delivery *d = make(endpoint, id, count, attempt);
	d->batch = true;
	return d;
}

void delivery_add_event(struct delivery *batch, struct text event_id, int64_t occurred_us, int64_t recorded_us)
{
	batch->events[batch->event_count++] = (struct delivery_event){text_copy(event_id), occurred_us, recorded_us};
}

void delivery_free(struct delivery **delivery)
{
	struct delivery *d = *delivery;
	*delivery = NULL;
	if (!d)
		return;
	endpoint_free(&d->endpoint);
	for (size_t i = 0; i < d->event_count; i++)
		free(d->events[i].id);
	free(d->events);
	free(d->id);
	free(d->error);
	buffer_free(&d->body);
	buffer_free(&d->answer);
	free(d);
}

static const char *const outcomes[RETRY_OUTCOME_MAX] = {
	[RETRY_DELIVERED] = "delivered",
	[RETRY_AGAIN] = "due",
	[RETRY_EXHAUSTED] = "exhausted",
	[RETRY_GONE] = "due",
};

static void judge_attempt(struct delivery *d, uint32_t random)
{
	struct retry_verdict verdict = retry_decide(d->try, d->status, d->retry_after_ms, random);
	d->outcome = outcomes[verdict.outcome];
	d->wait_ms = verdict.wait_ms;
	d->pause_ms = verdict.pause_ms;
	d->ok = verdict.outcome == RETRY_DELIVERED;
	d->gone = verdict.outcome == RETRY_GONE;
}

void delivery_judge(struct delivery *d, uint32_t random)
{
	switch (d->state) {
	case DELIVERY_POSTED: judge_attempt(d, random); break;
	case DELIVERY_LOST: d->outcome = "dropped"; break;
	case DELIVERY_UNSENDABLE:
		d->outcome = "due";
		d->wait_ms = UNSENDABLE_WAIT_MS;
		break;
	case DELIVERY_LEASED:
	case DELIVERY_UNUSED:
	case DELIVERY_STATE_MAX: break;
	}
}

void delivery_list_add(struct delivery_list *list, struct delivery *delivery)
{
	delivery->next = NULL;
	if (list->tail)
		list->tail->next = delivery;
	else
		list->head = delivery;
	list->tail = delivery;
	list->count += delivery->event_count;
}

struct delivery *delivery_list_take(struct delivery_list *list)
{
	struct delivery *first = list->head;
	if (!first)
		return NULL;
	list->head = first->next;
	if (!list->head)
		list->tail = NULL;
	list->count -= first->event_count;
	first->next = NULL;
	return first;
}

void delivery_list_join(struct delivery_list *list, struct delivery_list *from)
{
	if (!from->head)
		return;
	if (list->tail)
		list->tail->next = from->head;
	else
		list->head = from->head;
	list->tail = from->tail;
	list->count += from->count;
	*from = (struct delivery_list){0};
}

void delivery_list_free(struct delivery_list *list)
{
	for (struct delivery *d; (d = delivery_list_take(list));)
		delivery_free(&d);
}
