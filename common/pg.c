#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libpq-fe.h>

#include "common/encode.h"
#include "common/memory.h"
#include "common/pg.h"

/* More than any program repeats. */
#define PREPARED_MAX 16
/* Before the binary one. */
#define PARAMS_MAX 32

struct pg {
	char *conninfo, *application;
	PGconn *connection;
	const char *prepared[PREPARED_MAX]; /* by this connection; the statement's name is its place */
	size_t prepared_count;
	uint64_t connections;
	char sqlstate[6];
	char *error;
	pg_warn *warn;
};

struct pg_result {
	PGresult *result;
};

struct pg *pg_new(const char *conninfo, const char *application)
{
	struct pg *pg = memory_zero(1, sizeof *pg);
	pg->conninfo = text_copy(text_of(conninfo));
	pg->application = text_copy(text_of(application));
	return pg;
}

void pg_disconnect(struct pg *pg)
{
	PQfinish(pg->connection);
	pg->connection = NULL;
	pg->prepared_count = 0;
}

void pg_free(struct pg **pg)
{
	if (!*pg)
		return;
	pg_disconnect(*pg);
	free((*pg)->conninfo);
	free((*pg)->application);
	free((*pg)->error);
	free(*pg);
	*pg = NULL;
}

const char *pg_sqlstate(const struct pg *pg)
{
	return pg->sqlstate;
}

const char *pg_error(const struct pg *pg)
{
	return pg->error ? pg->error : "";
}

static void keep_error(struct pg *pg, const char *sqlstate, const char *message)
{
	text_put(text_of(sqlstate), pg->sqlstate, sizeof pg->sqlstate);
	free(pg->error);
	pg->error = text_copy(text_trim(text_of(message)));
	for (char *c = pg->error; *c; c++)
		if (*c == '\n')
			*c = ' ';
}

/* PostgreSQL manual, appendix A: the classes and codes after which the same statement may succeed. */
static bool is_passing(const char *sqlstate)
{
	static const char *const passing[] = {"08", "40", "53", "57", "58", "55P03", "25006"};
	for (size_t i = 0; i < sizeof passing / sizeof *passing; i++)
		if (strncmp(sqlstate, passing[i], strlen(passing[i])) == 0)
			return true;
	return false;
}

void pg_on_warning(struct pg *pg, pg_warn *warn)
{
	pg->warn = warn;
}

/* Lesser notices are for people at a prompt. */
static void take_notice(void *context, const PGresult *result)
{
	const struct pg *pg = context;
	const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
	const char *words = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
	if (pg->warn && severity && words && strcmp(severity, "WARNING") == 0)
		pg->warn(words);
}

static enum pg_status connect_now(struct pg *pg)
{
	/* What stands before dbname, a conninfo string may override. A server that vanished is noticed in 30 s. */
	const char *keys[] = {"connect_timeout",           "keepalives_idle", "tcp_user_timeout",
			      "fallback_application_name", "dbname",          NULL};
	const char *values[] = {"10", "30", "30000", pg->application, pg->conninfo, NULL};

	if (pg->connection && PQstatus(pg->connection) == CONNECTION_OK)
		return PG_OK;
	pg_disconnect(pg);
	pg->connection = PQconnectdbParams(keys, values, 1);
	if (PQstatus(pg->connection) != CONNECTION_OK) {
		keep_error(pg, "08001", PQerrorMessage(pg->connection));
		pg_disconnect(pg);
		return PG_RETRY;
	}
	PQsetNoticeReceiver(pg->connection, take_notice, pg);
	pg->connections++;
	return PG_OK;
}

static enum pg_status judge(struct pg *pg, PGresult *result)
{
	ExecStatusType status = PQresultStatus(result);
	if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK || status == PGRES_EMPTY_QUERY)
		return PG_OK;
	const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
	bool broken = PQstatus(pg->connection) != CONNECTION_OK;
	/* Without a server's answer libpq names no SQLSTATE: connection_failure, or an error of the caller's. */
	keep_error(pg,
		   sqlstate ? sqlstate
		   : broken ? "08006"
			    : "XX000",
		   message ? message : PQerrorMessage(pg->connection));
	if (broken)
		pg_disconnect(pg);
	return is_passing(pg->sqlstate) ? PG_RETRY : PG_FAILED;
}

/* Judges ANSWER and hands it over, or frees it. */
static enum pg_status finish(struct pg *pg, PGresult *answer, struct pg_result **result)
{
	enum pg_status status = judge(pg, answer);
	if (status != PG_OK || !result) {
		PQclear(answer);
		return status;
	}
	*result = memory_new(sizeof **result);
	(*result)->result = answer;
	return PG_OK;
}

enum pg_status pg_query(struct pg *pg, const char *sql, const char *const *params, size_t count,
			struct pg_result **result)
{
	if (result)
		*result = NULL;
	enum pg_status status = connect_now(pg);
	if (status != PG_OK)
		return status;
	return finish(pg, PQexecParams(pg->connection, sql, (int)count, NULL, params, NULL, NULL, 0), result);
}

