/* How long events take: how far the logs are read, then the way of webhooks in the last hour. */

#include "ctl/cmd.h"
#include "ctl/database.h"

int cmd_lag(struct ctl *ctl)
{
	int status = database_print(
		ctl, OUTPUT_LIST, "no log has been read yet: is waybill-bouncer running?",
		"SELECT source, bytes_behind, log_time, age, open_messages FROM support.lag ORDER BY source",
		NO_PARAMS);
	if (status)
		return status;
	return database_print(
		ctl, OUTPUT_LIST, "no endpoints: waybill endpoint add CUSTOMER URL",
		"SELECT customer, endpoint, status, due, events, round(recorded_p50::numeric, 3) AS recorded_p50, "
		"round(recorded_p99::numeric, 3) AS recorded_p99, round(posted_p50::numeric, 3) AS posted_p50, "
		"round(posted_p99::numeric, 3) AS posted_p99, round(delivered_p50::numeric, 3) AS delivered_p50, "
		"round(delivered_p99::numeric, 3) AS delivered_p99 FROM support.webhook_lag "
		"WHERE customer = coalesce($1, customer) ORDER BY customer, endpoint",
		PARAMS(option(ctl, "customer")));
}
