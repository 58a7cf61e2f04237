#include <inttypes.h>
#include <stdlib.h>
#include <sysexits.h>
#include <time.h>

#include "common/log.h"

#include "bouncer/bad_mailboxes.h"
#include "bouncer/follow.h"
#include "bouncer/follow_stats.h"
#include "bouncer/pipeline.h"
#include "bouncer/refusals.h"
#include "bouncer/spools.h"
#include "bouncer/store.h"
#include "bouncer/tail.h"

/* A batch ends at the first of these. More rows make the database no faster, fewer make it slower. */
#define BATCH_EVENTS 1000
#define BATCH_LINES  8000
#define BATCH_BYTES  (4 << 20)
/* Lines that made no event wait for company; those that did do not. */
#define LINGER_MS 200
#define POLL_MS   1000
#define DAY_MS    (24 * 3600 * 1000LL)

#define BACKOFF_FIRST_MS 100
#define BACKOFF_MAX_MS   5000

struct follow {
	const struct follow_settings *settings;
	struct store *store;
	struct pipeline *pipeline;
	struct tail *tail;
	struct tail *spool; /* policyd's; NULL: none */
	struct refusals *refusals;
	struct spools *spools; /* NULL: none */
	struct bad_mailboxes *bad_mailboxes;
	int64_t log_time_us;
	size_t lines;     /* read since the last commit */
	int64_t since_ms; /* when the first of them was read */
	int64_t partitions_at_ms;
	bool away; /* Postgres is, and the log knows */
	bool no_file;
	uint64_t dead;
	struct pipeline_counts counted; /* told to Prometheus so far */
};

