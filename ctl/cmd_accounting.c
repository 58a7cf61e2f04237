/* "waybill accounting": events as files, one per customer and hour (ctl/accounting.h). Which events each file has, and the
 * hash of its manifest, stand in waybill.accounting_files; a file that could not be written is written by the next run. */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "ctl/accounting.h"
#include "ctl/cmd.h"
#include "ctl/cmd_internal.h"
#include "ctl/csv.h"
#include "ctl/database.h"

#define PAGE "1000"

/* The next hour that is over and has events: its name for files, its time, first and last seq, count, and the manifest
 * before. An hour is that in which an event was recorded; seq grows with it. */
static const char next_hour[] =
	"WITH done AS MATERIALIZED (SELECT last_seq, hour, manifest FROM waybill.accounting_files WHERE customer = $1 "
	"ORDER BY hour DESC LIMIT 1), "
	"first AS (SELECT greatest(date_trunc('hour', e.recorded_at, 'UTC'), (SELECT hour FROM done) + interval '1 "
	"hour') AS "
	"hour FROM waybill.events e WHERE e.customer = $1 AND e.seq > coalesce((SELECT last_seq FROM done), 0) "
	"ORDER BY e.seq LIMIT 1) "
	"SELECT to_char(f.hour AT TIME ZONE 'UTC', 'YYYYMMDD\"T\"HH24'), f.hour::text, min(e.seq), max(e.seq), "
	"count(*), "
	"coalesce((SELECT manifest FROM done), '') "
	"FROM first f JOIN waybill.events e ON e.customer = $1 AND e.seq > coalesce((SELECT last_seq FROM done), 0) "
	"AND e.recorded_at < f.hour + interval '1 hour' "
	"WHERE f.hour + interval '1 hour' <= coalesce($2::timestamptz, now()) GROUP BY f.hour";

/* Of a million customers those that have events which stand in no file yet. */
static const char behind[] = "SELECT c.customer FROM waybill.customers c JOIN waybill.event_seq s USING (customer) "
			     "WHERE c.customer = coalesce($1, c.customer) AND s.last > coalesce((SELECT a.last_seq "
			     "FROM waybill.accounting_files a "
			     "WHERE a.customer = c.customer ORDER BY a.hour DESC LIMIT 1), 0) ORDER BY 1";

static const char json_lines[] = "SELECT seq, to_jsonb(e)::text FROM support.events e WHERE customer = $1 "
				 "AND seq > $2::bigint AND seq <= $3::bigint ORDER BY seq LIMIT " PAGE;

/* PowerMTA's columns, then ours. */
static const char csv_lines[] =
	"SELECT seq, CASE type WHEN 'message.delivered' THEN 'd' WHEN 'message.deferred' THEN 't' WHEN "
	"'message.accepted' THEN 'r' "
	"WHEN 'message.complained' THEN 'f' WHEN 'message.bounced' THEN CASE WHEN bounce_async THEN 'rb' ELSE 'b' END "
	"ELSE type END "
	"AS type, to_char(occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS+0000') AS \"timeLogged\", "
	"to_char((occurred_at - make_interval(secs => delay_total)) AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS+0000') "
	"AS \"timeQueued\", "
	"sender AS orig, recipient AS rcpt, orig_recipient AS orcpt, CASE type WHEN 'message.delivered' THEN 'relayed' "
	"WHEN 'message.deferred' THEN 'delayed' WHEN 'message.bounced' THEN 'failed' END AS \"dsnAction\", "
	"enhanced_code AS \"dsnStatus\", coalesce(response, reason) AS \"dsnDiag\", remote_mx AS \"dsnMta\", "
	"bounce_category AS \"bounceCat\", 'smtp' AS \"srcType\", client_ip AS \"srcMta\", 'smtp' AS \"dlvType\", "
	"NULL AS \"dlvSourceIp\", remote_ip AS \"dlvDestinationIp\", NULL AS \"dlvEsmtpAvailable\", size AS "
	"\"dlvSize\", "
	"host AS vmta, tag AS \"jobId\", queue_id AS \"envId\", seq AS seq, event_id AS \"eventId\" "
	"FROM waybill.events WHERE customer = $1 AND seq > $2::bigint AND seq <= $3::bigint ORDER BY seq LIMIT " PAGE;

static void add_line(struct accounting_writer *writer, const struct pg_result *rows, size_t row, bool csv)
{
	struct buffer line = {0};
	if (!csv)
		buffer_text(&line, pg_field(rows, row, 1));
	for (size_t i = 1; csv && i < pg_columns(rows); i++)
		csv_add(&line, pg_field(rows, row, i));
	buffer_char(&line, '\n');
	accounting_add(writer, buffer_view(&line));
	buffer_free(&line);
}

static void add_header(struct accounting_writer *writer, const struct pg_result *rows)
{
	struct buffer line = {0};
	for (size_t i = 1; i < pg_columns(rows); i++)
		csv_add(&line, text_of(pg_column_name(rows, i)));
	buffer_char(&line, '\n');
	accounting_add(writer, buffer_view(&line));
	buffer_free(&line);
}

static int add_events(struct ctl *ctl, struct accounting_writer *writer, const struct accounting_file *file, bool csv)
{
	char from[24], to[24];
	uint64_t at = file->first_seq - 1;
	snprintf(to, sizeof to, "%" PRIu64, file->last_seq);
	while (at < file->last_seq) {
		struct pg_result *rows = NULL;
		snprintf(from, sizeof from, "%" PRIu64, at);
		int status = database_query(ctl, csv ? csv_lines : json_lines, PARAMS(file->customer, from, to), &rows);
		if (status)
			return status;
		if (csv && at == file->first_seq - 1)
			add_header(writer, rows);
		for (size_t i = 0; i < pg_rows(rows); i++)
			add_line(writer, rows, i, csv);
		at = pg_rows(rows) ? (uint64_t)pg_int(rows, pg_rows(rows) - 1, 0) : file->last_seq;
		pg_result_free(&rows);
	}
	return 0;
}

