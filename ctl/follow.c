#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/directory.h"
#include "common/memory.h"
#include "ctl/csv.h"
#include "ctl/follow.h"
#include "ctl/follow_read.h"

struct position {
	char *source, *snapshot; /* of the file; NULL: unknown */
	int64_t seq, built_at, changed_at;
};

struct follow {
	struct pg *pg;
	struct directory_writer *writer;
	char *path, *node;
	struct position position;
	int64_t synced_at; /* the last time that Postgres was asked and nothing was missing, seconds since 1970 */
	struct follow_report report;
	struct buffer why;
};

/* What names the database whose snapshots are comparable with one another. */
#define SOURCE                                                                                                        \
	"(SELECT system_identifier FROM pg_control_system()) || '-' || CASE WHEN pg_is_in_recovery() THEN 'standby' " \
	"ELSE left(pg_walfile_name(pg_current_wal_lsn()), 8) END || '-' || 'waybill.changes'::regclass::oid"
#define UNSEEN "c.xid >= pg_snapshot_xmin($1::pg_snapshot) AND NOT pg_visible_in_snapshot(c.xid, $1::pg_snapshot)"

static void keep(char **place, const char *value)
{
	free(*place);
	*place = value ? text_copy(text_of(value)) : NULL;
}

/* Goes on where the file says it is. */
static void read_position(struct follow *follow)
{
	struct directory *reader = directory_new(follow->path);
	struct directory_view view;
	struct directory_state state;
	keep(&follow->position.source, NULL);
	keep(&follow->position.snapshot, NULL);
	if (directory_begin(reader, &view) == DIRECTORY_FOUND) {
		if (directory_find_state(&view, &state) == DIRECTORY_FOUND) {
			follow->position.source = text_copy(state.source);
			follow->position.snapshot = text_copy(state.snapshot);
			follow->position.seq = state.seq;
			follow->position.built_at = state.built_at;
			follow->position.changed_at = follow->synced_at = state.changed_at;
		}
		directory_end(&view);
	}
	directory_free(&reader);
}

struct follow *follow_new(struct pg *pg, struct directory_writer *writer, const char *path, const char *node)
{
	struct follow *follow = memory_zero(1, sizeof(*follow));
	follow->pg = pg;
	follow->writer = writer;
	follow->path = text_copy(text_of(path));
	follow->node = text_copy(text_of(node));
	if (directory_writer_has_snapshot(writer))
		read_position(follow);
	return follow;
}

void follow_free(struct follow **follow)
{
	if (!*follow)
		return;
	keep(&(*follow)->position.source, NULL);
	keep(&(*follow)->position.snapshot, NULL);
	free((*follow)->path);
	free((*follow)->node);
	buffer_free(&(*follow)->why);
	free(*follow);
	*follow = NULL;
}

struct follow_report follow_report(const struct follow *follow)
{
	return follow->report;
}

static enum follow_outcome failed(struct follow *follow, enum follow_outcome outcome, const char *reason)
{
	directory_writer_abort(follow->writer);
	follow->why.len = 0;
	buffer_text(&follow->why, text_of(reason));
	/* Whatever transaction was open ends with the connection. */
	pg_disconnect(follow->pg);
	return outcome;
}

static enum follow_outcome away(struct follow *follow)
{
	return failed(follow, FOLLOW_AWAY, pg_error(follow->pg));
}

/* What Postgres says of now: which database it is, its snapshot, the last change's number. */
struct now {
	struct pg_result *row;
	const char *source, *snapshot;
	int64_t seq;
};

static bool ask_now(struct follow *follow, struct now *now)
{
	now->row = NULL;
	if (pg_query(follow->pg,
		     "SELECT " SOURCE ", pg_current_snapshot()::text, coalesce(max(seq), 0) FROM waybill.changes", NULL,
		     0, &now->row) != PG_OK)
		return false;
	now->source = pg_string(now->row, 0, 0);
	now->snapshot = pg_string(now->row, 0, 1);
	now->seq = pg_int(now->row, 0, 2);
	return true;
}

/* Ends the change or build at NOW, and remembers it. */
static const char *commit(struct follow *follow, const struct now *now, bool built)
{
	int64_t time_s = time(NULL);
	struct directory_state state = {
		.source = text_of(now->source),
		.seq = now->seq,
		.snapshot = text_of(now->snapshot),
		.built_at = built ? time_s : follow->position.built_at,
		.changed_at = time_s,
	};
	const char *why = directory_writer_commit(follow->writer, &state);
	if (why)
		return why;
	keep(&follow->position.source, now->source);
	keep(&follow->position.snapshot, now->snapshot);
	follow->position.seq = now->seq;
	follow->position.built_at = state.built_at;
	follow->position.changed_at = follow->synced_at = time_s;
	follow->report.built = built;
	follow->report.seq = now->seq;
	return NULL;
}