static int64_t clock_ms(clockid_t clock)
{
	struct timespec now;
	clock_gettime(clock, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void read_spool(struct follow *f)
{
	struct text line;
	while (f->spool && tail_next(f->spool, &line))
		refusals_add(f->refusals, line);
}

/* policyd leaves its line before Postfix has the answer to log, so what is missing is in the spool by now. */
static struct text login_of(struct follow *f, struct text reason)
{
	struct text id = refusals_id(reason);
	if (id.len && !refusals_login(f->refusals, id).len)
		read_spool(f);
	return refusals_login(f->refusals, id);
}

static void on_event(void *context, const struct event *told)
{
	struct follow *f = context;
	struct event event = *told;
	if (!event.login.len && (event.type == TYPE_REJECTED || event.type == TYPE_HELD))
		event.login = login_of(f, event.reason);
	f->log_time_us = event.time_us;
	store_event(f->store, &event);
	bad_mailboxes_note(f->bad_mailboxes, &event, clock_ms(CLOCK_REALTIME) * 1000);
}

static void on_unparsed(void *context, struct text line, const char *why)
{
	struct follow *f = context;
	store_unparsed(f->store, line, why);
}

/* Says once that Postgres is away, waits; true: stop. */
static bool back_off(struct follow *f, int *wait_ms, const char *error)
{
	if (!f->away)
		log_warning("no answer from postgres: mail flows on, the log is read on from the same place when it "
			    "answers: %s",
			    error);
	f->away = true;
	metrics_add(f->settings->metrics, FOLLOW_POSTGRES_AWAY, 0, 1);
	if (f->tail)
		metrics_set(f->settings->metrics, FOLLOW_BEHIND, 0, (int64_t)tail_behind(f->tail));
	bool stop = f->settings->pause(-1, *wait_ms);
	*wait_ms = *wait_ms * 2 > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : *wait_ms * 2;
	return stop;
}

static void is_back(struct follow *f)
{
	if (f->away)
		log_info("postgres answers again");
	f->away = false;
}

/* What the spools say of messages must stand there before their events do. 0, or an exit status, or -1 to stop. */
static int take_spools(struct follow *f)
{
	int wait_ms = BACKOFF_FIRST_MS;
	enum pg_status status = PG_OK;
	while (f->spools && (status = spools_take(f->spools)) == PG_RETRY)
		if (back_off(f, &wait_ms, spools_error(f->spools)))
			return -1;
	if (status == PG_FAILED) {
		log_error("postgres: %s", spools_error(f->spools));
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
	metrics_set(metrics, FOLLOW_BEHIND, 0, (int64_t)tail_behind(f->tail));
	metrics_set(metrics, FOLLOW_LOG_TIME, 0, f->log_time_us / 1000000);
}

/* Commits what was read: 0, or an exit status, or -1 to stop. */
static int commit(struct follow *f)
{
	struct tail_position position;
	int wait_ms = BACKOFF_FIRST_MS;
	enum pg_status status;
	int failed = take_spools(f);
	if (failed)
		return failed;
	tail_position(f->tail, &position);
	store_seal(f->store, pipeline_track(f->pipeline), &position, f->log_time_us, tail_behind(f->tail));
	while ((status = store_commit(f->store)) == PG_RETRY)
		if (back_off(f, &wait_ms, store_error(f->store)))
			return -1;
	if (status == PG_FAILED) {
		log_error("postgres: %s", store_error(f->store));
		return EX_TEMPFAIL;
	}
	is_back(f);
	bad_mailboxes_tell(f->bad_mailboxes, f->settings->metrics);
	count(f);
	if (store_dead(f->store) > f->dead)
		log_warning("postgres refused %" PRIu64 " events; they are kept in support.dead_letters",
			    store_dead(f->store) - f->dead);
	f->dead = store_dead(f->store);
	f->lines = 0;
	return 0;
}

static void report_loss(struct follow *f, const struct tail_loss *loss)
{
	struct buffer detail = {0};
	buffer_format(&detail, "{\"kind\":\"%s\",\"offset\":%" PRIu64 "}", loss->why, loss->offset);
	log_warning("%s: %s at offset %" PRIu64 ": lines may be lost; reading on from its start", f->settings->log,
		    loss->why, loss->offset);
	pipeline_gap(f->pipeline, text_of(f->settings->node), text_of(f->settings->log),
		     clock_ms(CLOCK_REALTIME) * 1000, buffer_view(&detail));
	buffer_free(&detail);
}

/* Reads lines until the batch is full or there are no more. */
static void read_lines(struct follow *f)
{
	struct text line;
	struct tail_loss loss;
	int64_t now_us = clock_ms(CLOCK_REALTIME) / POLL_MS * POLL_MS * 1000;
	while (f->lines < BATCH_LINES && store_events(f->store) < BATCH_EVENTS && store_bytes(f->store) < BATCH_BYTES &&
	       tail_next(f->tail, &line)) {
		if (!f->lines++)
			f->since_ms = clock_ms(CLOCK_MONOTONIC);
		pipeline_line(f->pipeline, line, now_us);
	}
	if (tail_take_loss(f->tail, &loss))
		report_loss(f, &loss);
}

static void report_trouble(struct follow *f)
{
	const char *trouble = tail_trouble(f->tail);
	if (trouble && !f->no_file)
		log_warning("%s: %s; waiting for it", f->settings->log, trouble);
	f->no_file = trouble;
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

static void take_rules(struct follow *f)
{
	struct rules *rules = f->settings->take_rules();
	if (rules)
		pipeline_rules(f->pipeline, rules);
}

/* One round: read, commit, wait. 0 to go on, -1 to stop, or an exit status. */
static int round_of(struct follow *f)
{
	int status = 0;
	take_rules(f);
	read_lines(f);
	bool full = f->lines >= BATCH_LINES;
	int64_t waited_ms = f->lines ? clock_ms(CLOCK_MONOTONIC) - f->since_ms : 0;
	if (store_events(f->store) || full || waited_ms >= LINGER_MS) {
		status = commit(f);
		return status ? status : f->settings->pause(-1, 0) ? -1 : 0;
	}
	report_trouble(f);
	read_spool(f);
	status = take_spools(f);
	if (status)
		return status;
	keep_partitions(f);
	bool stop = f->settings->pause(tail_fd(f->tail), f->lines ? (int)(LINGER_MS - waited_ms) : POLL_MS);
	tail_drain(f->tail);
	return stop ? -1 : 0;
}

/* Where to go on: waits for Postgres. False: stop. */
static bool start(struct follow *f)
{
	struct tail_position position;
	bool found;
	int wait_ms = BACKOFF_FIRST_MS;
	while (store_load(f->store, pipeline_track(f->pipeline), &found, &position) != PG_OK)
		if (back_off(f, &wait_ms, store_error(f->store)))
			return false;
	is_back(f);
	f->tail = tail_open(f->settings->log, found ? &position : NULL);
	keep_partitions(f);
	log_info("%s: %s, %zu messages open", f->settings->log, found ? "going on" : "from its start",
		 track_open(pipeline_track(f->pipeline)));
	return true;
}

/* The spool is read from its start: nothing but the last ids is remembered of it. The file before, too: a refusal may
 * stand there that the log tells after a restart. */
static void open_spool(struct follow *f)
{
	static const char *const names[] = {"policyd.jsonl.1", "policyd.jsonl"};
	for (size_t i = 0; i < 2 && f->settings->spool; i++) {
		struct buffer path = {0};
		buffer_format(&path, "%s/%s", f->settings->spool, names[i]);
		tail_close(&f->spool);
		f->spool = tail_open(buffer_string(&path), NULL);
		read_spool(f);
		buffer_free(&path);
	}
}

int follow_run(const struct follow_settings *settings)
{
	struct follow f = {.settings = settings};
	struct buffer source = {0};
	f.refusals = refusals_new();
	open_spool(&f);
	buffer_format(&source, "%s %s", settings->node, settings->log);
	f.store = store_new(settings->postgres, buffer_string(&source));
	if (settings->spool)
		f.spools = spools_new(settings->postgres, settings->node, settings->spool);
	f.bad_mailboxes = bad_mailboxes_new(settings->postgres, settings->redis);
	f.pipeline = pipeline_new(&(struct pipeline_sink){on_event, on_unparsed, &f}, pipeline_local_zone_s);
	buffer_free(&source);
	settings->ready();
	int status = start(&f) ? 0 : -1;
	while (status == 0)
		status = round_of(&f);
	if (status == -1 && f.tail && f.lines && !f.away)
		commit(&f);
	tail_close(&f.tail);
	tail_close(&f.spool);
	refusals_free(&f.refusals);
	spools_free(&f.spools);
	bad_mailboxes_free(&f.bad_mailboxes);
	pipeline_free(&f.pipeline);
	store_free(&f.store);
	return status < 0 ? 0 : status;
}
