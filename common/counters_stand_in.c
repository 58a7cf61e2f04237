/* Redis is away: see counters_stand_in.h. */

#include "common/counters_stand_in.h"

static enum counters_unavailable rule_of(const enum counters_unavailable *rules, const struct counters_item *item)
{
	return rules[item->limit.scope];
}

static enum counters_unavailable strictest(const enum counters_unavailable *rules,
					   const struct counters_request *request)
{
	enum counters_unavailable strictest = request->count ? COUNTERS_FALL_ACCEPT : COUNTERS_FALL_LOCAL;
	for (size_t i = 0; i < request->count; i++) {
		enum counters_unavailable rule = rule_of(rules, &request->items[i]);
		if (rule == COUNTERS_FALL_DEFER)
			return rule;
		if (rule == COUNTERS_FALL_LOCAL)
			strictest = rule;
	}
	return strictest;
}

/* PART is REQUEST with those limits alone that are counted here. */
static void select_local(const enum counters_unavailable *rules, const struct counters_request *request,
			 struct counters_request *part)
{
	*part = *request;
	part->count = 0;
	for (size_t i = 0; i < request->count; i++)
		if (rule_of(rules, &request->items[i]) == COUNTERS_FALL_LOCAL)
			part->items[part->count++] = request->items[i];
}

/* The answer over the part, as one over the whole: each limit at its own place. */
static void spread(const enum counters_unavailable *rules, const struct counters_request *request,
		   const struct counters_result *part, struct counters_result *result)
{
	size_t at = 0;
	*result = *part;
	if (!part->count)
		return;
	result->count = request->count;
	for (size_t i = 0; i < request->count; i++) {
		const struct limit_spec *spec = &request->items[i].limit.spec;
		if (rule_of(rules, &request->items[i]) != COUNTERS_FALL_LOCAL) {
			result->usage[i] = (struct limit_usage){
				.allowed = true,
				.allowed_units = limit_is_quota(spec->period) ? spec->amount : spec->burst};
			continue;
		}
		if (at == part->binding)
			result->binding = i;
		result->usage[i] = part->usage[at++];
	}
}

static void shorten_waits(struct counters_result *result)
{
	const int64_t longest_us = COUNTERS_STAND_IN_RETRY_S * INT64_C(1000000);
	for (size_t i = 0; i < result->count; i++)
		if (result->usage[i].retry_after_us > longest_us)
			result->usage[i].retry_after_us = longest_us;
}

void counters_stand_in(struct counters_local *local, const enum counters_unavailable *rules,
		       const struct counters_request *request, struct counters_result *result)
{
	enum counters_unavailable rule = strictest(rules, request);
	struct counters_request part;
	struct counters_result counted;
	*result = (struct counters_result){.answer = COUNTERS_UNAVAILABLE, .rule = rule};
	if (rule != COUNTERS_FALL_LOCAL || !local)
		return;
	select_local(rules, request, &part);
	counters_local_charge(local, &part, &counted);
	spread(rules, request, &counted, result);
	result->stood_in = true;
	shorten_waits(result);
}
