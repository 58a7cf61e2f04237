/* "waybill suppress import" and "export": the same lines both ways,
 *	ADDRESS[,REASON[,EXPIRES[,NOTE]]]
 * Blank lines and those that begin with "#" are skipped. A bad line is reported and left out; the others are taken. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "ctl/check.h"
#include "ctl/cmd.h"
#include "ctl/cmd_internal.h"
#include "ctl/csv.h"
#include "ctl/database.h"

#define BATCH 1000

struct import {
	struct ctl *ctl;
	const char *file;
	size_t line, batched, imported, existing, refused;
	struct buffer lines, recipients, reasons, expiries, notes; /* array literals */
};

static const char *const reason_names[] = {"hard-bounce", "soft-bounce", "complaint",
					   "unsubscribe", "manual",      "import"};
#define REASON_COUNT (sizeof(reason_names) / sizeof(*reason_names))

static void refuse(struct import *import, const char *line, const char *why)
{
	import->refused++;
	fprintf(stderr, "waybill: %s:%s: %s\n", import->file, line, why);
}

static bool is_reason(const char *word)
{
	for (size_t i = 0; i < REASON_COUNT; i++)
		if (!strcmp(word, reason_names[i]))
			return true;
	return false;
}

/* The lines whose expiry Postgres cannot read. */
static int refuse_expiries(struct import *import)
{
	struct pg_result *rows = NULL;
	int status = database_query(import->ctl,
				    "SELECT line FROM unnest($1::text[], $2::text[]) AS batch (line, expires) "
				    "WHERE NOT waybill.is_point_in_time(expires) ORDER BY line::bigint",
				    PARAMS(buffer_string(&import->lines), buffer_string(&import->expiries)), &rows);
	for (size_t row = 0; !status && row < pg_rows(rows); row++)
		refuse(import, pg_string(rows, row, 0), "its expiry is not a time; an example is 2026-12-31T18:00:00Z");
	import->batched -= status ? 0 : pg_rows(rows);
	pg_result_free(&rows);
	return status;
}

/* Of several lines about a recipient the first counts, but what the recipient asked for goes before. It also outlives a
 * bounce that is known already, as in waybill.record_report(). */
#define ASKED "IN ('complaint', 'unsubscribe') "
static const char insert[] =
	"INSERT INTO waybill.suppressions AS s (customer, recipient, reason, expires_at, note) "
	"SELECT DISTINCT ON (recipient) $1, recipient, reason, waybill.point_in_time(nullif(expires, '')), note "
	"FROM unnest($2::text[], $3::text[], $4::text[], $5::text[]) WITH ORDINALITY "
	"AS line (recipient, reason, expires, note, n) WHERE waybill.is_point_in_time(expires) "
	"ORDER BY recipient, reason " ASKED "DESC, n " SUPPRESSION_ANEW
	"WHERE s.expires_at <= now() OR (s.reason IN ('hard-bounce', 'soft-bounce') AND excluded.reason " ASKED
	") RETURNING 1";

static int flush(struct import *import)
{
	struct buffer *arrays[] = {&import->lines, &import->recipients, &import->reasons, &import->expiries,
				   &import->notes};
	if (!import->batched)
		return 0;
	for (size_t i = 0; i < sizeof(arrays) / sizeof(*arrays); i++)
		array_end(arrays[i]);
	int status = refuse_expiries(import);
	if (status)
		return status;
	long added = database_count(import->ctl, insert,
				    PARAMS(operand(import->ctl, 0), buffer_string(&import->recipients),
					   buffer_string(&import->reasons), buffer_string(&import->expiries),
					   buffer_string(&import->notes)),
				    &status);
	if (added < 0)
		return status;
	import->imported += (size_t)added;
	import->existing += import->batched - (size_t)added;
	import->batched = 0;
	for (size_t i = 0; i < sizeof(arrays) / sizeof(*arrays); i++)
		arrays[i]->len = 0;
	return 0;
}

/* UTF-8 without NUL; Jansson judges the former. */
static bool is_text(struct text line)
{
	json_t *string = json_stringn(line.ptr, line.len);
	bool is = string && text_find(line, '\0') == SIZE_MAX;
	json_decref(string);
	return is;
}

