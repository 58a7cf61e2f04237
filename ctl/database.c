#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/memory.h"
#include "ctl/database.h"
#include "ctl/follow.h"

struct database {
	struct pg *pg;
	bool named;   /* the session knows who acts, for the audit */
	bool changed; /* followers have something to read */
};

/* Who acts: the person, also behind sudo. */
static const char *person(void)
{
	const char *sudo = getenv("SUDO_USER");
	const struct passwd *account = getpwuid(getuid());
	return sudo && *sudo ? sudo : account ? account->pw_name : "";
}

struct pg *database_pg(struct ctl *ctl)
{
	if (!ctl->database) {
		ctl->database = memory_zero(1, sizeof(*ctl->database));
		ctl->database->pg = pg_new(ctl->settings.postgres, "waybill");
	}
	return ctl->database->pg;
}

#define ROLE_CHARACTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"

int database_as(struct ctl *ctl, const char *role)
{
	const char *given = ctl->settings.postgres;
	struct buffer conninfo = {0};
	bool uri = strstr(given, "://") != NULL;
	if (!*role || role[strspn(role, ROLE_CHARACTERS)])
		return complain(EX_DATAERR, NULL, "role \"%s\": a-z, 0-9, \"_\" and \"-\" are wanted", role);
	/* Of two users libpq takes the last. */
	buffer_format(&conninfo, "%s%cuser=%s", given, !uri ? ' ' : strchr(given, '?') ? '&' : '?', role);
	ctl->database = memory_zero(1, sizeof(*ctl->database));
	ctl->database->pg = pg_new(buffer_string(&conninfo), "waybill");
	buffer_free(&conninfo);
	return 0;
}

/* What a failure means to whom it happened: by the beginning of the SQLSTATE. */
struct meaning {
	const char *sqlstate;
	int status;
	const char *what, *next;
};

static const char refused_next[] =
	"check [ctl] postgres in waybill.conf, pg_hba.conf and pg_ident.conf; README has the lines";

static const struct meaning meanings[] = {
	{"3F000", EX_CONFIG, "the schema is not there", "waybill db migrate"},
	{"42P01", EX_CONFIG, "the schema is older than this program", "waybill db migrate"},
	{"42703", EX_CONFIG, "the schema is older than this program", "waybill db migrate"},
	{"42883", EX_CONFIG, "the schema is older than this program", "waybill db migrate"},
	{"42501", EX_NOPERM, "the role may not do this", "connect as waybill_admin: [ctl] postgres in waybill.conf"},
	{"28", EX_NOPERM, "Postgres refuses the role", refused_next},
	{"3D000", EX_CONFIG, "there is no such database",
	 "as the account postgres: createdb waybill; waybill db migrate --role postgres"},
	{"22007", EX_DATAERR, "not a time: use \"2026-12-31\", \"2026-12-31 18:00\" or \"+30 days\"", NULL},
	{"22008", EX_DATAERR, "not a time: use \"2026-12-31\", \"2026-12-31 18:00\" or \"+30 days\"", NULL},
	{"22", EX_DATAERR, "a value is not acceptable", NULL},
	{"23", EX_DATAERR, "this would contradict what is there", NULL},
};

int database_complain(struct ctl *ctl, enum pg_status status)
{
	struct pg *pg = database_pg(ctl);
	struct text message = text_trim(text_of(pg_error(pg)));
	const char *state = pg_sqlstate(pg);
	for (size_t i = 0; i < sizeof(meanings) / sizeof(*meanings); i++)
		if (*state && text_starts(text_of(state), text_of(meanings[i].sqlstate)))
			return complain(meanings[i].status, meanings[i].next, "%s: %.*s", meanings[i].what,
					TEXT_ARG(message));
	/* While connecting, libpq has no SQLSTATE. */
	if (status == PG_RETRY && text_search(message, TEXT("authentication failed")) != SIZE_MAX)
		return complain(EX_NOPERM, refused_next, "Postgres refuses the role: %.*s", TEXT_ARG(message));
	if (status == PG_RETRY)
		return complain(EX_TEMPFAIL, "bring Postgres back and repeat the command",
				"Postgres does not answer: %.*s (nothing was changed; mail flows on from the snapshot)",
				TEXT_ARG(message));
	return complain(EX_SOFTWARE, NULL, "Postgres refuses a statement: %.*s (%s)", TEXT_ARG(message), state);
}

