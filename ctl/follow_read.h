#ifndef CTL_FOLLOW_READ_H
#define CTL_FOLLOW_READ_H

/* From rows of Postgres to records of the snapshot: everything, or what changed. A row that cannot be turned into a
 * record is logged and left out (a domain without a usable limit keeps its keys): it harms nobody else. */

#include "common/directory_writer.h"
#include "common/pg.h"

struct follow_reader;

struct follow_reader *follow_reader_new(struct pg *pg, struct directory_writer *writer);
void follow_reader_free(struct follow_reader **reader);

enum follow_answer {
	FOLLOW_DONE,
	FOLLOW_POSTGRES, /* Postgres failed: pg_error() says why */
	FOLLOW_WRITER,   /* the snapshot failed: follow_reader_why() */
	FOLLOW_ANSWER_MAX
};
const char *follow_reader_why(const struct follow_reader *reader);

/* Inside a transaction on PG and a change or build of WRITER: writes every entry of every kind. */
enum follow_answer follow_read_all(struct follow_reader *reader);
/* The same for the entries of KIND named by KEYS, Postgres's text array: those that are gone are removed. NAMES are the
 * same keys. */
enum follow_answer follow_read_some(struct follow_reader *reader, enum directory_kind kind, const char *keys,
				    const struct text *names, size_t count);
/* How many entries were written since the last call. */
size_t follow_reader_take_count(struct follow_reader *reader);

#endif
