#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/counters_sync.h"
#include "common/memory.h"
#include "common/pg.h"

#include "bouncer/array.h"
#include "bouncer/bad_mailboxes.h"
#include "bouncer/follow_stats.h"

#define RECENT_US INT64_C(7200000000) /* the two hours that the guard looks at */

struct noted {
	struct buffer logins, accepted; /* of each bounce: arrays for Postgres, the time in seconds since 1970 */
	int64_t count;
};

struct bad_mailboxes {
	struct pg *pg;
	struct counters *counters;
	struct noted open, sealed;
};

struct bad_mailboxes *bad_mailboxes_new(const char *conninfo, const struct counters_options *redis)
{
	struct bad_mailboxes *bad = memory_zero(1, sizeof *bad);
	bad->pg = pg_new(conninfo, "waybill-bouncer bad mailboxes");
	bad->counters = counters_new(redis);
	return bad;
}

static void noted_free(struct noted *noted)
{
	buffer_free(&noted->logins);
	buffer_free(&noted->accepted);
}

void bad_mailboxes_free(struct bad_mailboxes **bad)
{
	if (!*bad)
		return;
	pg_free(&(*bad)->pg);
	counters_free(&(*bad)->counters);
	noted_free(&(*bad)->open);
	noted_free(&(*bad)->sealed);
	free(*bad);
	*bad = NULL;
}

void bad_mailboxes_note(struct bad_mailboxes *bad, const struct event *event, int64_t now_us)
{
	char accepted[24];
	if (event->type != TYPE_BOUNCED || event->verdict.category != CATEGORY_BAD_MAILBOX || !event->login.len ||
	    event->time_us < now_us - RECENT_US)
		return;
	snprintf(accepted, sizeof accepted, "%" PRId64, event->session_start_us / 1000000);
	struct noted *noted = &bad->open;
	if (!noted->count++) {
		buffer_char(&noted->logins, '{');
		buffer_char(&noted->accepted, '{');
	}
	array_add(&noted->logins, event->login);
	array_add(&noted->accepted, text_of(accepted));
}

void bad_mailboxes_seal(struct bad_mailboxes *bad)
{
	struct noted empty = bad->sealed;
	bad->sealed = bad->open;
	bad->open = empty;
	if (!bad->sealed.count)
		return;
	buffer_char(&bad->sealed.logins, '}');
	buffer_char(&bad->sealed.accepted, '}');
}

static int64_t tell(struct bad_mailboxes *bad)
{
	static const char query[] =
		"SELECT l.customer, l.login, count(*) FROM unnest($1::text[], $2::bigint[]) AS b (login, accepted) "
		"JOIN waybill.logins AS l ON l.login = lower(b.login COLLATE \"C\") COLLATE \"default\" AND "
		"b.accepted >= coalesce(extract(epoch FROM l.guard_since)::bigint, 0) GROUP BY l.customer, l.login";
	const char *const params[] = {buffer_string(&bad->sealed.logins), buffer_string(&bad->sealed.accepted)};
	struct pg_result *rows;
	int64_t told = 0;
	if (pg_query(bad->pg, query, params, 2, &rows) != PG_OK)
		return 0;
	for (size_t i = 0; i < pg_rows(rows); i++)
		if (counters_bounces(bad->counters, pg_field(rows, i, 0), pg_field(rows, i, 1), pg_int(rows, i, 2)) ==
		    0)
			told += pg_int(rows, i, 2);
	pg_result_free(&rows);
	return told;
}

void bad_mailboxes_tell(struct bad_mailboxes *bad, struct metrics *metrics)
{
	struct noted *noted = &bad->sealed;
	if (!noted->count)
		return;
	int64_t told = tell(bad);
	metrics_add(metrics, FOLLOW_BAD_MAILBOXES, BAD_MAILBOXES_TOLD, told);
	metrics_add(metrics, FOLLOW_BAD_MAILBOXES, BAD_MAILBOXES_UNTOLD, noted->count - told);
	noted->logins.len = noted->accepted.len = 0;
	noted->count = 0;
}
