/* A batch is kept until it is committed, because it may have to be sent again, or cut in two to find the row that Postgres does
 * not take. Sent, it is one call of waybill.record_batch. While Postgres works on it, the next one fills. */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/memory.h"

#include "bouncer/array.h"
#include "bouncer/event_ascii.h"
#include "bouncer/format.h"
#include "bouncer/store.h"
#include "bouncer/told_event.h"
#include "bouncer/unparsed.h"

#define PARTITION_DAYS 5  /* yesterday, today and three to come */
#define MAX_UNPARSED   64 /* shapes of lines that are not understood, in one batch */
#define DEADLOCKS      5  /* lost at once, before the caller waits */

enum {
	PARAM_SOURCE,
	PARAM_BATCH,
	PARAM_POSITION,
	PARAM_LOG_TIME,
	PARAM_BEHIND,
	PARAM_GONE_HOST,
	PARAM_GONE_INSTANCE,
	PARAM_GONE_QUEUE_ID,
	PARAM_OPEN_HOST,
	PARAM_OPEN_INSTANCE,
	PARAM_OPEN_QUEUE_ID,
	PARAM_OPEN_STATE,
	PARAM_UNPARSED_TEMPLATE,
	PARAM_UNPARSED_WHY,
	PARAM_UNPARSED_SAMPLE,
	PARAM_UNPARSED_LINES,
	PARAMS /* and the events, binary */
};

static const char record_sql[] =
	"SELECT waybill.record_batch($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13,$14,$15,$16,$17)";

struct unparsed {
	char *template, *sample;
	const char *why;
	uint64_t lines;
};

struct batch {
	struct buffer events; /* elements of waybill.told_event[] */
	size_t *event_at;     /* where each begins, and the end */
	size_t count, cap;
	size_t settled; /* the first so many are stored or buried, one range by one */
	struct unparsed unparsed[MAX_UNPARSED];
	size_t unparsed_count;
};

struct store {
	struct pg *pg;
	char *source;
	int64_t last;                /* the batch committed last */
	struct batch open, sealed;   /* the one that fills, and the one that goes to Postgres */
	struct buffer param[PARAMS]; /* of the sealed one */
	bool sent;
	uint32_t told_type; /* waybill.told_event's oid, learnt on connection … */
	uint64_t told_type_of;
	uint64_t dead;
};

/* That suppression was frozen, for one. */
static void warn(const char *words)
{
	log_warning("%s", words);
}

struct store *store_new(const char *conninfo, const char *source)
{
	struct store *s = memory_zero(1, sizeof *s);
	s->pg = pg_new(conninfo, "waybill-bouncer");
	pg_on_warning(s->pg, warn);
	s->source = text_copy(text_of(source));
	return s;
}

static void clear(struct batch *b)
{
	for (size_t i = 0; i < b->unparsed_count; i++) {
		free(b->unparsed[i].template);
		free(b->unparsed[i].sample);
	}
	b->events.len = b->count = b->settled = b->unparsed_count = 0;
}

static void batch_free(struct batch *b)
{
	clear(b);
	buffer_free(&b->events);
	free(b->event_at);
}

void store_free(struct store **store)
{
	struct store *s = *store;
	if (!s)
		return;
	if (s->sent)
		pg_wait(s->pg, NULL); /* whoever goes on from here shall find its place */
	batch_free(&s->open);
	batch_free(&s->sealed);
	for (size_t i = 0; i < PARAMS; i++)
		buffer_free(&s->param[i]);
	pg_free(&s->pg);
	free(s->source);
	free(s);
	*store = NULL;
}

const char *store_error(const struct store *s)
{
	return pg_error(s->pg);
}

uint64_t store_dead(const struct store *s)
{
	return s->dead;
}

size_t store_events(const struct store *s)
{
	return s->open.count;
}

size_t store_bytes(const struct store *s)
{
	return s->open.events.len;
}

