#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/counters_sync.h"

#include "ctl/database.h"
#include "ctl/takeover.h"

/* What Postgres knows of the login. */
struct subject {
	struct pg_result *row;
	struct takeover_rule rule;
	struct counters_watch watch;
};

static int find_subject(struct ctl *ctl, const char *login, struct subject *out)
{
	static const char query[] =
		"SELECT l.customer, l.login, c.takeover, extract(epoch FROM l.created_at)::bigint, "
		"coalesce(extract(epoch FROM l.guard_since)::bigint, 0), "
		"extract(epoch FROM now() AT TIME ZONE c.time_zone - now() AT TIME ZONE 'UTC')::bigint "
		"FROM waybill.logins AS l JOIN waybill.customers AS c USING (customer) WHERE l.login = lower($1)";
	int status = database_query(ctl, query, PARAMS(login), &out->row);
	if (status || !pg_rows(out->row))
		return status;
	for (int i = 0; i < TAKEOVER_ACTION_MAX; i++)
		if (text_equal(pg_field(out->row, 0, 2), text_of(takeover_action_names[i])))
			out->rule.action = (enum takeover_action)i;
	out->rule.created_at = pg_int(out->row, 0, 3);
	out->watch = (struct counters_watch){.login = pg_field(out->row, 0, 1),
					     .since = pg_int(out->row, 0, 4),
					     .utc_offset = (int32_t)pg_int(out->row, 0, 5),
					     .looks = true};
	return 0;
}

/* False when the counters tell nothing. */
static bool ask(struct ctl *ctl, const struct subject *subject, struct takeover_facts *facts)
{
	struct counters_options options = counters_options_of(&ctl->settings.redis);
	/* A file made by root would be none of the daemons'. */
	if (!options.only_local || !options.local_path || access(options.local_path, F_OK) != 0)
		options.local_path = NULL;
	struct counters *counters = counters_new(&options);
	struct counters_request request = {.customer = pg_field(subject->row, 0, 0), .watch = subject->watch};
	struct counters_result result;
	counters_charge(counters, &request, &result);
	counters_free(&counters);
	*facts = result.takeover;
	return result.watched;
}

static json_t *sign(int64_t count, int64_t usual, int64_t mark, int points)
{
	return json_pack("{s:I, s:I, s:I, s:i}", "count", (json_int_t)count, "usual", (json_int_t)usual, "mark",
			 (json_int_t)mark, "points", points);
}

static json_t *describe(const struct takeover_marks *marks, const struct takeover_rule *rule,
			const struct takeover_facts *facts)
{
	struct takeover_score score = takeover_score(marks, facts);
	enum takeover_outcome outcome = takeover_judge(marks, rule, facts, time(NULL));
	struct buffer words = {0};
	takeover_describe(marks, facts, &words);
	json_t *object = json_pack(
		"{s:s, s:s, s:i, s:I, s:s, s:o, s:o, s:o}", "action", takeover_action_names[rule->action], "outcome",
		takeover_outcome_names[outcome], "score", score.total, "threshold", (json_int_t)marks->score, "words",
		buffer_string(&words), "networks",
		sign(facts->networks, facts->networks_usual, takeover_networks_mark(marks, facts), score.networks),
		"volume", sign(facts->volume, facts->volume_usual, takeover_volume_mark(marks, facts), score.volume),
		"bounces", sign(facts->bad_mailboxes, 0, marks->bounces, score.bounces));
	buffer_free(&words);
	return object;
}

static void add_shadow(json_t *object, int64_t until_s)
{
	char text[32] = "";
	time_t until = (time_t)until_s;
	struct tm utc;
	if (until_s > time(NULL) && gmtime_r(&until, &utc))
		strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc);
	json_object_set_new(object, "shadow_until", *text ? json_string(text) : json_null());
}

/* "suspend, only watched until 2026-11-28T12:00:00Z; score 20 of 80: …". */
static json_t *in_words(const json_t *object)
{
	struct buffer out = {0};
	const char *until = json_string_value(json_object_get(object, "shadow_until"));
	const char *words = json_string_value(json_object_get(object, "words"));
	const char *trouble = json_string_value(json_object_get(object, "trouble"));
	buffer_format(&out, "%s", json_string_value(json_object_get(object, "action")));
	if (until)
		buffer_format(&out, ", only watched until %s", until);
	buffer_format(&out, "; %s", words ? words : trouble);
	json_t *text = json_string(buffer_string(&out));
	buffer_free(&out);
	return text;
}

int takeover_add(struct ctl *ctl, const char *login, json_t *row)
{
	struct subject subject = {0};
	struct takeover_facts facts;
	struct takeover_marks marks = takeover_marks_of(&ctl->settings.takeover);
	int status = find_subject(ctl, login, &subject);
	if (!status && pg_rows(subject.row)) {
		json_t *object = ask(ctl, &subject, &facts)
					 ? describe(&marks, &subject.rule, &facts)
					 : json_pack("{s:s, s:s}", "action", takeover_action_names[subject.rule.action],
						     "trouble", "the counters do not answer: the guard pauses");
		add_shadow(object, takeover_shadow_until(&marks, &subject.rule));
		json_object_set_new(row, "takeover", ctl->json ? json_incref(object) : in_words(object));
		json_decref(object);
	}
	pg_result_free(&subject.row);
	return status;
}