static int take_line(struct import *import, struct text line)
{
	struct buffer fields[4] = {{0}};
	char recipient[ADDR_MAX + 1];
	char number[24];
	int digits = snprintf(number, sizeof(number), "%zu", import->line);
	/* Of the line, before the fields are taken from it: Postgres takes no other text. */
	const char *why = is_text(line) ? NULL : "it is not UTF-8 text";
	size_t count = 0;
	while (!why && count < 4 && csv_next(&line, &fields[count], &why))
		count++;
	const char *reason = fields[1].len ? buffer_string(&fields[1]) : "import";
	if (!why)
		why = address_canonical(text_trim(buffer_view(&fields[0])), recipient);
	if (!why && !is_reason(reason))
		why = "the reason is none that there is";
	if (why) {
		refuse(import, number, why);
	} else {
		array_add(&import->lines, text_at(number, (size_t)digits));
		array_add(&import->recipients, text_of(recipient));
		array_add(&import->reasons, text_of(reason));
		array_add(&import->expiries, text_trim(buffer_view(&fields[2])));
		array_add(&import->notes, buffer_view(&fields[3]));
		import->batched++;
	}
	for (size_t i = 0; i < 4; i++)
		buffer_free(&fields[i]);
	return import->batched < BATCH ? 0 : flush(import);
}

static int take_file(struct import *import, FILE *file)
{
	char *line = NULL;
	size_t size = 0;
	ssize_t len;
	int status = 0;
	while (!status && (len = getline(&line, &size, file)) >= 0) {
		struct text text = text_trim(text_at(line, (size_t)len));
		import->line++;
		if (text.len && text.ptr[0] != '#')
			status = take_line(import, text);
	}
	if (!status && ferror(file))
		status = complain(EX_NOINPUT, NULL, "%s: %s", import->file, strerror(errno));
	free(line);
	return status ? status : flush(import);
}

static void report(const struct import *import)
{
	struct output *output = output_new(OUTPUT_RECORD, import->ctl->json);
	output_row(output, json_pack("{s:I, s:I, s:I}", "imported", (json_int_t)import->imported, "existing",
				     (json_int_t)import->existing, "refused", (json_int_t)import->refused));
	output_end(&output, NULL);
}

static void import_free(struct import *import)
{
	buffer_free(&import->lines);
	buffer_free(&import->recipients);
	buffer_free(&import->reasons);
	buffer_free(&import->expiries);
	buffer_free(&import->notes);
}

int cmd_suppress_import(struct ctl *ctl)
{
	bool standard = !strcmp(operand(ctl, 1), "-");
	struct import import = {.ctl = ctl, .file = standard ? "standard input" : operand(ctl, 1)};
	int status = customer_require(ctl, operand(ctl, 0));
	if (status)
		return status;
	FILE *file = standard ? stdin : fopen(operand(ctl, 1), "re");
	if (!file)
		return complain(EX_NOINPUT, NULL, "%s: %s", operand(ctl, 1), strerror(errno));
	status = database_begin(ctl);
	if (!status)
		status = take_file(&import, file);
	if (!status)
		status = database_commit(ctl);
	if (!status)
		report(&import);
	if (!standard)
		fclose(file);
	import_free(&import);
	return !status && import.refused ? EX_DATAERR : status;
}

int cmd_suppress_export(struct ctl *ctl)
{
	struct pg_result *rows = NULL;
	int status = customer_require(ctl, operand(ctl, 0));
	if (!status)
		status = database_query(ctl,
					"SELECT recipient, reason, to_char(expires_at AT TIME ZONE 'UTC', "
					"'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), note FROM waybill.suppressions "
					"WHERE customer = $1 ORDER BY recipient",
					PARAMS(operand(ctl, 0)), &rows);
	if (status)
		return status;
	for (size_t row = 0; row < pg_rows(rows); row++) {
		struct buffer line = {0};
		for (size_t column = 0; column < 4; column++)
			csv_add(&line, pg_field(rows, row, column));
		puts(buffer_string(&line));
		buffer_free(&line);
	}
	pg_result_free(&rows);
	return 0;
}
