#include "bouncer/lane.h"

#include <stdlib.h>
#include <string.h>

#include "common/memory.h"

/* Lanes that hold nothing and are still remembered, so that an endpoint that answers faster than the next lease comes need
 * not begin anew each time. With more of them than this, a little of each fills a lease. */
#define RESTING_MAX 256

/* What a lane may hold doubles up to here: more than anybody's share. */
#define ROOM_MAX 4096

struct ring {
	struct lane *first, *last;
};

/* A lane lives while it holds something, and rests for a while after that when it did well. It stands in the ring of lanes
 * that may go while something waits in it and its limit is not reached, and in that of the resting ones, the longest first. */
struct lane {
	struct lane *chain;           /* of its hash bucket */
	struct lane *earlier, *later; /* in the ring */
	struct ring *ring;            /* NULL: in none */
	struct endpoint *endpoint;
	struct delivery_list waiting;
	size_t under_way, limit, room; /* POSTs: now, at most; held at most */
	size_t posted;                 /* events in those under way */
	size_t failures;               /* in a row */
};

/* A power of two. Beyond it chains grow: ten thousand endpoints give chains of two or three. */
#define BUCKETS 4096

struct lanes {
	size_t total_limit, lane_limit, failure_limit;
	size_t held; /* events */
	size_t under_way;
	struct ring ready, resting;
	size_t resting_count;
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
	lane->room = LANE_ROOM;
	lane->chain = *head;
	*head = lane;
	return lane;
}

static void ring_leave(struct lanes *lanes, struct lane *lane)
{
	struct ring *ring = lane->ring;
	if (!ring)
		return;
	*(lane->earlier ? &lane->earlier->later : &ring->first) = lane->later;
	*(lane->later ? &lane->later->earlier : &ring->last) = lane->earlier;
	lanes->resting_count -= ring == &lanes->resting;
	lane->ring = NULL;
}

/* At its end. */
static void ring_join(struct lanes *lanes, struct lane *lane, struct ring *ring)
{
	lane->earlier = ring->last;
	lane->later = NULL;
	*(ring->last ? &ring->last->later : &ring->first) = lane;
	ring->last = lane;
	lane->ring = ring;
	lanes->resting_count += ring == &lanes->resting;
}

/* To the end of the ring when it may go, else out of it. */
static void settle(struct lanes *lanes, struct lane *lane)
{
	ring_leave(lanes, lane);
	if (lane->waiting.head && lane->under_way < lane->limit)
		ring_join(lanes, lane, &lanes->ready);
}

static void destroy(struct lanes *lanes, struct lane *lane)
{
	struct lane **link = bucket(lanes, lane->endpoint->id);
	while (*link != lane)
		link = &(*link)->chain;
	*link = lane->chain;
	ring_leave(lanes, lane);
	delivery_list_free(&lane->waiting);
	endpoint_free(&lane->endpoint);
	free(lane);
}

/* Holding nothing, a lane rests or goes: one that did not do well is as good as a new one. */
static void retire(struct lanes *lanes, struct lane *lane)
{
	if (lane->room <= LANE_ROOM) {
		destroy(lanes, lane);
		return;
	}
	ring_leave(lanes, lane);
	ring_join(lanes, lane, &lanes->resting);
	if (lanes->resting_count > RESTING_MAX)
		destroy(lanes, lanes->resting.first);
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
	if (lane->ring != &lanes->ready)
		settle(lanes, lane);
}

struct delivery *lanes_next(struct lanes *lanes)
{
	struct lane *lane = lanes->ready.first;
	if (!lane || lanes->under_way >= lanes->total_limit)
		return NULL;
	struct delivery *delivery = delivery_list_take(&lane->waiting);
	lane->under_way++;
	lane->posted += delivery->event_count;
	lanes->under_way++;
	settle(lanes, lane);
	return delivery;
}

static void give_back(struct lanes *lanes, struct lane *lane, struct delivery_list *unused)
{
	lanes->held -= lane->waiting.count;
	delivery_list_join(unused, &lane->waiting);
}

static size_t twice(size_t value, size_t most)
{
	return 2 * value < most ? 2 * value : most;
}

static void note(const struct lanes *lanes, struct lane *lane, enum lane_result result)
{
	switch (result) {
	case LANE_OK:
		lane->failures = 0;
		lane->limit = twice(lane->limit, lanes->lane_limit);
		lane->room = twice(lane->room, ROOM_MAX);
		break;
	case LANE_FAILED:
	case LANE_PAUSED:
		lane->failures++;
		lane->limit = 1;
		lane->room = LANE_ROOM;
		break;
	case LANE_UNTRIED:
	case LANE_RESULT_MAX: break;
	}
}

void lanes_done(struct lanes *lanes, const struct delivery *delivery, enum lane_result result,
		struct delivery_list *unused)
{
	struct lane *lane = find(lanes, delivery->endpoint);
	lane->under_way--;
	lane->posted -= delivery->event_count;
	lanes->under_way--;
	lanes->held -= delivery->event_count;
	note(lanes, lane, result);
	if (result == LANE_PAUSED || lane->failures >= lanes->failure_limit)
		give_back(lanes, lane, unused);
	if (!lane->under_way && !lane->waiting.head)
		retire(lanes, lane);
	else
		settle(lanes, lane);
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
				settle(lanes, lane);
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

/* Of a lane that only begins, or fails: not more than a batch, so that a few that hang do not fill everything. */
static size_t may_hold(const struct lane *lane, size_t share)
{
	size_t batch = lane->endpoint->batch_max > 1 ? lane->endpoint->batch_max : 1;
	size_t most = share > 2 * batch ? share : 2 * batch;
	size_t grown = batch == 1 ? lane->room : lane->room / LANE_ROOM * batch;
	return grown < most ? grown : most;
}

void lanes_each(const struct lanes *lanes, size_t share,
		void (*each)(const struct endpoint *endpoint, size_t holds, size_t may, void *cookie), void *cookie)
{
	for (size_t i = 0; i < BUCKETS; i++)
		for (const struct lane *lane = lanes->buckets[i]; lane; lane = lane->chain)
			each(lane->endpoint, lane->waiting.count + lane->posted, may_hold(lane, share), cookie);
}
