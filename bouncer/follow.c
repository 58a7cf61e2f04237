#include <inttypes.h>
#include <stdlib.h>
#include <sysexits.h>
#include <time.h>

#include "common/log.h"
#include "common/rules.h"

#include "bouncer/bad_mailboxes.h"
#include "bouncer/follow.h"
#include "bouncer/follow_stats.h"
#include "bouncer/pipeline.h"
#include "bouncer/refusals.h"
#include "bouncer/source.h"
#include "bouncer/spools.h"
#include "bouncer/store.h"

/* A batch ends at the first of these. Fewer rows make the database slower; more make it little faster, and cost memory. */
#define BATCH_EVENTS 2000
#define BATCH_LINES  16000
#define BATCH_BYTES  (4 << 20)
/* Lines that made no event wait for company; those that did do not. */
#define LINGER_MS 200
#define POLL_MS   1000
#define DAY_MS    (24 * 3600 * 1000LL)

#define BACKOFF_FIRST_MS 100
#define BACKOFF_MAX_MS   5000

/* What the sources have in common. */
struct shared {
	const struct follow_settings *settings;
	struct tail *spool; /* policyd's; NULL: none */
	struct refusals *refusals;
	struct spools *spools; /* NULL: none */
	struct rules *rules;   /* NULL: the pipelines' own */
	bool away;             /* Postgres is, and the log knows */
};

/* One source, with a tracker, a connection and a place of its own. */
struct follow {
	struct shared *shared;
	const struct follow_settings *settings;
	const char *log;
	struct store *store;
	struct pipeline *pipeline;
	struct source *source;
	struct bad_mailboxes *bad_mailboxes; /* of the events that are not stored yet */
	int64_t log_time_us;
	bool committing;  /* a batch is closed and on its way; the next one fills */
	size_t lines;     /* in the batch that fills */
	int64_t since_ms; /* when the first of them was read */
	int64_t partitions_at_ms;
	bool waiting; /* for its log, and ours knows */
	uint64_t dead, cut;
	uint64_t behind;                /* bytes, by the last count */
	struct pipeline_counts counted; /* told to Prometheus so far */
};

