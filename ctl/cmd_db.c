/* Migrations: each file of schema/ runs once, in its own transaction, together with the row that remembers it. An
 * advisory lock lets only one waybill migrate at a time. A file that was edited after it ran is refused: what is in the
 * database would no longer be what the files say. */

#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "ctl/cmd.h"
#include "ctl/database.h"
#include "ctl/migrations.h"

#define LOCK "7225061731448512361" /* any number that nobody else locks */

struct progress {
	size_t applied, edited, pending;
};

static int query(struct ctl *ctl, const char *sql, const char *const *params, size_t count, struct pg_result **result)
{
	enum pg_status status = pg_query(database_pg(ctl), sql, params, count, result);
	return status == PG_OK ? 0 : database_complain(ctl, status);
}

/* "applied", "edited" or "pending", and when it was applied. The table itself is made by the first migration run. */
static int state_of(struct ctl *ctl, const struct migration *migration, const char **state, char *at, size_t size)
{
	struct pg_result *result = NULL;
	*state = "pending";
	at[0] = '\0';
	int status = query(ctl, "SELECT to_regclass('waybill.migrations') IS NOT NULL", NO_PARAMS, &result);
	if (status)
		return status;
	bool begun = pg_bool(result, 0, 0);
	pg_result_free(&result);
	if (!begun)
		return 0;
	status = query(ctl,
		       "SELECT sha256, to_char(at, 'YYYY-MM-DD HH24:MI:SSOF') FROM waybill.migrations WHERE name = $1",
		       PARAMS(migration->name), &result);
	if (status)
		return status;
	if (pg_rows(result)) {
		*state = text_equal(pg_field(result, 0, 0), text_of(migration->sha256)) ? "applied" : "edited";
		text_put(pg_field(result, 0, 1), at, size);
	}
	pg_result_free(&result);
	return 0;
}

static int remember(struct ctl *ctl, const struct migration *migration)
{
	enum pg_status made =
		pg_script(database_pg(ctl), "CREATE TABLE IF NOT EXISTS waybill.migrations (name text PRIMARY KEY, "
					    "sha256 text NOT NULL, at timestamptz NOT NULL DEFAULT now())");
	if (made != PG_OK)
		return database_complain(ctl, made);
	return query(ctl, "INSERT INTO waybill.migrations (name, sha256) VALUES ($1, $2)",
		     PARAMS(migration->name, migration->sha256), NULL);
}

static int apply(struct ctl *ctl, const struct migration *migration)
{
	int status = query(ctl, "BEGIN", NO_PARAMS, NULL);
	if (status)
		return status;
	char *sql = text_copy(migration->sql);
	enum pg_status ran = pg_script(database_pg(ctl), sql);
	free(sql);
	status = ran == PG_OK ? remember(ctl, migration) : database_complain(ctl, ran);
	if (!status)
		status = query(ctl, "COMMIT", NO_PARAMS, NULL);
	if (!status)
		return 0;
	pg_disconnect(database_pg(ctl));
	return complain(status, "waybill db status", "%s was rolled back: the schema is as it was before it",
			migration->name);
}

static void print_state(struct output *output, const struct migration *migration, const char *state, const char *at)
{
	output_row(output,
		   json_pack("{s:s, s:s, s:s?}", "migration", migration->name, "state", state, "at", *at ? at : NULL));
}

static int migrate_one(struct ctl *ctl, struct output *output, const struct migration *migration, bool dry_run)
{
	const char *state;
	char at[64];
	int status = state_of(ctl, migration, &state, at, sizeof(at));
	if (status)
		return status;
	if (!strcmp(state, "edited"))
		return complain(EX_DATAERR, "restore the file, and put the change into a new one",
				"schema/%s.sql was edited after it was applied", migration->name);
	if (!strcmp(state, "pending") && !dry_run) {
		status = apply(ctl, migration);
		state = "applied now";
	} else if (!strcmp(state, "pending")) {
		state = "would be applied";
	}
	if (!status)
		print_state(output, migration, state, at);
	return status;
}

int cmd_db_migrate(struct ctl *ctl)
{
	int status = option(ctl, "role") ? database_as(ctl, option(ctl, "role")) : 0;
	if (!status)
		status = query(ctl, "SELECT pg_advisory_lock(" LOCK ")", NO_PARAMS, NULL);
	if (status)
		return status;
	struct output *output = output_new(OUTPUT_LIST, ctl->json);
	for (size_t i = 0; !status && i < migration_count; i++)
		status = migrate_one(ctl, output, &migrations[i], option_given(ctl, "dry-run"));
	output_end(&output, NULL);
	return status;
}

/* Exit status 0 only when the schema is this program's: for monitoring and packages. */
int cmd_db_status(struct ctl *ctl)
{
	int status = 0;
	bool behind = false;
	struct output *output = output_new(OUTPUT_LIST, ctl->json);
	for (size_t i = 0; !status && i < migration_count; i++) {
		const char *state;
		char at[64];
		status = state_of(ctl, &migrations[i], &state, at, sizeof(at));
		if (!status)
			print_state(output, &migrations[i], state, at);
		behind = behind || strcmp(state, "applied") != 0;
	}
	output_end(&output, NULL);
	if (!status && behind)
		return complain(EX_CONFIG, "waybill db migrate", "the schema is not this program's");
	return status;
}