static int remember(struct ctl *ctl, const struct accounting_file *f, const char *hour)
{
	char events[24], first[24], last[24];
	snprintf(events, sizeof events, "%" PRIu64, f->events);
	snprintf(first, sizeof first, "%" PRIu64, f->first_seq);
	snprintf(last, sizeof last, "%" PRIu64, f->last_seq);
	return database_query(
		ctl,
		"INSERT INTO waybill.accounting_files (customer, hour, file, events, first_seq, last_seq, sha256, "
		"manifest) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
		PARAMS(f->customer, hour, f->name, events, first, last, f->sha256, f->manifest), NULL);
}

static int write_file(struct ctl *ctl, struct accounting_file *file, const char *hour, const char *extension)
{
	bool csv = text_starts(text_of(extension), TEXT("csv"));
	struct accounting_writer *writer = accounting_begin(file);
	int status = writer ? add_events(ctl, writer, file, csv) : EX_CANTCREAT;
	if (writer && status) {
		accounting_drop(&writer);
		return status;
	}
	if (!writer || accounting_end(&writer, file))
		return complain(EX_TEMPFAIL, "make room there and run it again",
				"%s/%s: %s; nothing is lost, the file is late", file->folder, file->name,
				strerror(errno));
	return remember(ctl, file, hour);
}

/* 0 and *MORE, or an exit status. */
static int write_next(struct ctl *ctl, const char *customer, const char *folder, const char *extension,
		      struct output *output, bool *more)
{
	struct pg_result *row = NULL;
	int status = database_query(ctl, next_hour, PARAMS(customer, option(ctl, "until")), &row);
	*more = !status && pg_rows(row);
	if (*more) {
		struct accounting_file file = {.folder = folder,
					       .customer = customer,
					       .first_seq = (uint64_t)pg_int(row, 0, 2),
					       .last_seq = (uint64_t)pg_int(row, 0, 3),
					       .events = (uint64_t)pg_int(row, 0, 4)};
		snprintf(file.name, sizeof file.name, "waybill-%s.%s", pg_string(row, 0, 0), extension);
		text_put(pg_field(row, 0, 5), file.previous, sizeof file.previous);
		status = write_file(ctl, &file, pg_string(row, 0, 1), extension);
		if (!status)
			output_row(output,
				   json_pack("{ss ss sI sI sI ss}", "customer", customer, "file", file.name, "events",
					     (json_int_t)file.events, "first_seq", (json_int_t)file.first_seq,
					     "last_seq", (json_int_t)file.last_seq, "sha256", file.sha256));
	}
	pg_result_free(&row);
	return status;
}

/* Two runs would write the same file, or each a part of the chain. The lock ends with the connection. */
static int take_turn(struct ctl *ctl)
{
	int status = database_exists(ctl, "SELECT WHERE pg_try_advisory_lock(7225061731448512363)", NO_PARAMS);
	return status == 1 ? complain(EX_TEMPFAIL, "wait until it has ended; let one node write",
				      "another waybill accounting write is at work")
			   : status;
}

int cmd_accounting_write(struct ctl *ctl)
{
	struct pg_result *customers = NULL;
	const char *format = option(ctl, "format");
	bool csv = format && strcmp(format, "csv") == 0, zstd = option_given(ctl, "zstd");
	if (format && !csv && strcmp(format, "jsonl") != 0)
		return complain(EX_USAGE, NULL, "--format %s: jsonl or csv is wanted", format);
	const char *extension = csv ? zstd ? "csv.zst" : "csv" : zstd ? "jsonl.zst" : "jsonl";
	int status = take_turn(ctl);
	if (!status)
		status = database_query(ctl, behind, PARAMS(option(ctl, "customer")), &customers);
	if (status)
		return status;
	struct output *output = output_new(OUTPUT_LIST, ctl->json);
	for (size_t i = 0; !status && i < pg_rows(customers); i++) {
		struct buffer folder = {0};
		bool more = true;
		buffer_format(&folder, "%s/%s", operand(ctl, 0), pg_string(customers, i, 0));
		while (!status && more)
			status = write_next(ctl, pg_string(customers, i, 0), buffer_string(&folder), extension, output,
					    &more);
		buffer_free(&folder);
	}
	output_end(&output, "no hour is over that has events not yet written");
	pg_result_free(&customers);
	return status;
}

static void print_fault(void *context, const char *path, const char *fault)
{
	size_t *faults = context;
	++*faults;
	printf("%s: %s\n", path, fault);
}

int cmd_accounting_verify(struct ctl *ctl)
{
	size_t faults = 0;
	long manifests = accounting_verify(operand(ctl, 0), print_fault, &faults);
	if (manifests < 0)
		return complain(EX_NOINPUT, NULL, "%s: %s", operand(ctl, 0), strerror(errno));
	if (!manifests && !faults)
		return complain(EX_NOINPUT, "waybill accounting verify DIR, as it was given to accounting write",
				"%s: there is no manifest in it or in its folders", operand(ctl, 0));
	remark("%ld manifests, %zu faults", manifests, faults);
	return faults ? EX_DATAERR : 0;
}
