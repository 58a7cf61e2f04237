/* "waybill classify": what the bounce rules make of a reply, and why; and "waybill rules check". */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "common/classify.h"

#include "ctl/cmd.h"
#include "ctl/cmd_internal.h"
#include "ctl/database.h"

struct rules *rules_of(struct ctl *ctl, const char *path)
{
	char *error = NULL;
	struct rules *rules = rules_load(path ? path : ctl->settings.rules, &error);
	if (!rules)
		complain(EX_DATAERR, "waybill-bouncer goes on with the rules it has until this is right", "%s", error);
	free(error);
	return rules;
}

json_t *verdict_row(const struct rules *rules, const struct reply_facts *facts, const struct verdict *v)
{
	struct text provider = classify_provider(facts->relay, facts->words);
	enum bounce_consequence what = facts->final ? bounce_consequence(v) : CONSEQUENCE_NONE;
	return json_pack("{ss ss ss ss ss so sb ss}", "category", bounce_category_words[v->category], "class",
			 bounce_class_words[v->class], "scope", bounce_scope_words[v->scope], "rule", v->rule,
			 "consequence", bounce_consequence_words[what], "provider",
			 provider.len ? json_stringn(provider.ptr, provider.len) : json_null(), "suppresses",
			 what == CONSEQUENCE_PERMANENT || what == CONSEQUENCE_TEMPORARY, "rules_version",
			 rules_version(rules));
}

static void explain(void *context, const char *rule, const char *place, const char *why_not)
{
	(void)context;
	fprintf(stderr, "%s (%s): %s\n", rule, place, why_not ? why_not : "speaks");
}

static void explain_facts(const struct reply_facts *facts)
{
	struct buffer normal = {0};
	classify_normalise(facts->words, &normal);
	fprintf(stderr, "text: %.*s\n", TEXT_ARG(buffer_view(&normal)));
	buffer_free(&normal);
}

static int facts_from_options(struct ctl *ctl, struct reply_facts *facts)
{
	uint64_t code = 0;
	const char *given = option(ctl, "code");
	const char *why = given ? text_uint(text_of(given), 599, &code) : NULL;
	if (why)
		return complain(EX_USAGE, NULL, "--code %s: %s", given, why);
	*facts = (struct reply_facts){
		.words = text_of(operand(ctl, 0)),
		.code = (uint32_t)code,
		.enhanced = text_of(option(ctl, "enhanced")),
		.stage = text_of(option(ctl, "stage")),
		.relay = text_of(option(ctl, "relay")),
		.final = !option_given(ctl, "deferred"),
		.expired = option_given(ctl, "expired"),
	};
	return 0;
}

static int classify_one(struct ctl *ctl, const struct rules *rules)
{
	struct reply_facts facts;
	struct verdict verdict;
	int status = facts_from_options(ctl, &facts);
	if (status)
		return status;
	if (option_given(ctl, "explain"))
		explain_facts(&facts);
	classify_explain(rules, &facts, &verdict, option_given(ctl, "explain") ? explain : NULL, NULL);
	struct output *output = output_new(OUTPUT_RECORD, ctl->json);
	output_row(output, verdict_row(rules, &facts, &verdict));
	output_end(&output, NULL);
	return 0;
}

static struct text member(const json_t *object, const char *name)
{
	const json_t *value = json_object_get(object, name);
	return json_is_string(value) ? text_at(json_string_value(value), json_string_length(value)) : (struct text){0};
}

static void classify_line(struct output *output, const struct rules *rules, const json_t *line)
{
	struct verdict verdict;
	const struct reply_facts facts = {
		.words = member(line, "text"),
		.code = (uint32_t)json_integer_value(json_object_get(line, "code")),
		.enhanced = member(line, "enhanced"),
		.stage = member(line, "stage"),
		.relay = member(line, "relay"),
		.final = !json_is_true(json_object_get(line, "deferred")),
		.expired = json_is_true(json_object_get(line, "expired")),
	};
	classify(rules, &facts, &verdict);
	output_row(output, verdict_row(rules, &facts, &verdict));
}

/* One JSON object a line: text, code, enhanced, stage, relay, deferred, expired. */
static int classify_many(struct ctl *ctl, const struct rules *rules)
{
	struct output *output = output_new(OUTPUT_LIST, ctl->json);
	char *line = NULL;
	size_t size = 0, number = 0;
	int status = 0;
	while (!status && getline(&line, &size, stdin) > 0) {
		json_error_t error;
		json_t *object = json_loads(line, JSON_ALLOW_NUL, &error);
		number++;
		if (json_is_object(object))
			classify_line(output, rules, object);
		else
			status = complain(EX_DATAERR, NULL, "line %zu: %s", number,
					  object ? "not an object" : error.text);
		json_decref(object);
	}
	free(line);
	output_end(&output, NULL);
	return status;
}

int cmd_classify(struct ctl *ctl)
{
	struct rules *rules = rules_of(ctl, option(ctl, "rules"));
	if (!rules)
		return EX_DATAERR;
	int status = strcmp(operand(ctl, 0), "-") == 0 ? classify_many(ctl, rules) : classify_one(ctl, rules);
	rules_free(&rules);
	return status;
}

static void print_remark(void *context, bool fault, const char *remark)
{
	size_t *faults = context;
	*faults += fault;
	printf("%s%s\n", remark, fault ? "" : " (a remark)");
}

int cmd_rules_check(struct ctl *ctl)
{
	size_t faults = 0;
	struct rules *rules = rules_of(ctl, operand(ctl, 0));
	if (!rules)
		return EX_DATAERR;
	rules_lint(rules, print_remark, &faults);
	remark("%zu rules, version %s, %zu faults", rules_count(rules), rules_version(rules), faults);
	rules_free(&rules);
	return faults ? EX_DATAERR : 0;
}
