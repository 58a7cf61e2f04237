#include <string.h>
#include <sysexits.h>

#include "ctl/check.h"
#include "ctl/cmd.h"
#include "ctl/cmd_internal.h"
#include "ctl/database.h"

int cmd_suppress_add(struct ctl *ctl)
{
	char recipient[ADDR_MAX + 1];
	int status = check_address(operand(ctl, 1), recipient);
	if (!status)
		status = customer_require(ctl, operand(ctl, 0));
	if (status)
		return status;
	long added = database_count(
		ctl,
		"INSERT INTO waybill.suppressions AS s (customer, recipient, reason, note, expires_at) "
		"VALUES ($1, $2, 'manual', coalesce($3, ''), waybill.point_in_time($4)) " SUPPRESSION_ANEW
		"WHERE s.expires_at <= now() RETURNING 1",
		PARAMS(operand(ctl, 0), recipient, option(ctl, "note"), option(ctl, "until")), &status);
	if (added == 0)
		return complain(EX_CANTCREAT, "waybill suppress list CUSTOMER --recipient ADDRESS",
				"%s is suppressed for %s already: nothing was changed", recipient, operand(ctl, 0));
	return status;
}

int cmd_suppress_remove(struct ctl *ctl)
{
	char recipient[ADDR_MAX + 1];
	int status = check_address(operand(ctl, 1), recipient);
	if (status)
		return status;
	long rows = database_count(
		ctl, "DELETE FROM waybill.suppressions WHERE customer = $1 AND recipient = $2 RETURNING 1",
		PARAMS(operand(ctl, 0), recipient), &status);
	return rows ? status
		    : complain(EX_NOUSER, "waybill suppress list CUSTOMER", "%s is not suppressed for %s", recipient,
			       operand(ctl, 0));
}

int cmd_suppress_list(struct ctl *ctl)
{
	int status = customer_require(ctl, operand(ctl, 0));
	if (status)
		return status;
	return database_print(ctl, OUTPUT_LIST, "no suppressions",
			      "SELECT recipient, reason, in_force, expires_at, event_id, rule, (SELECT a.who FROM "
			      "support.audit a WHERE a.object = 'suppression ' || s.customer || ' ' || s.recipient "
			      "AND a.at >= s.created_at ORDER BY a.id DESC LIMIT 1) AS who, note, created_at "
			      "FROM support.suppressions s WHERE customer = $1 AND recipient = coalesce($2, recipient) "
			      "ORDER BY recipient",
			      PARAMS(operand(ctl, 0), option(ctl, "recipient")));
}
