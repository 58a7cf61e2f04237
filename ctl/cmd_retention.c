/* What is undone or forgotten: suppressions by their cause, events by their age, an address for good. */

#include <jansson.h>
#include <sysexits.h>

#include "ctl/check.h"
#include "ctl/cmd.h"
#include "ctl/cmd_internal.h"
#include "ctl/csv.h"
#include "ctl/database.h"

/* The bouncer makes them too; this one is there for a bouncer that stands still. */
#define DAYS_AHEAD "14"

#define REVERTED "SELECT customer, recipient, reason, rule, provider, remote_mx, event_id, created_at FROM "
#define CAUSE    "($1, $2, waybill.point_in_time($3), $4) ORDER BY customer, recipient"

int cmd_suppress_revert(struct ctl *ctl)
{
	const char *rule = option(ctl, "rule"), *since = option(ctl, "since"), *remote = option(ctl, "remote");
	if (!rule && !since && !remote)
		return complain(EX_USAGE, "name the cause by --rule, --since or --remote; --dry-run shows what it hits",
				"without a cause every suppression by a bounce would be undone");
	return database_print(ctl, OUTPUT_LIST, "no suppressions of this cause",
			      option_given(ctl, "dry-run") ? REVERTED "waybill.caused_suppressions" CAUSE
							   : REVERTED "waybill.revert_suppressions" CAUSE,
			      PARAMS(option(ctl, "customer"), rule, since, remote));
}

int cmd_retention_set(struct ctl *ctl)
{
	int status = customer_require(ctl, operand(ctl, 0));
	return status ? status
		      : database_query(
				ctl,
				"INSERT INTO waybill.policies SELECT $1, $2::integer, soft_messages, soft_window, "
				"soft_ttl, closed_ttl, hard_ttl, complaint_ttl FROM waybill.policies WHERE customer = "
				"'' "
				"ON CONFLICT (customer) DO UPDATE SET retention_days = excluded.retention_days",
				PARAMS(operand(ctl, 0), operand(ctl, 1)), NULL);
}

int cmd_retention_list(struct ctl *ctl)
{
	return database_print(
		ctl, OUTPUT_LIST, NULL,
		"SELECT nullif(customer, '') AS customer, retention_days FROM waybill.policies ORDER BY customer",
		NO_PARAMS);
}

/* A call forgets so many events of each customer at most, a transaction of bounded size: again, until none is left. */
int cmd_retention_apply(struct ctl *ctl)
{
	json_int_t made = 0, days = 0, events = 0, gone = 1;
	int status = 0;
	while (!status && gone) {
		struct pg_result *row = NULL;
		status = database_query(ctl,
					"SELECT waybill.ensure_partitions((now() AT TIME ZONE 'UTC')::date, " DAYS_AHEAD
					"), days, events FROM waybill.prune_events()",
					NO_PARAMS, &row);
		gone = status ? 0 : pg_int(row, 0, 2);
		made += status ? 0 : pg_int(row, 0, 0);
		days += status ? 0 : pg_int(row, 0, 1);
		events += gone;
		pg_result_free(&row);
	}
	if (status)
		return status;
	struct output *output = output_new(OUTPUT_RECORD, ctl->json);
	output_row(output, json_pack("{s:I, s:I, s:I}", "made", made, "days", days, "events", events));
	output_end(&output, NULL);
	return 0;
}

/* The canonical form, which addresses are stored in, and the form that was typed, which remote servers may have used. */
static int spellings(const char *word, struct buffer *out)
{
	char address[ADDR_MAX + 1];
	int status = check_address(word, address);
	if (status)
		return status;
	array_add(out, text_of(address));
	array_add(out, text_of(word));
	array_end(out);
	return 0;
}

int cmd_gdpr_export(struct ctl *ctl)
{
	struct buffer address = {0};
	int status = spellings(operand(ctl, 0), &address);
	if (!status)
		status = database_print(ctl, OUTPUT_LIST, "nothing is stored about this address",
					"SELECT kind, customer, \"row\"::text FROM waybill.find_address($1)",
					PARAMS(buffer_string(&address)));
	buffer_free(&address);
	return status;
}

int cmd_gdpr_erase(struct ctl *ctl)
{
	struct buffer address = {0};
	int status = spellings(operand(ctl, 0), &address);
	if (!status && !ctl->yes)
		status = complain(EX_USAGE, "repeat it with --yes, after: waybill gdpr export ADDRESS",
				  "what is erased cannot be brought back");
	if (!status)
		status = database_print(
			ctl, OUTPUT_RECORD, NULL,
			"SELECT events, suppressions, others FROM waybill.erase_address($1, $2::boolean)",
			PARAMS(buffer_string(&address), option_given(ctl, "everything") ? "true" : "false"));
	buffer_free(&address);
	return status;
}
