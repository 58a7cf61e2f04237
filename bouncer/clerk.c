#include "bouncer/clerk.h"

#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "common/json.h"
#include "common/log.h"
#include "common/memory.h"

/* Events held in memory at most, leased or waiting to be recorded; one batch more than that. */
#define HELD_MAX 4096

/* An endpoint that does well holds an eighth of what is free, and no more: however many of them are slow, there is room for
 * one more. (Choudhury, Hahne: Dynamic Queue Length Thresholds for Shared-Memory Packet Switches, 1998.) */
#define SHARES 8

/* Of one lease and of one record. Larger ones gain nothing more. */
#define BATCH_MAX 1000

/* While leases come back as large as this, there is a backlog, and this many deliveries are held ready, so that the loop
 * always has something to post during the next lease. */
#define BACKLOG_LEASE (BATCH_MAX / 2)
#define BACKLOG_HELD  (BATCH_MAX + BATCH_MAX / 2)

/* Finished deliveries wait this long for company before they are recorded, while there are only a few. */
#define LINGER_MS  3
#define LINGER_FEW 200

/* How often old rows are looked for; while there are more, with every poll. */
#define PRUNE_EVERY_MS (10 * 60 * 1000)

/* Between tries while Postgres is away. */
#define AWAY_WAIT_MS 1000

struct clerk {
	struct clerk_settings settings;
	pthread_t thread;
	int to_clerk, to_loop; /* eventfd(2) */

	pthread_mutex_t lock; /* guards from here … */
	struct lanes *lanes;
	struct delivery_list done, unused; /* to be recorded; to be given back */
	bool stopping, ending;
	/* … to here; the rest is the thread's own */

	struct outbox *outbox;
	bool listening, away;
	size_t last_lease;   /* rows of the last lease */
	size_t since_lease;  /* recorded since then */
	int64_t lease_at_ms; /* the next one by the clock */
	int64_t prune_at_ms;
};

static int64_t now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void raise_fd(int fd)
{
	eventfd_write(fd, 1);
}

static void lower_fd(int fd)
{
	eventfd_t count;
	eventfd_read(fd, &count);
}

/* Postgres away, or not as it should be, is said once, and once that it is well again. */
static bool note(struct clerk *clerk, enum pg_status status, const char *doing)
{
	if (status == PG_OK && clerk->away)
		log_info("Postgres is back");
	if (status != PG_OK && !clerk->away)
		log_warning("%s: %s; deliveries wait in Postgres, retrying every second", doing,
			    outbox_error(clerk->outbox));
	clerk->away = status != PG_OK;
	if (clerk->away)
		clerk->listening = false;
	return !clerk->away;
}

static void add_lane(const struct endpoint *endpoint, size_t holds, size_t may, void *cookie)
{
	struct json *json = cookie;
	json_open(json, endpoint->id, '{');
	json_int(json, "holds", (int64_t)holds);
	json_int(json, "may", (int64_t)may);
	json_close(json, '}');
}

static size_t share_of(const struct clerk *clerk, size_t held)
{
	size_t share = held < HELD_MAX ? (HELD_MAX - held) / SHARES : 0;
	size_t least = 2 * clerk->settings.endpoint_concurrency, most = clerk->settings.endpoint_held;
	share = share > least ? share : least;
	return share < most ? share : most;
}

static size_t free_places(struct clerk *clerk, struct buffer *lanes)
{
	struct json json = {.out = lanes};
	pthread_mutex_lock(&clerk->lock);
	size_t count = lanes_held(clerk->lanes) + clerk->done.count + clerk->unused.count;
	bool stopping = clerk->stopping;
	json_open(&json, NULL, '{');
	lanes_each(clerk->lanes, share_of(clerk, count), add_lane, &json);
	json_close(&json, '}');
	pthread_mutex_unlock(&clerk->lock);
	if (stopping || count >= HELD_MAX)
		return 0;
	return HELD_MAX - count < BATCH_MAX ? HELD_MAX - count : BATCH_MAX;
}