static int64_t clock_ms(clockid_t clock)
{
	struct timespec now;
	clock_gettime(clock, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void read_spool(struct shared *shared)
{
	struct text line;
	while (shared->spool && tail_next(shared->spool, &line))
		refusals_add(shared->refusals, line);
}

/* policyd leaves its line before Postfix has the answer to log, so what is missing is in the spool by now. */
static struct text login_of(struct shared *shared, struct text reason)
{
	struct text id = refusals_id(reason);
	if (id.len && !refusals_login(shared->refusals, id).len)
		read_spool(shared);
	return refusals_login(shared->refusals, id);
}

static void on_event(void *context, const struct event *told)
{
	struct follow *f = context;
	struct event event = *told;
	if (!event.login.len && (event.type == TYPE_REJECTED || event.type == TYPE_HELD))
		event.login = login_of(f->shared, event.reason);
	f->log_time_us = event.time_us;
	store_event(f->store, &event);
	bad_mailboxes_note(f->bad_mailboxes, &event, clock_ms(CLOCK_REALTIME) * 1000);
}

static void on_unparsed(void *context, struct text line, const char *why)
{
	struct follow *f = context;
	store_unparsed(f->store, line, why);
}

/* The gauges are sums over the sources: each adds by how much its own part changed. */
static void count_behind(struct follow *f)
{
	uint64_t behind = source_behind(f->source);
	metrics_add(f->settings->metrics, FOLLOW_BEHIND, 0, (int64_t)behind - (int64_t)f->behind);
	f->behind = behind;
}

/* Says once that Postgres is away, waits; true: stop. */
static bool back_off(struct follow *f, int *wait_ms, const char *error)
{
	if (!f->shared->away)
		log_warning("no answer from postgres: mail flows on, the log is read on from the same place when it "
			    "answers: %s",
			    error);
	f->shared->away = true;
	metrics_add(f->settings->metrics, FOLLOW_POSTGRES_AWAY, 0, 1);
	if (f->source)
		count_behind(f);
	bool stop = f->settings->pause(NULL, 0, *wait_ms);
	*wait_ms = *wait_ms * 2 > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : *wait_ms * 2;
	return stop;
}

static void is_back(struct follow *f)
{
	if (f->shared->away)
		log_info("postgres answers again");
	f->shared->away = false;
}

/* What the spools say of messages must stand there before their events do. 0, or an exit status, or -1 to stop. */
static int take_spools(struct follow *f)
{
	int wait_ms = BACKOFF_FIRST_MS;
	enum pg_status status = PG_OK;
	struct spools *spools = f->shared->spools;
	while (spools && (status = spools_take(spools)) == PG_RETRY)
		if (back_off(f, &wait_ms, spools_error(spools)))
			return -1;
	if (status == PG_FAILED) {
		log_error("postgres: %s", spools_error(spools));
		return EX_TEMPFAIL;
	}
	is_back(f);
	return 0;
}

static void count(struct follow *f)
{
	struct metrics *metrics = f->settings->metrics;
	struct pipeline_counts now = pipeline_counts(f->pipeline);
	follow_stats_count(metrics, &f->counted, &now);
	f->counted = now;
	metrics_add(metrics, FOLLOW_BATCHES, 0, 1);
	metrics_add(metrics, FOLLOW_DEAD_LETTERS, 0, (int64_t)(store_dead(f->store) - f->dead));
	uint64_t cut = source_cut(f->source);
	metrics_add(metrics, FOLLOW_CUT, 0, (int64_t)(cut - f->cut));
	f->cut = cut;
	count_behind(f);
	metrics_set(metrics, FOLLOW_LOG_TIME, 0, f->log_time_us / 1000000);
}

/* Waits until the batch that is on its way stands in Postgres: 0, or an exit status, or -1 to stop. */
static int finish(struct follow *f)
{
	int wait_ms = BACKOFF_FIRST_MS;
	enum pg_status status;
	if (!f->committing)
		return 0;
	while ((status = store_commit(f->store)) == PG_RETRY)
		if (back_off(f, &wait_ms, store_error(f->store)))
			return -1;
	if (status == PG_FAILED) {
		log_error("postgres: %s", store_error(f->store));
		return EX_TEMPFAIL;
	}
	f->committing = false;
	is_back(f);
	bad_mailboxes_tell(f->bad_mailboxes, f->settings->metrics);
	count(f);
	if (store_dead(f->store) > f->dead)
		log_warning("postgres refused %" PRIu64 " events; they are kept in support.dead_letters",
			    store_dead(f->store) - f->dead);
	f->dead = store_dead(f->store);
	return 0;
}

/* Sends what was read on its way, behind what was sent before: 0, or an exit status, or -1 to stop. */
static int commit(struct follow *f)
{
	struct place place;
	int failed = finish(f);
	if (!failed)
		failed = take_spools(f);
	if (failed)
		return failed;
	source_place(f->source, &place);
	store_seal(f->store, pipeline_track(f->pipeline), &place, f->log_time_us, source_behind(f->source));
	bad_mailboxes_seal(f->bad_mailboxes);
	store_send(f->store);
	f->committing = true;
	f->lines = 0;
	return 0;
}

static void report_loss(struct follow *f, const struct tail_loss *loss)
{
	struct buffer detail = {0};
	buffer_format(&detail, "{\"kind\":\"%s\",\"offset\":%" PRIu64 "}", loss->why, loss->offset);
	log_warning("%s: %s at offset %" PRIu64 ": lines may be lost; reading on behind them", f->log, loss->why,
		    loss->offset);
	pipeline_gap(f->pipeline, text_of(f->settings->node), text_of(f->log), clock_ms(CLOCK_REALTIME) * 1000,
		     buffer_view(&detail));
	buffer_free(&detail);
}

/* Reads lines until the batch is full or there are no more. */
static void read_lines(struct follow *f)
{
	struct text line;
	struct tail_loss loss;
	int64_t now_us = clock_ms(CLOCK_REALTIME) / POLL_MS * POLL_MS * 1000;
	while (f->lines < BATCH_LINES && store_events(f->store) < BATCH_EVENTS && store_bytes(f->store) < BATCH_BYTES &&
	       source_next(f->source, &line)) {
		if (!f->lines++)
			f->since_ms = clock_ms(CLOCK_MONOTONIC);
		pipeline_line(f->pipeline, line, now_us);
	}
	if (source_take_loss(f->source, &loss))
		report_loss(f, &loss);
}

static void report_trouble(struct follow *f)
{
	const char *trouble = source_trouble(f->source);
	if (trouble && !f->waiting)
		log_warning("%s: %s; waiting for it", f->log, trouble);
	f->waiting = trouble;
}

/* Makes partitions once a day. */
static void keep_partitions(struct follow *f)
{
	int64_t now_ms = clock_ms(CLOCK_MONOTONIC);
	if (now_ms < f->partitions_at_ms)
		return;
	/* When it fails, the default partition takes the events, and the next hour tries again. */
	bool ok = store_partitions(f->store) == PG_OK;
	f->partitions_at_ms = now_ms + (ok ? DAY_MS / 2 : DAY_MS / 24);
}

/* One step: reads, and commits when there is something to commit. 0 to go on, after at most *WAIT_MS, -1 to stop, or an
 * exit status. */
static int step(struct follow *f, int *wait_ms)
{
	read_lines(f);
	int64_t waited_ms = f->lines ? clock_ms(CLOCK_MONOTONIC) - f->since_ms : 0;
	*wait_ms = 0;
	if (store_events(f->store) || f->lines >= BATCH_LINES || waited_ms >= LINGER_MS)
		return commit(f);
	int failed = finish(f);
	if (failed)
		return failed;
	report_trouble(f);
	keep_partitions(f);
	*wait_ms = f->lines ? (int)(LINGER_MS - waited_ms) : POLL_MS;
	return 0;
}

static void take_rules(struct follow *sources)
{
	struct rules *rules = sources->settings->take_rules();
	if (!rules)
		return;
	for (struct follow *f = sources; f->log; f++)
		pipeline_rules(f->pipeline, rules);
	rules_free(&sources->shared->rules);
	sources->shared->rules = rules;
}

/* Waits until a source may have lines. True: stop. */
static bool pause_all(struct follow *sources, int wait_ms)
{
	int fds[FOLLOW_SOURCES_MAX];
	size_t count = 0;
	for (struct follow *f = sources; f->log; f++)
		fds[count++] = source_fd(f->source);
	bool stop = sources->settings->pause(fds, count, wait_ms);
	for (struct follow *f = sources; f->log && wait_ms; f++)
		source_drain(f->source);
	return stop;
}

/* One round over the sources. 0 to go on, -1 to stop, or an exit status. */
static int round_of(struct follow *sources)
{
	int status = 0, wait_ms = POLL_MS;
	take_rules(sources);
	for (struct follow *f = sources; f->log && !status; f++) {
		int own_ms;
		status = step(f, &own_ms);
		wait_ms = own_ms < wait_ms ? own_ms : wait_ms;
	}
	if (!status && wait_ms) {
		read_spool(sources->shared);
		status = take_spools(sources);
	}
	return status ? status : pause_all(sources, wait_ms) ? -1 : 0;
}

/* Where to go on: waits for Postgres. 0, or -1 to stop. */
static int start(struct follow *f)
{
	struct place place;
	bool found;
	int wait_ms = BACKOFF_FIRST_MS;
	while (store_load(f->store, pipeline_track(f->pipeline), &found, &place) != PG_OK)
		if (back_off(f, &wait_ms, store_error(f->store)))
			return -1;
	is_back(f);
	f->source = source_open(f->log, f->settings->journal_unit, found ? &place : NULL);
	keep_partitions(f);
	log_info("%s: %s, %zu messages open", f->log, found ? "going on" : "from its start",
		 track_open(pipeline_track(f->pipeline)));
	return 0;
}

/* The spool is read from its start: nothing but the last ids is remembered of it. The file before, too: a refusal may
 * stand there that the log tells after a restart. */
static void open_spool(struct shared *shared)
{
	static const char *const names[] = {"policyd.jsonl.1", "policyd.jsonl"};
	for (size_t i = 0; i < 2 && shared->settings->spool; i++) {
		struct buffer path = {0};
		buffer_format(&path, "%s/%s", shared->settings->spool, names[i]);
		tail_close(&shared->spool);
		shared->spool = tail_open(buffer_string(&path), NULL);
		read_spool(shared);
		buffer_free(&path);
	}
}

static void open_one(struct follow *f, struct shared *shared, const char *log)
{
	struct buffer name = {0};
	*f = (struct follow){.shared = shared, .settings = shared->settings, .log = log};
	buffer_format(&name, "%s %s", shared->settings->node, log);
	f->store = store_new(shared->settings->postgres, buffer_string(&name));
	f->bad_mailboxes = bad_mailboxes_new(shared->settings->postgres, shared->settings->redis);
	f->pipeline = pipeline_new(&(struct pipeline_sink){on_event, on_unparsed, f}, pipeline_local_zone_s);
	buffer_free(&name);
}

static void close_one(struct follow *f)
{
	source_close(&f->source);
	bad_mailboxes_free(&f->bad_mailboxes);
	pipeline_free(&f->pipeline);
	store_free(&f->store);
}

int follow_run(const struct follow_settings *settings)
{
	struct shared shared = {.settings = settings, .refusals = refusals_new()};
	struct follow sources[FOLLOW_SOURCES_MAX + 1] = {0};
	int status = 0;
	open_spool(&shared);
	if (settings->spool)
		shared.spools = spools_new(settings->postgres, settings->node, settings->spool);
	for (size_t i = 0; i < settings->log_count; i++)
		open_one(&sources[i], &shared, settings->logs[i]);
	settings->ready();
	for (struct follow *f = sources; f->log && !status; f++)
		status = start(f);
	while (status == 0)
		status = round_of(sources);
	for (struct follow *f = sources; f->log; f++) {
		if (status == -1 && f->source && !shared.away && (!f->lines || commit(f) == 0))
			finish(f);
		close_one(f);
	}
	tail_close(&shared.spool);
	refusals_free(&shared.refusals);
	spools_free(&shared.spools);
	rules_free(&shared.rules);
	return status < 0 ? 0 : status;
}
