#include <stdio.h>

#include "milter/meter.h"

static int64_t cost_of(enum limit_unit unit, int64_t recipients, int64_t bytes)
{
	switch (unit) {
	case LIMIT_MESSAGES: return 1;
	case LIMIT_RECIPIENTS: return recipients;
	case LIMIT_BYTES: return bytes;
	case LIMIT_UNIT_MAX: break;
	}
	return 0;
}

static bool add_item(const struct meter *meter, const struct limit *limit, struct text subject, int64_t recipients,
		     struct counters_request *request)
{
	if (request->count == COUNTERS_MAX_ITEMS)
		return false;
	struct counters_item *item = &request->items[request->count++];
	*item = (struct counters_item){.limit = *limit, .subject = subject};
	item->cost = cost_of(limit->unit, recipients, session_size(meter->session));
	/* The relay's own days are UTC's; a customer's are those of its time zone. */
	int32_t offset = limit->scope == LIMIT_RELAY ? 0 : directory_offset_at(meter->customer->offsets, meter->now_s);
	if (limit_is_quota(limit->spec.period))
		limit_window(limit->spec.period, meter->now_s, offset, &item->window_start, &item->window_end);
	return true;
}

static bool add_destinations(const struct meter *meter, const struct limit *limit, struct counters_request *request)
{
	const struct session *session = meter->session;
	for (size_t i = 0; i < session->destination_count; i++) {
		struct text domain = session_destination(session, i);
		if (limit->destination.len && !text_equal_fold(domain, limit->destination))
			continue;
		if (!add_item(meter, limit, domain, session->destinations[i].recipients, request))
			return false;
	}
	return true;
}

static bool add_list(const struct meter *meter, struct directory_list list, struct text subject,
		     struct counters_request *request)
{
	struct limit limit;
	while (directory_limit_next(&list, &limit)) {
		bool added = limit.scope == LIMIT_DESTINATION
				     ? add_destinations(meter, &limit, request)
				     : add_item(meter, &limit, subject, meter->session->recipients, request);
		if (!added)
			return false;
	}
	return true;
}

bool meter_network(struct text login, struct text client, char out[METER_NETWORK_SIZE])
{
	struct network address;
	char text[NETWORK_TEXT_MAX];
	if (network_parse(client, &address))
		return false;
	address = network_of_source(&address);
	network_print(&address, text);
	int len = snprintf(out, METER_NETWORK_SIZE, "%.*s/%s", TEXT_ARG(login), text);
	return len > 0 && len < METER_NETWORK_SIZE;
}

static bool settle_login(const struct meter *meter, struct counters_request *request)
{
	struct directory_list list = meter->login->limits;
	struct limit limit;
	while (directory_limit_next(&list, &limit)) {
		struct text subject = limit.scope == LIMIT_LOGIN     ? meter->login->name
				      : limit.scope == LIMIT_NETWORK ? meter->network
								     : TEXT("");
		if (!subject.len || limit.unit != LIMIT_BYTES)
			continue;
		if (!add_item(meter, &limit, subject, 0, request))
			return false;
		request->items[request->count - 1].settles = true;
	}
	return true;
}

bool meter_request(const struct meter *meter, char instance[METER_INSTANCE_SIZE], struct counters_request *request)
{
	snprintf(instance, METER_INSTANCE_SIZE, METER_INSTANCE "%lld", (long long)meter->now_s);
	request->customer = meter->customer->name;
	request->instance = text_of(instance);
	request->count = 0;
	if (!settle_login(meter, request) || !add_list(meter, meter->relay->limits, TEXT("*"), request) ||
	    !add_list(meter, meter->customer->limits, meter->customer->name, request))
		return false;
	return !meter->domain || add_list(meter, meter->domain->limits, meter->domain->name, request);
}

size_t meter_tightest(const struct counters_request *request, const struct counters_result *result)
{
	size_t tightest = SIZE_MAX;
	double most = -1;
	for (size_t i = 0; i < result->count && i < request->count; i++) {
		const struct limit_usage *usage = &result->usage[i];
		double share = usage->allowed_units
				       ? (double)(usage->used + request->items[i].cost) / (double)usage->allowed_units
				       : 1;
		if (share > most) {
			most = share;
			tightest = i;
		}
	}
	return tightest;
}

bool meter_is_never(const struct counters_item *item)
{
	const struct limit_spec *spec = &item->limit.spec;
	return spec->amount > 0 && limit_cost(spec, item->cost) > limit_room(spec);
}

int64_t meter_retry_s(const struct limit_usage *usage)
{
	return usage->retry_after_us == INT64_MAX ? METER_PAUSE_S : usage->retry_after_us / 1000000 + 1;
}

void meter_limit_print(const struct limit *limit, char *out)
{
	char spec[LIMIT_SPEC_TEXT_MAX];
	limit_spec_print(&limit->spec, spec);
	snprintf(out, METER_LIMIT_TEXT, "%.*s %s", TEXT_ARG(text_head(limit->id, LIMIT_ID_MAX)), spec);
}