static enum pg_status load_open(struct store *s, struct track *track)
{
	struct pg_result *r;
	const char *const params[] = {s->source};
	enum pg_status status =
		pg_query(s->pg, "SELECT host, instance, queue_id, state FROM waybill.open_messages WHERE source = $1",
			 params, 1, &r);
	if (status != PG_OK)
		return status;
	struct buffer state = {0};
	const char *last = NULL;
	size_t forgotten = 0;
	for (size_t i = 0; i < pg_rows(r); i++) {
		state.len = 0;
		const char *why = pg_bytea(pg_field(r, i, 3), &state);
		if (!why)
			why = track_restore(track, pg_field(r, i, 0), pg_field(r, i, 1), pg_field(r, i, 2),
					    buffer_view(&state));
		forgotten += why != NULL;
		last = why ? why : last;
	}
	if (forgotten)
		log_warning(
			"%s: %zu of %zu open messages are not known any more (%s): their next events are partial, and "
			"of no customer; mail is not touched",
			s->source, forgotten, pg_rows(r), last);
	buffer_free(&state);
	pg_result_free(&r);
	return PG_OK;
}

enum pg_status store_load(struct store *s, struct track *track, bool *found, struct place *place)
{
	struct pg_result *r;
	const char *const params[] = {s->source};
	*found = false;
	enum pg_status status = pg_query(s->pg, place_query, params, 1, &r);
	if (status != PG_OK)
		return status;
	if (pg_rows(r)) {
		s->last = pg_int(r, 0, 0);
		*found = place_read(r, place);
	}
	pg_result_free(&r);
	return *found ? load_open(s, track) : PG_OK;
}

enum pg_status store_partitions(struct store *s)
{
	char days[12];
	snprintf(days, sizeof days, "%d", PARTITION_DAYS);
	const char *const params[] = {days};
	return pg_query(s->pg, "SELECT waybill.ensure_partitions((now() AT TIME ZONE 'UTC')::date - 1, $1)", params, 1,
			NULL);
}

void store_event(struct store *s, const struct event *event)
{
	struct batch *b = &s->open;
	struct event_texts texts;
	struct event_row row;
	event_row_ascii(event, &texts, &row);
	if (b->count + 2 > b->cap) {
		b->cap = b->cap ? b->cap * 2 : 256;
		b->event_at = memory_resize(b->event_at, b->cap, sizeof *b->event_at);
	}
	b->event_at[b->count++] = b->events.len;
	told_event_add(&row, event->time_us, &b->events);
	b->event_at[b->count] = b->events.len;
}

void store_unparsed(struct store *s, struct text line, const char *why)
{
	struct batch *b = &s->open;
	struct buffer shape = {0};
	unparsed_template(line, &shape);
	struct text template = buffer_view(&shape);
	size_t i = 0;
	while (i < b->unparsed_count && !text_equal(text_of(b->unparsed[i].template), template))
		i++;
	if (i < MAX_UNPARSED) {
		struct unparsed *u = &b->unparsed[i];
		if (i == b->unparsed_count) {
			*u = (struct unparsed){text_copy(template), text_copy(line), why, 0};
			b->unparsed_count++;
		}
		u->lines++;
	}
	buffer_free(&shape);
}

/* Opens or closes the arrays from FIRST up to END. */
static void brackets(struct store *s, size_t first, size_t end, char bracket)
{
	for (size_t i = first; i < end; i++)
		buffer_char(&s->param[i], bracket);
}

static void seal_changes(struct store *s, struct track *track)
{
	struct track_change change;
	brackets(s, PARAM_GONE_HOST, PARAM_OPEN_STATE + 1, '{');
	while (track_change_next(track, &change)) {
		size_t first = change.gone ? PARAM_GONE_HOST : PARAM_OPEN_HOST;
		array_add(&s->param[first], change.host);
		array_add(&s->param[first + 1], change.instance);
		array_add(&s->param[first + 2], change.queue_id);
		if (!change.gone)
			array_add_bytea(&s->param[PARAM_OPEN_STATE], change.state);
	}
	brackets(s, PARAM_GONE_HOST, PARAM_OPEN_STATE + 1, '}');
}