static int raw_query(struct ctl *ctl, const char *sql, const char *const *params, size_t count,
		     struct pg_result **result)
{
	enum pg_status status = pg_query(database_pg(ctl), sql, params, count, result);
	return status == PG_OK ? 0 : database_complain(ctl, status);
}

static int name_actor(struct ctl *ctl)
{
	struct buffer what = {0};
	database_pg(ctl);
	if (ctl->database->named)
		return 0;
	buffer_format(&what, "%s%s%s", ctl->command->noun, *ctl->command->verb ? " " : "", ctl->command->verb);
	int status =
		raw_query(ctl, "SELECT set_config('waybill.who', $1, false), set_config('waybill.what', $2, false)",
			  PARAMS(person(), buffer_string(&what)), NULL);
	ctl->database->named = !status;
	buffer_free(&what);
	return status;
}

int database_query(struct ctl *ctl, const char *sql, const char *const *params, size_t count, struct pg_result **result)
{
	int status = name_actor(ctl);
	struct text begins = text_of(sql);
	if (text_starts(begins, TEXT("INSERT")) || text_starts(begins, TEXT("UPDATE")) ||
	    text_starts(begins, TEXT("DELETE")))
		ctl->database->changed = true;
	return status ? status : raw_query(ctl, sql, params, count, result);
}

long database_count(struct ctl *ctl, const char *sql, const char *const *params, size_t count, int *status)
{
	struct pg_result *result = NULL;
	*status = database_query(ctl, sql, params, count, &result);
	if (*status)
		return -1;
	long rows = (long)pg_rows(result);
	pg_result_free(&result);
	return rows;
}

int database_exists(struct ctl *ctl, const char *sql, const char *const *params, size_t count)
{
	int status;
	long rows = database_count(ctl, sql, params, count, &status);
	return rows < 0 ? status : rows == 0;
}

static void print_rows(const struct pg_result *result, struct output *output)
{
	for (size_t row = 0; row < pg_rows(result); row++) {
		struct text line = pg_field(result, row, 0);
		json_t *object = json_loadb(line.ptr, line.len, 0, NULL);
		if (object)
			output_row(output, object);
	}
}

/* The rows of a query as JSON. */
static int query_json(struct ctl *ctl, const char *sql, const char *const *params, size_t count,
		      struct pg_result **result)
{
	struct buffer wrapped = {0};
	buffer_format(&wrapped, "SELECT row_to_json(answer) FROM (%s) AS answer", sql);
	int status = database_query(ctl, buffer_string(&wrapped), params, count, result);
	buffer_free(&wrapped);
	return status;
}

int database_row(struct ctl *ctl, const char *sql, const char *const *params, size_t count, json_t **row)
{
	struct pg_result *result = NULL;
	*row = NULL;
	int status = query_json(ctl, sql, params, count, &result);
	if (!status && pg_rows(result))
		*row = json_loads(pg_string(result, 0, 0), 0, NULL);
	pg_result_free(&result);
	return status;
}

int database_print(struct ctl *ctl, enum output_form form, const char *empty, const char *sql,
		   const char *const *params, size_t count)
{
	struct pg_result *result = NULL;
	int status = query_json(ctl, sql, params, count, &result);
	if (status)
		return status;
	struct output *output = output_new(form, ctl->json);
	print_rows(result, output);
	output_end(&output, empty);
	pg_result_free(&result);
	return 0;
}

int database_begin(struct ctl *ctl)
{
	return database_query(ctl, "BEGIN", NO_PARAMS, NULL);
}

int database_commit(struct ctl *ctl)
{
	return database_query(ctl, "COMMIT", NO_PARAMS, NULL);
}

void database_rollback(struct ctl *ctl)
{
	/* Closing the connection rolls back also when it is the connection that failed. */
	pg_disconnect(database_pg(ctl));
	ctl->database->named = false;
}

void database_close(struct ctl *ctl)
{
	if (!ctl->database)
		return;
	/* Only a wake-up: without it followers see the change at their next poll. */
	if (ctl->database->changed && pg_socket(ctl->database->pg) >= 0)
		pg_script(ctl->database->pg, "NOTIFY " FOLLOW_CHANNEL);
	pg_free(&ctl->database->pg);
	free(ctl->database);
	ctl->database = NULL;
}
