#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/memory.h"

#include "bouncer/array.h"
#include "bouncer/place.h"
#include "bouncer/spools.h"

/* A batch of lines that Postgres wants, and of all lines: those of no interest cost it nothing. */
#define BATCH_WANTED 1000
#define BATCH_LINES  100000

static const char *const names[] = {"policyd", "milter"};
#define SPOOLS (sizeof names / sizeof *names)

struct source {
	char *name, *path;
	struct tail *tail; /* NULL until its place is loaded */
	int64_t batch;     /* the last one committed */
	size_t read;       /* lines since then */
	bool sealed;
	struct buffer number, place, behind, lines;
};

struct spools {
	struct pg *pg;
	struct source sources[SPOOLS];
};

struct spools *spools_new(const char *conninfo, const char *node, const char *folder)
{
	struct spools *spools = memory_zero(1, sizeof *spools);
	spools->pg = pg_new(conninfo, "waybill-bouncer spools");
	for (size_t i = 0; i < SPOOLS; i++) {
		struct buffer path = {0}, name = {0};
		buffer_format(&path, "%s/%s.jsonl", folder, names[i]);
		buffer_format(&name, "%s %s", node, buffer_string(&path));
		spools->sources[i].path = text_copy(buffer_view(&path));
		spools->sources[i].name = text_copy(buffer_view(&name));
		buffer_free(&path);
		buffer_free(&name);
	}
	return spools;
}

void spools_free(struct spools **spools)
{
	if (!*spools)
		return;
	for (size_t i = 0; i < SPOOLS; i++) {
		struct source *s = &(*spools)->sources[i];
		tail_close(&s->tail);
		buffer_free(&s->number);
		buffer_free(&s->place);
		buffer_free(&s->behind);
		buffer_free(&s->lines);
		free(s->name);
		free(s->path);
	}
	pg_free(&(*spools)->pg);
	free(*spools);
	*spools = NULL;
}

const char *spools_error(const struct spools *spools)
{
	return pg_error(spools->pg);
}

static enum pg_status load(struct pg *pg, struct source *s)
{
	struct place place;
	struct pg_result *r;
	bool found = false;
	const char *const params[] = {s->name};
	enum pg_status status = pg_query(pg, place_query, params, 1, &r);
	if (status != PG_OK)
		return status;
	if (pg_rows(r)) {
		s->batch = pg_int(r, 0, 0);
		found = place_read(r, &place);
	}
	pg_result_free(&r);
	s->tail = tail_open(s->path, found ? &place.file : NULL);
	return PG_OK;
}

/* How the lines begin that Postgres gets; what else there is, "waybill explain" reads where it lies. */
static const char *const wanted_heads[] = {
	"{\"type\":\"message.annotated\"",
	"{\"type\":\"limit.warning\"",
	"{\"type\":\"credential.",
	"{\"type\":\"domain.",
};

static bool is_wanted(struct text line)
{
	for (size_t i = 0; i < sizeof wanted_heads / sizeof *wanted_heads; i++)
		if (text_starts(line, text_of(wanted_heads[i])))
			return true;
	return false;
}

/* Reads the next batch; false: nothing is left. */
static bool seal(struct source *s)
{
	struct place place = {0};
	struct text line;
	size_t wanted = 0;
	s->lines.len = s->number.len = s->place.len = s->behind.len = s->read = 0;
	buffer_char(&s->lines, '{');
	while (wanted < BATCH_WANTED && s->read < BATCH_LINES && tail_next(s->tail, &line)) {
		s->read++;
		if (!is_wanted(line))
			continue;
		wanted++;
		array_add(&s->lines, line);
	}
	buffer_char(&s->lines, '}');
	tail_position(s->tail, &place.file);
	place_print(&place, &s->place);
	buffer_format(&s->number, "%" PRId64, s->batch + 1);
	buffer_format(&s->behind, "%" PRIu64, tail_behind(s->tail));
	s->sealed = s->read > 0;
	return s->sealed;
}

static enum pg_status take(struct pg *pg, struct source *s)
{
	enum pg_status status = s->tail ? PG_OK : load(pg, s);
	while (status == PG_OK && (s->sealed || seal(s))) {
		const char *const params[] = {s->name, buffer_string(&s->number), buffer_string(&s->place),
					      buffer_string(&s->behind), buffer_string(&s->lines)};
		status = pg_query(pg, "SELECT waybill.record_spool($1, $2, $3, $4, $5)", params, 5, NULL);
		s->sealed = status != PG_OK;
		s->batch += status == PG_OK;
	}
	return status;
}

enum pg_status spools_take(struct spools *spools)
{
	enum pg_status status = PG_OK;
	for (size_t i = 0; i < SPOOLS && status == PG_OK; i++)
		status = take(spools->pg, &spools->sources[i]);
	/* No rights, no such function: the sysadmin's to mend, and nothing may be lost meanwhile. */
	return status == PG_FAILED && strcmp(pg_sqlstate(spools->pg), "WB001") != 0 ? PG_RETRY : status;
}