static void accept_one(struct clerk *clerk, struct delivery *delivery)
{
	if (delivery->state == DELIVERY_LEASED && !clerk->stopping) {
		lanes_add(clerk->lanes, delivery);
	} else if (delivery->state == DELIVERY_LEASED) {
		delivery_list_add(&clerk->unused, delivery);
	} else {
		log_warning("%s: customer=%s, endpoint=%s, status=not sent (%s)", delivery->id,
			    delivery->endpoint->customer, delivery->endpoint->id, delivery->error);
		delivery_judge(delivery, 0);
		delivery_list_add(&clerk->done, delivery);
	}
}

static void lease(struct clerk *clerk)
{
	struct buffer lanes = {0};
	struct delivery_list leased = {0};
	size_t places = free_places(clerk, &lanes);
	clerk->lease_at_ms = now_ms() + clerk->settings.poll_ms;
	clerk->since_lease = 0;
	if (!places) {
		buffer_free(&lanes);
		return;
	}
	enum pg_status status = outbox_lease(clerk->outbox, places, buffer_view(&lanes), now_ms(), &leased);
	buffer_free(&lanes);
	clerk->last_lease = leased.count;
	if (!note(clerk, status, "leasing deliveries") || !leased.count)
		return;
	pthread_mutex_lock(&clerk->lock);
	for (struct delivery *d; (d = delivery_list_take(&leased));)
		accept_one(clerk, d);
	pthread_mutex_unlock(&clerk->lock);
	raise_fd(clerk->to_loop);
}

/* Takes a batch of LIST for itself. */
static struct delivery_list take_batch(struct clerk *clerk, struct delivery_list *list)
{
	struct delivery_list batch = {0};
	pthread_mutex_lock(&clerk->lock);
	if (list->count <= BATCH_MAX)
		delivery_list_join(&batch, list);
	while (batch.count < BATCH_MAX && list->count)
		delivery_list_add(&batch, delivery_list_take(list));
	pthread_mutex_unlock(&clerk->lock);
	return batch;
}

static void put_back(struct clerk *clerk, struct delivery_list *list, struct delivery_list *batch)
{
	pthread_mutex_lock(&clerk->lock);
	delivery_list_join(batch, list);
	*list = *batch;
	*batch = (struct delivery_list){0};
	pthread_mutex_unlock(&clerk->lock);
}

/* Something in the batch is not to Postgres's liking: one by one, so that only that one is lost to the records. Its
 * lease ends by itself, and it is tried again. */
static enum pg_status record_singly(struct clerk *clerk, struct delivery_list *batch)
{
	while (batch->head) {
		struct delivery_list one = {
			.head = batch->head, .tail = batch->head, .count = batch->head->event_count};
		struct delivery *rest = batch->head->next;
		batch->head->next = NULL;
		enum pg_status status = outbox_record(clerk->outbox, &one);
		batch->head->next = rest;
		if (status == PG_RETRY)
			return status;
		struct delivery *d = delivery_list_take(batch);
		if (status == PG_FAILED)
			log_error("%s: customer=%s, endpoint=%s: recording attempt %d failed: %s", d->id,
				  d->endpoint->customer, d->endpoint->id, d->attempt, outbox_error(clerk->outbox));
		delivery_free(&d);
	}
	return PG_OK;
}

/* False when the rest has to wait for Postgres. */
static bool record(struct clerk *clerk)
{
	for (;;) {
		struct delivery_list batch = take_batch(clerk, &clerk->done);
		size_t count = batch.count;
		if (!count)
			return true;
		enum pg_status status = outbox_record(clerk->outbox, &batch);
		if (status == PG_FAILED)
			status = record_singly(clerk, &batch);
		if (!note(clerk, status, "recording attempts")) {
			put_back(clerk, &clerk->done, &batch);
			return false;
		}
		clerk->since_lease += count;
		delivery_list_free(&batch);
	}
}

