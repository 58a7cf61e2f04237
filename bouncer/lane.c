#include "bouncer/lane.h"

#include <stdlib.h>
#include <string.h>

#include "common/memory.h"

/* A lane lives while it holds something. It stands in the ring of lanes that may go while something waits in it and its
 * limit is not reached. */
struct lane {
	struct lane *chain;           /* of its hash bucket */
	struct lane *earlier, *later; /* in the ring */
	bool in_ring;
	struct endpoint *endpoint;
	struct delivery_list waiting;
	size_t under_way, limit; /* POSTs */
	size_t posted;           /* events in them */
	size_t failures;         /* in a row */
};

/* A power of two. Beyond it chains grow: ten thousand endpoints give chains of two or three. */
#define BUCKETS 4096

struct lanes {
	size_t total_limit, lane_limit, failure_limit;
	size_t held; /* events */
	size_t under_way;
	struct lane *first, *last; /* the ring */
	struct lane *buckets[BUCKETS];
};

struct lanes *lanes_new(size_t total, size_t each, size_t failures)
{
	struct lanes *lanes = memory_zero(1, sizeof(*lanes));
	lanes->total_limit = total;
	lanes->lane_limit = each;
	lanes->failure_limit = failures;
	return lanes;
}

/* FNV-1a (Fowler, Noll, Vo; 32 bits). Ids are our own random ones: nobody can aim at a bucket. */
static struct lane **bucket(struct lanes *lanes, const char *id)
{
	uint32_t hash = 2166136261u;
	for (const char *p = id; *p; p++)
		hash = (uint32_t)((hash ^ (unsigned char)*p) * UINT64_C(16777619));
	return &lanes->buckets[hash & (BUCKETS - 1)];
}

static struct lane *find(struct lanes *lanes, const struct endpoint *endpoint)
{
	struct lane *lane = *bucket(lanes, endpoint->id);
	while (lane && (strcmp(lane->endpoint->id, endpoint->id) != 0 ||
			strcmp(lane->endpoint->customer, endpoint->customer) != 0))
		lane = lane->chain;
	return lane;
}

static struct lane *make(struct lanes *lanes, struct endpoint *endpoint)
{
	struct lane *lane = memory_zero(1, sizeof(*lane));
	struct lane **head = bucket(lanes, endpoint->id);
	lane->endpoint = endpoint_share(endpoint);
	lane->limit = 1;
	lane->chain = *head;
	*head = lane;
	return lane;
}

static void ring_remove(struct lanes *lanes, struct lane *lane)
{
	if (!lane->in_ring)
		return;
	*(lane->earlier ? &lane->earlier->later : &lanes->first) = lane->later;
	*(lane->later ? &lane->later->earlier : &lanes->last) = lane->earlier;
	lane->in_ring = false;
}

/* To the end of the ring when it may go, else out of it. */
static void ring_settle(struct lanes *lanes, struct lane *lane)
{
	ring_remove(lanes, lane);
	if (!lane->waiting.head || lane->under_way >= lane->limit)
		return;
	lane->earlier = lanes->last;
	lane->later = NULL;
	*(lanes->last ? &lanes->last->later : &lanes->first) = lane;
	lanes->last = lane;
	lane->in_ring = true;
}

static void destroy(struct lanes *lanes, struct lane *lane)
{
	struct lane **link = bucket(lanes, lane->endpoint->id);
	while (*link != lane)
		link = &(*link)->chain;
	*link = lane->chain;
	ring_remove(lanes, lane);
	delivery_list_free(&lane->waiting);
	endpoint_free(&lane->endpoint);
	free(lane);
}

void lanes_free(struct lanes **lanes)
{
	if (!*lanes)
		return;
	for (size_t i = 0; i < BUCKETS; i++)
		while ((*lanes)->buckets[i])
			destroy(*lanes, (*lanes)->buckets[i]);
	free(*lanes);
	*lanes = NULL;
}

void lanes_add(struct lanes *lanes, struct delivery *delivery)
{
	struct lane *lane = find(lanes, delivery->endpoint);
	if (!lane)
		lane = make(lanes, delivery->endpoint);
	delivery_list_add(&lane->waiting, delivery);
	lanes->held += delivery->event_count;
	if (!lane->in_ring)
		ring_settle(lanes, lane);
}

struct delivery *lanes_next(struct lanes *lanes)
{
	struct lane *lane = lanes->first;
	if (!lane || lanes->under_way >= lanes->total_limit)
		return NULL;
	struct delivery *delivery = delivery_list_take(&lane->waiting);
	lane->under_way++;
	lane->posted += delivery->event_count;
	lanes->under_way++;
	ring_settle(lanes, lane);
	return delivery;
}

static void give_back(struct lanes *lanes, struct lane *lane, struct delivery_list *unused)
{
	lanes->held -= lane->waiting.count;
	delivery_list_join(unused, &lane->waiting);
}

void lanes_done(struct lanes *lanes, const struct delivery *delivery, bool ok, bool pause, struct delivery_list *unused)
{
	struct lane *lane = find(lanes, delivery->endpoint);
	lane->under_way--;
	lane->posted -= delivery->event_count;
	lanes->under_way--;
	lanes->held -= delivery->event_count;
	lane->failures = ok ? 0 : lane->failures + 1;
	if (!ok)
		lane->limit = 1;
	else if (lane->limit < lanes->lane_limit)
		lane->limit = 2 * lane->limit < lanes->lane_limit ? 2 * lane->limit : lanes->lane_limit;
	if (pause || lane->failures >= lanes->failure_limit)
		give_back(lanes, lane, unused);
	if (!lane->under_way && !lane->waiting.head)
		destroy(lanes, lane);
	else
		ring_settle(lanes, lane);
}

void lanes_clear(struct lanes *lanes, struct delivery_list *unused)
{
	for (size_t i = 0; i < BUCKETS; i++)
		for (struct lane *lane = lanes->buckets[i], *next; lane; lane = next) {
			next = lane->chain;
			give_back(lanes, lane, unused);
			if (!lane->under_way)
				destroy(lanes, lane);
			else
				ring_settle(lanes, lane);
		}
}

size_t lanes_held(const struct lanes *lanes)
{
	return lanes->held;
}

size_t lanes_under_way(const struct lanes *lanes)
{
	return lanes->under_way;
}

void lanes_each(const struct lanes *lanes, void (*each)(const struct endpoint *endpoint, size_t held, void *cookie),
		void *cookie)
{
	for (size_t i = 0; i < BUCKETS; i++)
		for (const struct lane *lane = lanes->buckets[i]; lane; lane = lane->chain)
			each(lane->endpoint, lane->waiting.count + lane->posted, cookie);
}
