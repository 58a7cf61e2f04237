#include "bouncer/source.h"

#include <stdlib.h>

#include "common/memory.h"

#include "bouncer/journal.h"

/* One of the two. */
struct source {
	struct tail *tail;
	struct journal *journal;
};

static const struct text journal_word = TEXT("journal"), journal_prefix = TEXT("journal:/");

const char *source_check(const char *name)
{
	struct text t = text_of(name);
	bool ok = text_starts(t, TEXT("/")) || text_equal(t, journal_word) || text_starts(t, journal_prefix);
	return ok ? NULL : "a log is a path that begins with /, \"journal\" or \"journal:/FOLDER\"";
}

static struct journal *open_journal(const char *name, const char *unit, const struct place *place)
{
	bool folder = text_starts(text_of(name), journal_prefix);
	return journal_open(folder ? name + journal_prefix.len - 1 : NULL, unit, place ? place->cursor : "");
}

struct source *source_open(const char *name, const char *unit, const struct place *place)
{
	struct source *s = memory_zero(1, sizeof *s);
	if (name[0] == '/')
		s->tail = tail_open(name, place ? &place->file : NULL);
	else
		s->journal = open_journal(name, unit, place);
	return s;
}

void source_close(struct source **source)
{
	if (!*source)
		return;
	tail_close(&(*source)->tail);
	journal_close(&(*source)->journal);
	free(*source);
	*source = NULL;
}

bool source_next(struct source *s, struct text *line)
{
	return s->tail ? tail_next(s->tail, line) : journal_next(s->journal, line);
}

void source_place(struct source *s, struct place *out)
{
	*out = (struct place){0};
	if (s->tail)
		tail_position(s->tail, &out->file);
	else
		text_put(text_of(journal_cursor(s->journal)), out->cursor, sizeof out->cursor);
}

bool source_take_loss(struct source *s, struct tail_loss *out)
{
	if (s->tail)
		return tail_take_loss(s->tail, out);
	*out = (struct tail_loss){.why = "position-lost"};
	return journal_take_loss(s->journal);
}

uint64_t source_behind(struct source *s)
{
	return s->tail ? tail_behind(s->tail) : 0;
}

uint64_t source_cut(const struct source *s)
{
	return s->tail ? tail_cut(s->tail) : 0;
}

const char *source_trouble(const struct source *s)
{
	return s->tail ? tail_trouble(s->tail) : journal_trouble(s->journal);
}

int source_fd(struct source *s)
{
	return s->tail ? tail_fd(s->tail) : journal_fd(s->journal);
}

void source_drain(struct source *s)
{
	if (s->tail)
		tail_drain(s->tail);
}
