#include <sysexits.h>

#include "ctl/check.h"
#include "ctl/cmd.h"
#include "ctl/cmd_internal.h"
#include "ctl/database.h"

static int check_destination(struct ctl *ctl, char destination[ADDR_MAX_DOMAIN + 1])
{
	const char *word = option(ctl, "destination");
	destination[0] = '\0';
	if (!word)
		return 0;
	if (!text_equal(text_of(operand(ctl, 1)), TEXT("destination")))
		return complain(EX_USAGE, NULL, "--destination is for limits of scope destination");
	return check_domain(word, destination);
}

static int check_words(struct ctl *ctl, char spec[LIMIT_SPEC_TEXT_MAX], char destination[ADDR_MAX_DOMAIN + 1])
{
	const char *action = option(ctl, "action");
	int status = check_choice("scope", operand(ctl, 1), limit_scope_names, LIMIT_SCOPE_MAX);
	if (!status)
		status = check_choice("unit", operand(ctl, 2), limit_unit_names, LIMIT_UNIT_MAX);
	if (!status && action)
		status = check_choice("action", action, limit_action_names, LIMIT_ACTION_MAX);
	if (!status)
		status = check_destination(ctl, destination);
	return status ? status : check_spec(operand(ctl, 3), spec);
}

/* The customer that the limit belongs to: named, or that of the login or domain. "" for the relay's. */
static int find_customer(struct ctl *ctl, char *out, size_t size)
{
	struct pg_result *result = NULL;
	const char *customer = option(ctl, "customer"), *login = option(ctl, "login"), *domain = option(ctl, "domain");
	out[0] = '\0';
	if (!customer && !login && !domain)
		return 0;
	int status = database_query(ctl,
				    "SELECT customer FROM waybill.customers WHERE customer = $1 "
				    "UNION SELECT customer FROM waybill.logins WHERE login = lower($2) "
				    "UNION SELECT customer FROM waybill.domains WHERE domain = lower($3)",
				    PARAMS(customer, login, domain), &result);
	if (status)
		return status;
	if (pg_rows(result) == 1)
		text_put(pg_field(result, 0, 0), out, size);
	else if (pg_rows(result))
		status = complain(EX_DATAERR, NULL, "customer, login and domain do not belong together");
	else
		status = complain(EX_NOUSER, "waybill customer list", "there is no such customer, login or domain");
	pg_result_free(&result);
	return status;
}

int cmd_limit_set(struct ctl *ctl)
{
	char spec[LIMIT_SPEC_TEXT_MAX], destination[ADDR_MAX_DOMAIN + 1], customer[64];
	int status = check_words(ctl, spec, destination);
	if (!status)
		status = find_customer(ctl, customer, sizeof(customer));
	if (status)
		return status;
	bool relay = text_equal(text_of(operand(ctl, 1)), TEXT("relay"));
	if (!relay && !*customer)
		return complain(EX_USAGE, "repeat it with --customer CUSTOMER, --login LOGIN or --domain DOMAIN",
				"whom does the limit count? Only scope relay needs nobody");
	/* An id names one limit of the installation: it must not be taken from another customer by mistake. */
	long set = database_count(
		ctl,
		"INSERT INTO waybill.limits AS l (id, scope, unit, spec, customer, login, domain, action, destination) "
		"VALUES ($1, $2, $3, $4, nullif($5, ''), lower($6), lower($7), coalesce($8, 'defer'), nullif($9, '')) "
		"ON CONFLICT (id) DO UPDATE SET scope = EXCLUDED.scope, unit = EXCLUDED.unit, "
		"spec = EXCLUDED.spec, login = EXCLUDED.login, domain = EXCLUDED.domain, destination = "
		"EXCLUDED.destination, action = EXCLUDED.action WHERE l.customer IS NOT DISTINCT FROM "
		"EXCLUDED.customer RETURNING 1",
		PARAMS(operand(ctl, 0), operand(ctl, 1), operand(ctl, 2), spec, relay ? "" : customer,
		       option(ctl, "login"), option(ctl, "domain"), option(ctl, "action"), destination),
		&status);
	if (set == 0)
		return complain(EX_CANTCREAT, "waybill limit list",
				"limit \"%s\" belongs to another customer: nothing was changed", operand(ctl, 0));
	return status;
}

int cmd_limit_list(struct ctl *ctl)
{
	return database_print(
		ctl, OUTPUT_LIST, "no limits: waybill limit set ID SCOPE UNIT SPEC --customer CUSTOMER",
		"SELECT id, scope, customer, login, domain, destination, unit, spec, action FROM support.limits "
		"WHERE customer IS NOT DISTINCT FROM coalesce($1, customer) ORDER BY customer, scope, id",
		PARAMS(option(ctl, "customer")));
}

int cmd_limit_remove(struct ctl *ctl)
{
	int status;
	long rows = database_count(ctl, "DELETE FROM waybill.limits WHERE id = $1 RETURNING 1", PARAMS(operand(ctl, 0)),
				   &status);
	return rows ? status : complain(EX_NOUSER, "waybill limit list", "there is no limit \"%s\"", operand(ctl, 0));
}