static void give_back(struct clerk *clerk)
{
	struct delivery_list batch = take_batch(clerk, &clerk->unused);
	if (batch.count)
		note(clerk, outbox_release(clerk->outbox, &batch), "giving back leases");
	delivery_list_free(&batch); /* if that failed, the leases end by themselves */
}

static void prune(struct clerk *clerk)
{
	size_t count;
	if (note(clerk, outbox_prune(clerk->outbox, clerk->settings.keep_ms, &count), "forgetting old attempts"))
		clerk->prune_at_ms = now_ms() + (count ? clerk->settings.poll_ms : PRUNE_EVERY_MS);
}

static void log_disabled(const char *customer, const char *endpoint, const char *reason)
{
	log_warning(
		"customer=%s, endpoint=%s: disabled: %s; what it was owed waits, what happens now is not owed to it: "
		"waybill endpoint resume %s",
		customer, endpoint, reason, endpoint);
}

static bool is_ending(struct clerk *clerk)
{
	pthread_mutex_lock(&clerk->lock);
	bool ending = clerk->ending;
	pthread_mutex_unlock(&clerk->lock);
	return ending;
}

static bool has_work(struct clerk *clerk, size_t *finished)
{
	pthread_mutex_lock(&clerk->lock);
	*finished = clerk->done.count;
	bool work = clerk->done.count || clerk->unused.count || clerk->ending;
	pthread_mutex_unlock(&clerk->lock);
	return work;
}

static bool has_backlog(struct clerk *clerk)
{
	pthread_mutex_lock(&clerk->lock);
	size_t held = lanes_held(clerk->lanes);
	bool stopping = clerk->stopping;
	pthread_mutex_unlock(&clerk->lock);
	return clerk->last_lease >= BACKLOG_LEASE && held < BACKLOG_HELD && !stopping;
}

/* Waits for a notification, for finished deliveries, or for the clock. True when it is time for a lease. */
static bool wait_for_work(struct clerk *clerk)
{
	size_t finished;
	int64_t left = clerk->away ? AWAY_WAIT_MS : clerk->lease_at_ms - now_ms();
	struct pollfd fds[] = {{.fd = clerk->to_clerk, .events = POLLIN},
			       {.fd = outbox_socket(clerk->outbox), .events = POLLIN}};
	/* One may have come along with the answer to a statement: then the socket stays silent. */
	if (outbox_notified(clerk->outbox))
		return true;
	if (clerk->away)
		fds[0].fd = -1; /* finished deliveries cannot be recorded now */
	else if (has_work(clerk, &finished) || has_backlog(clerk))
		left = 0;
	poll(fds, 2, left > 0 ? (int)left : 0);
	if (fds[0].revents) {
		lower_fd(clerk->to_clerk);
		if (has_work(clerk, &finished) && finished < LINGER_FEW && !has_backlog(clerk))
			poll(fds + 1, 1, LINGER_MS);
	}
	return outbox_notified(clerk->outbox) || now_ms() >= clerk->lease_at_ms;
}

/* The next lease comes when half of the last one is done, or at once while there is a backlog. One that brought nothing
 * may have found lanes that were full. */
static bool wants_more(struct clerk *clerk)
{
	if (has_backlog(clerk))
		return true;
	return clerk->since_lease && clerk->since_lease >= clerk->last_lease / 2;
}

static void *clerk_run(void *cookie)
{
	struct clerk *clerk = cookie;
	while (!is_ending(clerk)) {
		bool due = wait_for_work(clerk);
		if (!clerk->listening) {
			enum pg_status status = outbox_listen(clerk->outbox);
			clerk->listening = status == PG_OK;
			if (!clerk->listening)
				note(clerk, status, "connecting to Postgres");
			due = true; /* a notification may have been missed */
		}
		if (!clerk->listening || !record(clerk))
			continue;
		give_back(clerk);
		if (due || wants_more(clerk))
			lease(clerk);
		if (due && !clerk->away && now_ms() >= clerk->prune_at_ms)
			prune(clerk);
	}
	if (record(clerk))
		give_back(clerk);
	return NULL;
}

