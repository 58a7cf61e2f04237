#ifndef COMMON_PG_H
#define COMMON_PG_H

/* One Postgres connection (libpq): blocking calls for programs that have nothing else to do (ctl, report, the
 * bouncer's store). Statements are parameterised, always. */

#include "common/text.h"

struct pg;
struct pg_result;

/* CONNINFO as libpq takes it; opens nothing yet. APPLICATION is application_name. */
struct pg *pg_new(const char *conninfo, const char *application);
void pg_free(struct pg **pg);
/* WARN is told what the server warns of (RAISE WARNING) while a statement runs; nobody is, by default. */
typedef void pg_warn(const char *words);
void pg_on_warning(struct pg *pg, pg_warn *warn);

enum pg_status {
	PG_OK,
	/* Away, overloaded, full, deadlock: the same statement may succeed later (SQLSTATE classes 08, 40, 53, 57, 58; also
	 * 55P03, a lock not available, and 25006, a standby). */
	PG_RETRY,
	PG_FAILED, /* the statement is wrong, or the data is */
	PG_STATUS_MAX
};
/* SQLSTATE and message of the last failure; valid until the next call. */
const char *pg_sqlstate(const struct pg *pg);
const char *pg_error(const struct pg *pg);

/* Connects if need be, runs one statement with text parameters (NULL is SQL's NULL), $1 … $N. *RESULT may be NULL when
 * nobody wants it. After PG_RETRY the connection may be closed; the next call opens it again. */
enum pg_status pg_query(struct pg *pg, const char *sql, const char *const *params, size_t count,
			struct pg_result **result);
/* The same for a statement that is run again and again: prepared once for each connection, known by the address of SQL,
 * which lives as long as PG. */
enum pg_status pg_query_again(struct pg *pg, const char *sql, const char *const *params, size_t count,
			      struct pg_result **result);
/* The same, without waiting for its end, with one more parameter behind the others in Postgres' binary form. PG_OK: it is
 * sent, and pg_wait() is the next call. */
enum pg_status pg_send_again(struct pg *pg, const char *sql, const char *const *params, size_t count,
			     struct text binary);
enum pg_status pg_wait(struct pg *pg, struct pg_result **result);
/* Several statements without parameters, as psql would run a file. */
enum pg_status pg_script(struct pg *pg, const char *sql);
/* The socket, for LISTEN; -1 when not connected. pg_notified() reads and drops what arrived: was there any? */
int pg_socket(const struct pg *pg);
bool pg_notified(struct pg *pg);
/* Drops the connection. */
void pg_disconnect(struct pg *pg);
/* How many connections it has had: what was learnt on another one may not hold on this. */
uint64_t pg_connections(const struct pg *pg);

size_t pg_rows(const struct pg_result *result);
size_t pg_columns(const struct pg_result *result);
const char *pg_column_name(const struct pg_result *result, size_t column);
/* A field as text; SQL's NULL gives ptr NULL. */
struct text pg_field(const struct pg_result *result, size_t row, size_t column);
const char *pg_string(const struct pg_result *result, size_t row, size_t column); /* NULL for SQL's NULL */
int64_t pg_int(const struct pg_result *result, size_t row, size_t column);        /* 0 for NULL */
bool pg_bool(const struct pg_result *result, size_t row, size_t column);
void pg_result_free(struct pg_result **result);
/* bytea: decodes the text form \x…; appends to OUT. And the other way. */
const char *pg_bytea(struct text field, struct buffer *out);
void pg_bytea_param(struct text bytes, struct buffer *out);

#endif