static void seal_unparsed(struct store *s)
{
	brackets(s, PARAM_UNPARSED_TEMPLATE, PARAM_UNPARSED_LINES + 1, '{');
	for (size_t i = 0; i < s->sealed.unparsed_count; i++) {
		const struct unparsed *u = &s->sealed.unparsed[i];
		char lines[24];
		snprintf(lines, sizeof lines, "%" PRIu64, u->lines);
		array_add(&s->param[PARAM_UNPARSED_TEMPLATE], text_of(u->template));
		array_add(&s->param[PARAM_UNPARSED_WHY], text_of(u->why));
		array_add(&s->param[PARAM_UNPARSED_SAMPLE], text_of(u->sample));
		array_add(&s->param[PARAM_UNPARSED_LINES], text_of(lines));
	}
	brackets(s, PARAM_UNPARSED_TEMPLATE, PARAM_UNPARSED_LINES + 1, '}');
}

void store_seal(struct store *s, struct track *track, const struct place *place, int64_t log_time_us, uint64_t behind)
{
	struct batch empty = s->sealed;
	s->sealed = s->open;
	s->open = empty;
	for (size_t i = 0; i < PARAMS; i++)
		s->param[i].len = 0;
	buffer_text(&s->param[PARAM_SOURCE], text_of(s->source));
	buffer_format(&s->param[PARAM_BATCH], "%" PRId64, s->last + 1);
	place_print(place, &s->param[PARAM_POSITION]);
	char time[40];
	event_time(log_time_us, time);
	if (log_time_us)
		buffer_text(&s->param[PARAM_LOG_TIME], text_of(time));
	buffer_format(&s->param[PARAM_BEHIND], "%" PRIu64, behind);
	seal_changes(s, track);
	seal_unparsed(s);
}

/* Once for each connection: the database may have been restored, and the type be another. */
static enum pg_status learn_type(struct store *s)
{
	struct pg_result *r;
	if (s->told_type && s->told_type_of == pg_connections(s->pg))
		return PG_OK;
	enum pg_status status = pg_query(s->pg, "SELECT 'waybill.told_event'::regtype::oid::bigint", NULL, 0, &r);
	if (status != PG_OK)
		return status;
	s->told_type = (uint32_t)pg_int(r, 0, 0);
	s->told_type_of = pg_connections(s->pg);
	pg_result_free(&r);
	return PG_OK;
}

/* Sends events FIRST up to END; with the rest of the batch or without it: what is refused then is an event's fault. */
static enum pg_status dispatch(struct store *s, size_t first, size_t end, bool whole)
{
	const char *params[PARAMS];
	const struct batch *b = &s->sealed;
	struct buffer told = {0};
	enum pg_status status = learn_type(s);
	if (status != PG_OK)
		return status;
	struct text events = {0};
	if (end > first)
		events = text_at(b->events.ptr + b->event_at[first], b->event_at[end] - b->event_at[first]);
	told_event_array(s->told_type, events, end - first, &told);
	for (size_t i = 0; i < PARAMS; i++)
		params[i] = i < PARAM_BATCH || whole ? buffer_string(&s->param[i]) : NULL;
	if (!s->param[PARAM_LOG_TIME].len)
		params[PARAM_LOG_TIME] = NULL;
	status = pg_send_again(s->pg, record_sql, params, PARAMS, buffer_view(&told));
	buffer_free(&told);
	return status;
}

static enum pg_status call(struct store *s, size_t first, size_t end, bool whole)
{
	enum pg_status status = dispatch(s, first, end, whole);
	return status == PG_OK ? pg_wait(s->pg, NULL) : status;
}

/* PostgreSQL manual, appendix A: what speaks about the data, not about the database or ourselves. */
static bool data_is_refused(const struct store *s)
{
	const char *state = pg_sqlstate(s->pg);
	return strncmp(state, "22", 2) == 0 || strncmp(state, "23", 2) == 0 || strncmp(state, "54", 2) == 0;
}

