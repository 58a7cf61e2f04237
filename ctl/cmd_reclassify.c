/* "waybill reclassify --dry-run": what the rules of today would make of the bounces that are stored. Events are never
 * changed: they say what was decided then. */

#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "common/classify.h"

#include "ctl/cmd.h"
#include "ctl/cmd_internal.h"
#include "ctl/database.h"

#define PAGE "2000"

static const char query[] =
	"SELECT occurred_at::text, event_id, coalesce(nullif(response, ''), reason, ''), smtp_code, enhanced_code, "
	"remote_enhanced_code, stage, remote_mx, type = 'message.bounced', coalesce(response, '') = '' AND smtp_code "
	"IS NULL AND NOT coalesce(bounce_async, false), "
	"bounce_category, coalesce(bounce_rule, ''), customer, recipient, bounce_category = 'expired', "
	"coalesce(bounce_class, ''), coalesce(bounce_scope, '') "
	"FROM waybill.events WHERE type IN ('message.bounced', 'message.deferred') "
	"AND ($1::text IS NULL OR customer = $1) AND occurred_at >= coalesce(waybill.point_in_time($2), '-infinity') "
	"AND (occurred_at, event_id) > (coalesce($3::timestamptz, '-infinity'), coalesce($4, '')) "
	"ORDER BY occurred_at, event_id LIMIT " PAGE;

static void judge_row(const struct rules *rules, const struct pg_result *rows, size_t i, struct verdict *out)
{
	classify(rules,
		 &(struct reply_facts){
			 .words = pg_field(rows, i, 2),
			 .code = (uint32_t)pg_int(rows, i, 3),
			 .enhanced = pg_field(rows, i, 4),
			 .remote_enhanced = pg_field(rows, i, 5),
			 .stage = pg_field(rows, i, 6),
			 .relay = pg_field(rows, i, 7),
			 .final = pg_bool(rows, i, 8),
			 .own = pg_bool(rows, i, 9),
			 .expired = pg_bool(rows, i, 10) && pg_bool(rows, i, 14),
		 },
		 out);
	/* An event that expired was told as such. */
	if (pg_bool(rows, i, 8) && pg_bool(rows, i, 14))
		out->category = CATEGORY_EXPIRED;
}

/* All that consequences follow from. */
static bool is_same(const struct pg_result *rows, size_t i, const struct verdict *v)
{
	return text_equal(pg_field(rows, i, 10), text_of(bounce_category_words[v->category])) &&
	       text_equal(pg_field(rows, i, 15), text_of(bounce_class_words[v->class])) &&
	       text_equal(pg_field(rows, i, 16), text_of(bounce_scope_words[v->scope]));
}

static void print_change(struct output *output, const struct pg_result *rows, size_t i, const struct verdict *v)
{
	output_row(output,
		   json_pack("{ss ss ss* ss* ss ss ss ss ss ss ss ss}", "event_id", pg_string(rows, i, 1), "customer",
			     pg_string(rows, i, 12), "recipient", pg_string(rows, i, 13), "was", pg_string(rows, i, 10),
			     "was_class", pg_string(rows, i, 15), "was_scope", pg_string(rows, i, 16), "was_rule",
			     pg_string(rows, i, 11), "is", bounce_category_words[v->category], "is_class",
			     bounce_class_words[v->class], "is_scope", bounce_scope_words[v->scope], "is_rule", v->rule,
			     "text", pg_string(rows, i, 2)));
}

struct counts {
	size_t seen, changed;
};

static void judge_page(struct output *output, const struct rules *rules, const struct pg_result *rows,
		       struct counts *counts)
{
	for (size_t i = 0; i < pg_rows(rows); i++) {
		struct verdict verdict;
		judge_row(rules, rows, i, &verdict);
		counts->seen++;
		if (is_same(rows, i, &verdict))
			continue;
		counts->changed++;
		print_change(output, rows, i, &verdict);
	}
}

int cmd_reclassify(struct ctl *ctl)
{
	char *at = NULL, *id = NULL;
	struct counts counts = {0};
	size_t got = 1;
	int status = 0;
	if (!option_given(ctl, "dry-run"))
		return complain(EX_USAGE, "waybill reclassify --dry-run",
				"stored events are not changed: they say what was decided");
	struct rules *rules = rules_of(ctl, option(ctl, "rules"));
	if (!rules)
		return EX_DATAERR;
	struct output *output = output_new(OUTPUT_LIST, ctl->json);
	while (!status && got) {
		struct pg_result *rows = NULL;
		status = database_query(ctl, query, PARAMS(option(ctl, "customer"), option(ctl, "since"), at, id),
					&rows);
		got = status ? 0 : pg_rows(rows);
		if (got) {
			judge_page(output, rules, rows, &counts);
			free(at);
			free(id);
			at = text_copy(pg_field(rows, got - 1, 0));
			id = text_copy(pg_field(rows, got - 1, 1));
		}
		pg_result_free(&rows);
	}
	output_end(&output, "nothing would change");
	remark("%zu of %zu bounces would be judged otherwise (rules %s)", counts.changed, counts.seen,
	       rules_version(rules));
	free(at);
	free(id);
	rules_free(&rules);
	return status;
}
