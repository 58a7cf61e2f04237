/* What was posted to endpoints: a test, attempts made, and events once more. */

#include <stdlib.h>
#include <sysexits.h>
#include <time.h>

#include "ctl/cmd.h"
#include "ctl/cmd_internal.h"
#include "ctl/database.h"

/* How long cmd_endpoint_test waits for the answer: as long as a POST to the endpoint may take, webhookd's greatest limit when
 * it has none of its own; as long as an event of it waits for company; and a little for polls and records. */
#define TEST_WAIT_SQL "coalesce(timeout_s, 30) + CASE WHEN batch_max > 1 THEN batch_wait_s ELSE 0 END + 5"
#define TEST_STEP_MS  100

#define ATTEMPT_COLUMNS                                                                                              \
	"a.started_at, a.event_id, a.batch, e.type, a.attempt, d.state, a.status, a.duration_ms, a.error, a.answer " \
	"AS said "                                                                                                   \
	"FROM support.attempts a JOIN waybill.deliveries d USING (customer, endpoint, event_id) "                    \
	"LEFT JOIN waybill.events e ON e.customer = a.customer AND e.occurred_at = d.occurred_at "                   \
	"AND e.event_id = a.event_id "

/* Has the attempt been recorded? As database_exists(). */
static int attempted(struct ctl *ctl, const char *event_id, int64_t wait_s)
{
	const struct timespec step = {.tv_nsec = TEST_STEP_MS * 1000000L};
	int status = 1;
	for (int64_t waited = 0; status == 1 && waited < wait_s * 1000; waited += TEST_STEP_MS) {
		nanosleep(&step, NULL);
		status = database_exists(ctl, "SELECT FROM support.attempts WHERE endpoint = $1 AND event_id = $2",
					 PARAMS(operand(ctl, 0), event_id));
	}
	return status;
}

static int show_test(struct ctl *ctl, const char *event_id, int64_t wait_s)
{
	int status = attempted(ctl, event_id, wait_s);
	if (status == 1)
		return complain(EX_TEMPFAIL,
				"is waybill-webhookd running, and the endpoint active and not failing? "
				"waybill endpoint show ENDPOINT",
				"%s was not posted within %lld s; it stays owed", event_id, (long long)wait_s);
	if (status)
		return status;
	status = database_print(ctl, OUTPUT_RECORD, NULL,
				"SELECT " ATTEMPT_COLUMNS "WHERE a.endpoint = $1 AND a.event_id = $2 AND a.attempt = 1",
				PARAMS(operand(ctl, 0), event_id));
	if (status)
		return status;
	return database_exists(ctl,
			       "SELECT FROM waybill.deliveries WHERE endpoint = $1 AND event_id = $2 "
			       "AND state = 'delivered'",
			       PARAMS(operand(ctl, 0), event_id));
}

int cmd_endpoint_test(struct ctl *ctl)
{
	struct pg_result *result;
	int status = database_query(ctl,
				    "SELECT waybill.test_endpoint(customer, endpoint), " TEST_WAIT_SQL
				    " FROM waybill.endpoints WHERE endpoint = $1",
				    PARAMS(operand(ctl, 0)), &result);
	if (status)
		return status;
	status = pg_rows(result) ? show_test(ctl, pg_string(result, 0, 0), pg_int(result, 0, 1))
				 : endpoint_missing(operand(ctl, 0));
	pg_result_free(&result);
	return status;
}

/* The operands behind the endpoint as an array; NULL when there are none. */
static const char *named_events(struct ctl *ctl, struct buffer *array)
{
	if (!ctl->rest_count)
		return NULL;
	buffer_char(array, '{');
	for (size_t i = 0; i < ctl->rest_count; i++)
		buffer_format(array, "%s%s", i ? "," : "", ctl->rest[i]);
	buffer_char(array, '}');
	return buffer_string(array);
}

int cmd_endpoint_replay(struct ctl *ctl)
{
	struct buffer events = {0};
	bool failed = option_given(ctl, "failed");
	if (!ctl->rest_count && !failed && !option(ctl, "since"))
		return complain(EX_USAGE,
				"waybill endpoint replay ENDPOINT EVENT, or --failed, or --since \"2 hours ago\"",
				"replay what?");
	int status = endpoint_require(ctl, operand(ctl, 0));
	if (!status)
		status = database_print(
			ctl, OUTPUT_RECORD, NULL,
			"SELECT waybill.replay(customer, endpoint, $2::text[], $3::boolean, "
			"CASE WHEN $4 LIKE '% ago' THEN now() + $4::interval ELSE waybill.point_in_time($4) END, "
			"CASE WHEN $5 LIKE '% ago' THEN now() + $5::interval ELSE waybill.point_in_time($5) END) AS "
			"replayed "
			"FROM waybill.endpoints WHERE endpoint = $1",
			PARAMS(operand(ctl, 0), named_events(ctl, &events), failed ? "true" : "false",
			       option(ctl, "since"), option(ctl, "until")));
	buffer_free(&events);
	return status;
}

int cmd_endpoint_log(struct ctl *ctl)
{
	int status = endpoint_require(ctl, operand(ctl, 0));
	if (status)
		return status;
	return database_print(
		ctl, OUTPUT_LIST, "no attempts",
		"SELECT " ATTEMPT_COLUMNS
		"WHERE a.endpoint = $1 AND ($2::text IS NULL OR a.event_id = $2 OR a.batch = $2) "
		"AND ($3::text IS NULL OR a.status IS NULL OR a.status NOT BETWEEN 200 AND 299) "
		"ORDER BY a.started_at DESC, a.attempt DESC LIMIT coalesce($4, '50')::int",
		PARAMS(operand(ctl, 0), option(ctl, "event"), option(ctl, "failed"), option(ctl, "limit")));
}