static bool transaction_begin(struct follow *follow)
{
	return pg_script(follow->pg, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY") == PG_OK;
}

static bool transaction_end(struct follow *follow)
{
	return pg_script(follow->pg, "COMMIT") == PG_OK;
}

/* Reads with READ between the transaction's begin and the snapshot's commit. */
static enum follow_outcome transfer(struct follow *follow, bool build,
				    enum follow_answer (*read)(struct follow *follow, struct follow_reader *reader))
{
	struct now now = {0};
	enum follow_outcome outcome = FOLLOW_APPLIED;
	if (!transaction_begin(follow) || !ask_now(follow, &now))
		return away(follow);
	const char *why = build ? directory_writer_build(follow->writer) : directory_writer_begin(follow->writer);
	struct follow_reader *reader = follow_reader_new(follow->pg, follow->writer);
	enum follow_answer answer = why ? FOLLOW_WRITER : read(follow, reader);
	follow->report.entries = follow_reader_take_count(reader);
	if (answer == FOLLOW_POSTGRES)
		outcome = away(follow);
	else if (answer == FOLLOW_WRITER)
		outcome = failed(follow, FOLLOW_BROKEN, why ? why : follow_reader_why(reader));
	else if ((why = commit(follow, &now, build)))
		outcome = failed(follow, FOLLOW_BROKEN, why);
	else if (!transaction_end(follow))
		pg_disconnect(follow->pg); /* it only read; what it read stands */
	follow_reader_free(&reader);
	pg_result_free(&now.row);
	return outcome;
}

static enum follow_answer read_everything(struct follow *follow, struct follow_reader *reader)
{
	(void)follow;
	return follow_read_all(reader);
}

static enum follow_outcome build(struct follow *follow, const char *reason)
{
	follow->report.reason = reason;
	return transfer(follow, true, read_everything);
}

static enum follow_answer read_kind(struct follow_reader *reader, enum directory_kind kind,
				    const struct pg_result *changes)
{
	struct buffer keys = {0};
	struct text *names = memory_zero(pg_rows(changes), sizeof(*names));
	size_t count = 0;
	for (size_t i = 0; i < pg_rows(changes); i++) {
		if (!text_equal(pg_field(changes, i, 0), text_of(directory_kind_names[kind])))
			continue;
		names[count++] = pg_field(changes, i, 1);
		array_add(&keys, pg_field(changes, i, 1));
	}
	array_end(&keys);
	enum follow_answer answer =
		count ? follow_read_some(reader, kind, buffer_string(&keys), names, count) : FOLLOW_DONE;
	buffer_free(&keys);
	free(names);
	return answer;
}

static enum follow_answer read_changes(struct follow *follow, struct follow_reader *reader)
{
	struct pg_result *changes = NULL;
	enum follow_answer answer = FOLLOW_DONE;
	if (pg_query(follow->pg, "SELECT DISTINCT c.kind, c.key FROM waybill.changes AS c WHERE " UNSEEN,
		     (const char *const[]){follow->position.snapshot}, 1, &changes) != PG_OK)
		return FOLLOW_POSTGRES;
	for (int kind = 0; kind < DIRECTORY_KIND_MAX && answer == FOLLOW_DONE; kind++)
		answer = read_kind(reader, (enum directory_kind)kind, changes);
	pg_result_free(&changes);
	return answer;
}

/* Is the file still one to go on from? NULL, or why it must be built anew. */
static const char *must_build(const struct follow *follow, const char *source)
{
	if (!directory_writer_has_snapshot(follow->writer) || !follow->position.snapshot)
		return "there is none that can be read";
	if (directory_writer_is_full(follow->writer))
		return "it has outgrown its map";
	if (!directory_writer_in_place(follow->writer))
		return "somebody removed or replaced it";
	if (strcmp(follow->position.source, source) != 0)
		return "it was made from another database";
	if (time(NULL) - follow->synced_at > FOLLOW_SLEEP_MAX_S)
		return "it is older than the changes that Postgres keeps";
	if (time(NULL) - follow->position.built_at > FOLLOW_BUILD_AGE_S)
		return "its time-zone offsets reach no year ahead any more";
	return NULL;
}

enum follow_outcome follow_step(struct follow *follow, const char **why)
{
	struct pg_result *row = NULL;
	enum follow_outcome outcome = FOLLOW_SAME;
	const char *snapshot = follow->position.snapshot ? follow->position.snapshot : "1:1:";
	char most[24];
	snprintf(most, sizeof(most), "%d", FOLLOW_BULK_MAX + 1);
	/* One cheap question, outside any transaction. */
	if (pg_query(follow->pg,
		     "SELECT " SOURCE ", (SELECT count(*) FROM (SELECT FROM waybill.changes AS c WHERE " UNSEEN
		     " LIMIT $2::bigint) AS unseen)",
		     (const char *const[]){snapshot, most}, 2, &row) != PG_OK) {
		outcome = away(follow);
		*why = buffer_string(&follow->why);
		return outcome;
	}
	const char *anew = must_build(follow, pg_string(row, 0, 0));
	int64_t unseen = pg_int(row, 0, 1);
	pg_result_free(&row);
	if (!anew && unseen > FOLLOW_BULK_MAX)
		anew = "very much changed at once";
	if (anew)
		outcome = build(follow, anew);
	else if (unseen)
		outcome = transfer(follow, false, read_changes);
	else
		follow->synced_at = time(NULL);
	*why = buffer_string(&follow->why);
	return outcome;
}

void follow_sign_of_life(struct follow *follow)
{
	char seq[24], changed_at[24], built_at[24];
	snprintf(seq, sizeof(seq), "%lld", (long long)follow->position.seq);
	snprintf(changed_at, sizeof(changed_at), "%lld", (long long)follow->position.changed_at);
	snprintf(built_at, sizeof(built_at), "%lld", (long long)follow->position.built_at);
	/* Nobody waits for it: a failure shows in the next step. */
	pg_query(follow->pg,
		 "INSERT INTO waybill.followers (node, path, seq, changed_at, built_at) "
		 "VALUES ($1, $2, $3, to_timestamp($4::bigint), to_timestamp($5::bigint)) ON CONFLICT (node) DO UPDATE "
		 "SET "
		 "path = EXCLUDED.path, seq = EXCLUDED.seq, changed_at = EXCLUDED.changed_at, built_at = "
		 "EXCLUDED.built_at, "
		 "seen_at = now()",
		 (const char *const[]){follow->node, follow->path, seq, changed_at, built_at}, 5, NULL);
	pg_query(follow->pg, "SELECT waybill.prune_changes()", NULL, 0, NULL);
}
