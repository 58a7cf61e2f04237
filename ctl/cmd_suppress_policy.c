/* What suppresses by itself, and what is held back: a customer's policy, the brake on a provider, dead domains of the whole
 * relay. Each command shows what holds; its options change it first. */

#include <sysexits.h>

#include "ctl/check.h"
#include "ctl/cmd.h"
#include "ctl/cmd_internal.h"
#include "ctl/database.h"

#define POLICY "retention_days, soft_messages, soft_window, soft_ttl, closed_ttl, hard_ttl, complaint_ttl"
/* An option that is a time to live: not given, "forever", or an interval. */
#define TTL(option, column) "nullif(coalesce(" option "::text, " column "::text, 'forever'), 'forever')::interval"

/* A customer without a policy of its own gets one with the first option; until then that of all others holds. */
/* clang-format off */
static const char set_policy[] =
	"INSERT INTO waybill.policies (customer, " POLICY ") SELECT $1, retention_days, "
	"coalesce($2::integer, soft_messages), coalesce($3::interval, soft_window), "
	TTL("$4", "soft_ttl") ", " TTL("$5", "closed_ttl") ", " TTL("$6", "hard_ttl") ", " TTL("$7", "complaint_ttl")
	" FROM waybill.policy_of($1) ON CONFLICT (customer) DO UPDATE SET soft_messages = excluded.soft_messages, "
	"soft_window = excluded.soft_window, soft_ttl = excluded.soft_ttl, closed_ttl = excluded.closed_ttl, "
	"hard_ttl = excluded.hard_ttl, complaint_ttl = excluded.complaint_ttl";
/* clang-format on */

int cmd_suppress_policy(struct ctl *ctl)
{
	const char *customer = operand(ctl, 0) ? operand(ctl, 0) : "";
	const char *const params[] = {customer,
				      option(ctl, "soft-messages"),
				      option(ctl, "soft-window"),
				      option(ctl, "soft-ttl"),
				      option(ctl, "closed-ttl"),
				      option(ctl, "hard-ttl"),
				      option(ctl, "complaint-ttl")};
	bool given = false;
	int status = *customer ? customer_require(ctl, customer) : 0;
	for (size_t i = 1; i < sizeof(params) / sizeof(*params); i++)
		given |= params[i] != NULL;
	if (!status && given)
		status = database_query(ctl, set_policy, params, sizeof(params) / sizeof(*params), NULL);
	return status ? status
		      : database_print(ctl, OUTPUT_RECORD, NULL,
				       "SELECT nullif(customer, '') AS customer, soft_messages, soft_window, "
				       "coalesce(soft_ttl::text, 'forever') AS soft_ttl, "
				       "coalesce(closed_ttl::text, 'forever') AS closed_ttl, "
				       "coalesce(hard_ttl::text, 'forever') AS hard_ttl, "
				       "coalesce(complaint_ttl::text, 'forever') AS complaint_ttl "
				       "FROM waybill.policy_of($1)",
				       PARAMS(customer));
}

int cmd_suppress_brakes(struct ctl *ctl)
{
	return database_print(ctl, OUTPUT_LIST, "no provider's suppressions are or were frozen",
			      "SELECT provider, since, frozen_until, frozen_until > now() AS in_force, final, hard, "
			      "spared FROM support.brakes ORDER BY frozen_until DESC",
			      NO_PARAMS);
}

int cmd_suppress_release(struct ctl *ctl)
{
	int status;
	long rows =
		database_count(ctl,
			       "WITH quiet AS (DELETE FROM waybill.outcomes WHERE provider = $1) "
			       "UPDATE waybill.brakes SET frozen_until = now() WHERE provider = $1 AND frozen_until > "
			       "now() RETURNING 1",
			       PARAMS(operand(ctl, 0)), &status);
	return rows ? status
		    : complain(EX_NOUSER, "waybill suppress brakes", "suppression is not frozen for %s",
			       operand(ctl, 0));
}

int cmd_suppress_brake_policy(struct ctl *ctl)
{
	int status = database_query(
		ctl,
		"UPDATE waybill.brake_policy SET percent = coalesce($1::integer, percent), "
		"minutes = coalesce($2::integer, minutes), least = coalesce($3::integer, least), "
		"hold = coalesce($4::interval, hold)",
		PARAMS(option(ctl, "percent"), option(ctl, "minutes"), option(ctl, "least"), option(ctl, "hold")),
		NULL);
	return status ? status
		      : database_print(ctl, OUTPUT_RECORD, NULL,
				       "SELECT percent, minutes, least, hold FROM waybill.brake_policy", NO_PARAMS);
}

int cmd_suppress_domains(struct ctl *ctl)
{
	return database_print(ctl, OUTPUT_LIST, "no domain is refused for every customer",
			      "SELECT domain, reason, in_force, expires_at, customers, messages, rule, event_id, note "
			      "FROM support.dead_domains ORDER BY domain",
			      NO_PARAMS);
}

int cmd_suppress_add_domain(struct ctl *ctl)
{
	char domain[ADDR_MAX_DOMAIN + 1];
	int status = check_domain(operand(ctl, 0), domain);
	if (status)
		return status;
	long added =
		database_count(ctl,
			       "INSERT INTO waybill.dead_domains AS d (domain, reason, note, expires_at) VALUES ($1, "
			       "'manual', coalesce($2, ''), coalesce(waybill.point_in_time($3), now() + interval "
			       "'7 days')) ON CONFLICT (domain) DO UPDATE SET reason = excluded.reason, note = "
			       "excluded.note, expires_at = excluded.expires_at, created_at = now(), customers = 0, "
			       "messages = 0, event_id = NULL, rule = NULL WHERE d.expires_at <= now() RETURNING 1",
			       PARAMS(domain, option(ctl, "note"), option(ctl, "until")), &status);
	return added ? status
		     : complain(EX_CANTCREAT, "waybill suppress domains",
				"%s is refused for every customer already: nothing was changed", domain);
}

int cmd_suppress_remove_domain(struct ctl *ctl)
{
	char domain[ADDR_MAX_DOMAIN + 1];
	int status = check_domain(operand(ctl, 0), domain);
	if (status)
		return status;
	long rows = database_count(ctl,
				   "WITH proof AS (DELETE FROM waybill.domain_failures WHERE domain = $1) "
				   "DELETE FROM waybill.dead_domains WHERE domain = $1 RETURNING 1",
				   PARAMS(domain), &status);
	return rows ? status
		    : complain(EX_NOUSER, "waybill suppress domains", "%s is not refused for every customer", domain);
}

int cmd_suppress_domain_policy(struct ctl *ctl)
{
	int status = database_query(
		ctl,
		"UPDATE waybill.dead_domain_policy SET enabled = coalesce($1::boolean, enabled), customers = "
		"coalesce($2::integer, customers), messages = coalesce($3::integer, messages), within = "
		"coalesce($4::interval, within), apart = coalesce($5::interval, apart), keep = "
		"coalesce($6::interval, keep), most = coalesce($7::integer, most)",
		PARAMS(option(ctl, "enable"), option(ctl, "customers"), option(ctl, "messages"), option(ctl, "within"),
		       option(ctl, "apart"), option(ctl, "keep"), option(ctl, "most")),
		NULL);
	return status ? status
		      : database_print(ctl, OUTPUT_RECORD, NULL,
				       "SELECT enabled, customers, messages, within, apart, keep, most "
				       "FROM waybill.dead_domain_policy",
				       NO_PARAMS);
}