struct clerk *clerk_new(const struct clerk_settings *settings)
{
	struct clerk *clerk = memory_zero(1, sizeof(*clerk));
	clerk->settings = *settings;
	clerk->settings.outbox.disabled = log_disabled;
	clerk->settings.outbox.endpoint_max = LANE_ROOM < settings->endpoint_held ? LANE_ROOM : settings->endpoint_held;
	clerk->outbox = outbox_new(&clerk->settings.outbox);
	clerk->prune_at_ms = now_ms();
	clerk->lanes = lanes_new(settings->concurrency, settings->endpoint_concurrency,
				 (size_t)settings->outbox.breaker_failures);
	clerk->to_clerk = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	clerk->to_loop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	pthread_mutex_init(&clerk->lock, NULL);
	if (clerk->to_clerk < 0 || clerk->to_loop < 0 || pthread_create(&clerk->thread, NULL, clerk_run, clerk))
		abort(); /* no descriptors or no memory: see common/memory.h */
	return clerk;
}

int clerk_fd(const struct clerk *clerk)
{
	return clerk->to_loop;
}

void clerk_woken(struct clerk *clerk)
{
	lower_fd(clerk->to_loop);
}

struct delivery *clerk_next(struct clerk *clerk)
{
	pthread_mutex_lock(&clerk->lock);
	struct delivery *delivery = lanes_next(clerk->lanes);
	pthread_mutex_unlock(&clerk->lock);
	return delivery;
}

static enum lane_result result_of(const struct delivery *delivery)
{
	if (delivery->state == DELIVERY_UNUSED)
		return LANE_UNTRIED;
	if (delivery->ok)
		return LANE_OK;
	return delivery->gone || delivery->pause_ms > 0 ? LANE_PAUSED : LANE_FAILED;
}

void clerk_done(struct clerk *clerk, struct delivery *delivery)
{
	pthread_mutex_lock(&clerk->lock);
	/* It looks at all there is once it is awake: the first to lie there wakes it for the others. */
	bool first = !clerk->done.count && !clerk->unused.count;
	lanes_done(clerk->lanes, delivery, result_of(delivery), &clerk->unused);
	delivery_list_add(delivery->state == DELIVERY_UNUSED ? &clerk->unused : &clerk->done, delivery);
	pthread_mutex_unlock(&clerk->lock);
	if (first)
		raise_fd(clerk->to_clerk);
}

void clerk_stop(struct clerk *clerk)
{
	pthread_mutex_lock(&clerk->lock);
	clerk->stopping = true;
	lanes_clear(clerk->lanes, &clerk->unused);
	pthread_mutex_unlock(&clerk->lock);
	raise_fd(clerk->to_clerk);
}

size_t clerk_under_way(struct clerk *clerk)
{
	pthread_mutex_lock(&clerk->lock);
	size_t count = lanes_under_way(clerk->lanes);
	pthread_mutex_unlock(&clerk->lock);
	return count;
}

void clerk_free(struct clerk **clerk)
{
	struct clerk *c = *clerk;
	*clerk = NULL;
	if (!c)
		return;
	pthread_mutex_lock(&c->lock);
	c->ending = true;
	pthread_mutex_unlock(&c->lock);
	raise_fd(c->to_clerk);
	pthread_join(c->thread, NULL);
	outbox_free(&c->outbox);
	lanes_free(&c->lanes);
	delivery_list_free(&c->done);
	delivery_list_free(&c->unused);
	close(c->to_clerk);
	close(c->to_loop);
	pthread_mutex_destroy(&c->lock);
	free(c);
}