/* The name under which SQL is prepared, in NAME. */
static enum pg_status prepare(struct pg *pg, const char *sql, char *name, size_t size)
{
	size_t place = 0;
	while (place < pg->prepared_count && pg->prepared[place] != sql)
		place++;
	snprintf(name, size, "s%zu", place);
	if (place < pg->prepared_count)
		return PG_OK;
	if (place == PREPARED_MAX)
		abort(); /* a program that repeats more than it says */
	enum pg_status status = finish(pg, PQprepare(pg->connection, name, sql, 0, NULL), NULL);
	if (status == PG_OK)
		pg->prepared[pg->prepared_count++] = sql;
	return status;
}

enum pg_status pg_query_again(struct pg *pg, const char *sql, const char *const *params, size_t count,
			      struct pg_result **result)
{
	char name[16];
	if (result)
		*result = NULL;
	enum pg_status status = connect_now(pg);
	if (status == PG_OK)
		status = prepare(pg, sql, name, sizeof name);
	if (status != PG_OK)
		return status;
	return finish(pg, PQexecPrepared(pg->connection, name, (int)count, params, NULL, NULL, 0), result);
}

enum pg_status pg_send_again(struct pg *pg, const char *sql, const char *const *params, size_t count,
			     struct text binary)
{
	char name[16];
	const char *values[PARAMS_MAX + 1];
	int lengths[PARAMS_MAX + 1] = {0}, formats[PARAMS_MAX + 1] = {0};
	enum pg_status status = connect_now(pg);
	if (status == PG_OK)
		status = prepare(pg, sql, name, sizeof name);
	if (status != PG_OK)
		return status;
	if (count > PARAMS_MAX)
		abort(); /* as with PREPARED_MAX */
	memcpy(values, params, count * sizeof *values);
	values[count] = binary.ptr;
	lengths[count] = (int)binary.len;
	formats[count] = 1;
	if (PQsendQueryPrepared(pg->connection, name, (int)count + 1, values, lengths, formats, 0))
		return PG_OK;
	status = finish(pg, NULL, NULL);
	pg_disconnect(pg);
	return status;
}

enum pg_status pg_wait(struct pg *pg, struct pg_result **result)
{
	if (result)
		*result = NULL;
	PGresult *answer = PQgetResult(pg->connection);
	for (PGresult *more; (more = PQgetResult(pg->connection));)
		PQclear(more);
	return finish(pg, answer, result);
}

uint64_t pg_connections(const struct pg *pg)
{
	return pg->connections;
}

enum pg_status pg_script(struct pg *pg, const char *sql)
{
	enum pg_status status = connect_now(pg);
	if (status != PG_OK)
		return status;
	PGresult *answer = PQexec(pg->connection, sql);
	status = judge(pg, answer);
	PQclear(answer);
	return status;
}

int pg_socket(const struct pg *pg)
{
	return pg->connection ? PQsocket(pg->connection) : -1;
}

bool pg_notified(struct pg *pg)
{
	bool any = false;
	if (!pg->connection)
		return false;
	if (!PQconsumeInput(pg->connection)) {
		pg_disconnect(pg);
		return false;
	}
	for (PGnotify *notify; (notify = PQnotifies(pg->connection)); any = true)
		PQfreemem(notify);
	return any;
}

size_t pg_rows(const struct pg_result *result)
{
	return (size_t)PQntuples(result->result);
}

size_t pg_columns(const struct pg_result *result)
{
	return (size_t)PQnfields(result->result);
}

const char *pg_column_name(const struct pg_result *result, size_t column)
{
	return PQfname(result->result, (int)column);
}

const char *pg_string(const struct pg_result *result, size_t row, size_t column)
{
	if (PQgetisnull(result->result, (int)row, (int)column))
		return NULL;
	return PQgetvalue(result->result, (int)row, (int)column);
}

struct text pg_field(const struct pg_result *result, size_t row, size_t column)
{
	const char *value = pg_string(result, row, column);
	return (struct text){value, value ? (size_t)PQgetlength(result->result, (int)row, (int)column) : 0};
}

int64_t pg_int(const struct pg_result *result, size_t row, size_t column)
{
	const char *value = pg_string(result, row, column);
	return value ? strtoll(value, NULL, 10) : 0;
}

bool pg_bool(const struct pg_result *result, size_t row, size_t column)
{
	const char *value = pg_string(result, row, column);
	return value && *value == 't';
}

void pg_result_free(struct pg_result **result)
{
	if (!*result)
		return;
	PQclear((*result)->result);
	free(*result);
	*result = NULL;
}

const char *pg_bytea(struct text field, struct buffer *out)
{
	if (!text_starts(field, TEXT("\\x")))
		return "not a bytea in hex form";
	return encode_hex_decode(text_from(field, 2), out);
}

void pg_bytea_param(struct text bytes, struct buffer *out)
{
	buffer_text(out, TEXT("\\x"));
	encode_hex(bytes, out);
}
