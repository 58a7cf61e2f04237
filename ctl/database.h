#ifndef CTL_DATABASE_H
#define CTL_DATABASE_H

/* Postgres as a command sees it: a statement works, or the reason is printed with the next step and the exit status is
 * set. */

#include <jansson.h>

#include "common/pg.h"
#include "ctl/command.h"
#include "ctl/output.h"

struct database;

/* Text parameters in place: PARAMS("a", b). */
#define PARAMS(...) (const char *const[]){__VA_ARGS__}, sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *)
#define NO_PARAMS   NULL, 0

/* Connects as ROLE instead of the one that [ctl] postgres names; before the first statement. 0, or an exit status. */
int database_as(struct ctl *ctl, const char *role);
/* Runs one statement. 0 and *RESULT (may be NULL when nobody wants it); or an exit status, the reason printed. */
int database_query(struct ctl *ctl, const char *sql, const char *const *params, size_t count,
		   struct pg_result **result);
/* The same, when all that matters is whether there was a row: 0 yes; 1 no; > 1 an exit status. */
int database_exists(struct ctl *ctl, const char *sql, const char *const *params, size_t count);
/* The number of rows a statement with RETURNING gives back; or -1, ctl's exit status in *STATUS. */
long database_count(struct ctl *ctl, const char *sql, const char *const *params, size_t count, int *status);
/* Prints the rows of a query; column names are the field names. */
int database_print(struct ctl *ctl, enum output_form form, const char *empty, const char *sql,
		   const char *const *params, size_t count);
/* The first row of a query as an object, NULL when there is none. 0, or an exit status. */
int database_row(struct ctl *ctl, const char *sql, const char *const *params, size_t count, json_t **row);
/* A transaction around several statements. */
int database_begin(struct ctl *ctl);
int database_commit(struct ctl *ctl);
void database_rollback(struct ctl *ctl);
/* The bare connection, for what does not fit: migrations. NULL is impossible. */
struct pg *database_pg(struct ctl *ctl);
/* Prints why the last statement failed and returns the exit status. */
int database_complain(struct ctl *ctl, enum pg_status status);
/* Wakes the followers if the command changed something, and closes. */
void database_close(struct ctl *ctl);

#endif
