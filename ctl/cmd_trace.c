/* The life of a message, or of all mail that went to an address, event by event: support.timeline(). */

#include "ctl/cmd.h"
#include "ctl/database.h"

/* For people the columns that fit on a screen, for programs all of them. */
static const char for_people[] = "SELECT to_char(occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.MS') AS "
				 "at_utc, type, recipient, customer, "
				 "sasl_username AS login, queue_id, attempt, coalesce(enhanced_code, '') AS code, "
				 "coalesce(category, '') AS category, "
				 "remote_mx, remote_ip, tag, coalesce(reason, detail::text) AS reason "
				 "FROM support.timeline($1)";
static const char for_programs[] = "SELECT * FROM support.timeline($1)";

int cmd_trace(struct ctl *ctl)
{
	return database_print(ctl, ctl->json ? OUTPUT_LIST : OUTPUT_RECORD,
			      "nothing is known of it: is the log read that far? waybill lag",
			      ctl->json ? for_programs : for_people, PARAMS(operand(ctl, 0)));
}