/* Puts event ROW aside, with what was said about it. */
static enum pg_status bury(struct store *s, size_t row)
{
	char time[40];
	struct event_row fields;
	struct buffer json = {0};
	told_event_read(s->sealed.events.ptr + s->sealed.event_at[row], time, &fields);
	format_body(FORMAT_WAYBILL, &fields, &json);
	char *error = text_copy(text_of(pg_error(s->pg)));
	const char *const params[] = {s->source, error, buffer_string(&json)};
	enum pg_status status = pg_query(
		s->pg, "INSERT INTO waybill.dead_letters (source, error, event) VALUES ($1, $2, $3)", params, 3, NULL);
	s->dead += status == PG_OK;
	free(error);
	buffer_free(&json);
	return status;
}

/* Halves a refused range until the row is found that Postgres does not take. What it takes is stored. */
static enum pg_status bisect(struct store *s, size_t first, size_t end)
{
	enum pg_status status = call(s, first, end, false);
	if (status == PG_FAILED && data_is_refused(s) && end - first > 1) {
		size_t middle = first + (end - first) / 2;
		status = bisect(s, first, middle);
		return status == PG_OK ? bisect(s, middle, end) : status;
	}
	if (status == PG_FAILED && data_is_refused(s))
		status = bury(s, first);
	if (status == PG_OK)
		s->sealed.settled = end;
	return status;
}

/* Closes the batch behind its events. What Postgres refuses of the rest is left out, the least part first: the place in the
 * log must move on. */
static enum pg_status call_rest(struct store *s)
{
	static const struct {
		size_t first, end;
		const char *empty, *lost;
	} parts[] = {
		{PARAM_LOG_TIME, PARAM_LOG_TIME + 1, "", "the time of the log"},
		{PARAM_UNPARSED_TEMPLATE, PARAM_UNPARSED_LINES + 1, "{}", "lines that were not understood"},
		{PARAM_GONE_HOST, PARAM_OPEN_STATE + 1, "{}", "open messages, which a restart forgets"},
	};
	enum pg_status status = call(s, 0, 0, true);
	for (size_t i = 0; i < sizeof parts / sizeof *parts && status == PG_FAILED && data_is_refused(s); i++) {
		log_warning("postgres refused a batch; left out: %s: %s", parts[i].lost, pg_error(s->pg));
		for (size_t k = parts[i].first; k < parts[i].end; k++) {
			s->param[k].len = 0;
			buffer_text(&s->param[k], text_of(parts[i].empty));
		}
		status = call(s, 0, 0, true);
	}
	return status;
}

void store_send(struct store *s)
{
	s->sent = dispatch(s, 0, s->sealed.count, true) == PG_OK;
}

/* The rows that are left, one range by one, and the rest of the batch behind them. */
static enum pg_status settle(struct store *s)
{
	enum pg_status status = PG_OK;
	if (s->sealed.settled < s->sealed.count)
		status = bisect(s, s->sealed.settled, s->sealed.count);
	return status == PG_OK ? call_rest(s) : status;
}

/* Another bouncer had the same rows in another order, and went on: PostgreSQL manual, section 13.3.4. */
static bool lost_a_deadlock(const struct store *s, enum pg_status status)
{
	return status == PG_RETRY && strncmp(pg_sqlstate(s->pg), "40", 2) == 0;
}

static enum pg_status commit(struct store *s)
{
	if (s->sealed.settled)
		return settle(s);
	enum pg_status status = s->sent ? pg_wait(s->pg, NULL) : call(s, 0, s->sealed.count, true);
	s->sent = false;
	for (int again = 0; again < DEADLOCKS && lost_a_deadlock(s, status); again++)
		status = call(s, 0, s->sealed.count, true);
	return status == PG_FAILED && data_is_refused(s) ? settle(s) : status;
}

enum pg_status store_commit(struct store *s)
{
	enum pg_status status = commit(s);
	if (status == PG_OK) {
		s->last++;
		clear(&s->sealed);
	} else if (status == PG_FAILED && strcmp(pg_sqlstate(s->pg), "WB001") != 0) {
		/* No rights, no such function: the sysadmin's to mend, and nothing may be lost meanwhile. What this connection
		 * knows of the schema may be what is wrong. */
		pg_disconnect(s->pg);
		s->told_type = 0;
		status = PG_RETRY;
	}
	return status;
}
