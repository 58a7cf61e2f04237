/* The life of a message, or of all mail that went to an address, event by event: support.timeline(). */

#include "ctl/check.h"
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

/* An address as events have it, where it cannot be a Message-ID as well: those are ASCII, and not to be touched. */
static const char *spelled(const char *word, char address[ADDR_MAX + 1])
{
	bool ascii = true;
	for (const char *c = word; *c; c++)
		ascii = ascii && (unsigned char)*c < 0x80;
	return ascii || address_canonical(text_of(word), address) ? word : address;
}

int cmd_trace(struct ctl *ctl)
{
	char address[ADDR_MAX + 1];
	return database_print(ctl, ctl->json ? OUTPUT_LIST : OUTPUT_RECORD,
			      "nothing is known of it: is the log read that far? waybill lag",
			      ctl->json ? for_programs : for_people, PARAMS(spelled(operand(ctl, 0), address)));
}
