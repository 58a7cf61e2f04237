/* The decision: see decide.h. */

#include <string.h>

#include "policyd/decide.h"

#define SECOND_US INT64_C(1000000)

bool decide_wants_rights(const struct request *request)
{
	return request->state != REQUEST_AT_OTHER;
}

bool decide_wants_limits(const struct request *request)
{
	return request->state == REQUEST_AT_DATA;
}

static struct verdict refuse(enum reply_reason reason, struct text detail)
{
	return (struct verdict){.reason = reason, .detail = detail};
}

static struct verdict allow(void)
{
	return (struct verdict){.reason = REPLY_ALLOWED};
}

static bool network_allowed(const struct directory_login *login, struct text client)
{
	struct directory_list networks = login->networks;
	struct network net, address;
	if (!networks.bytes.len)
		return true;
	if (network_parse(client, &address))
		return false;
	while (directory_network_next(&networks, &net))
		if (network_contains(&net, &address))
			return true;
	return false;
}

bool decide_is_suspended(const struct directory_customer *customer, int64_t now_s)
{
	return customer->status != DIRECTORY_ACTIVE && (!customer->status_until || customer->status_until > now_s);
}

static struct verdict login_verdict(const struct request *request, const struct decide_facts *facts)
{
	const struct directory_login *login = facts->login;
	if (!request->values[REQUEST_ENCRYPTION].len)
		return refuse(REPLY_NO_TLS, TEXT(""));
	if (!request->values[REQUEST_LOGIN].len)
		return refuse(REPLY_NO_LOGIN, TEXT(""));
	if (!login)
		return refuse(REPLY_LOGIN_UNKNOWN, TEXT(""));
	if (!login->enabled)
		return refuse(REPLY_LOGIN_DISABLED, TEXT(""));
	if (login->suspended_at)
		return refuse(REPLY_LOGIN_SUSPENDED, login->suspended_reason);
	if (login->expires_at && login->expires_at <= facts->now_s)
		return refuse(REPLY_LOGIN_EXPIRED, TEXT(""));
	if (!network_allowed(login, request->values[REQUEST_CLIENT_ADDRESS]))
		return refuse(REPLY_NETWORK, TEXT(""));
	if (decide_is_suspended(facts->customer, facts->now_s)) {
		struct text why = facts->customer->status_reason;
		return refuse(REPLY_CUSTOMER_SUSPENDED, why.len ? why : TEXT("no reason given"));
	}
	return allow();
}

static struct verdict sender_verdict(const struct decide_facts *facts)
{
	struct rights_check check;
	struct right right;
	struct directory_list rights = facts->login->rights;
	if (facts->sender_trouble)
		return refuse(REPLY_SENDER_MALFORMED, text_of(facts->sender_trouble));
	rights_begin(&check, facts->sender, facts->sender_owned);
	while (directory_right_next(&rights, &right))
		rights_add(&check, right);
	switch (check.verdict) {
	case RIGHTS_ALLOWED: return allow();
	case RIGHTS_DENIED: return refuse(REPLY_SENDER_DENIED, TEXT(""));
	case RIGHTS_UNMATCHED:
	case RIGHTS_MAX: break;
	}
	return refuse(facts->sender.domain.len ? REPLY_SENDER_NOT_OWNED : REPLY_SENDER_NULL, TEXT(""));
}

static bool in_force(const struct directory_suppression *suppression, int64_t now_s)
{
	return suppression && (!suppression->expires_at || suppression->expires_at > now_s);
}

static struct verdict recipient_verdict(const struct decide_facts *facts)
{
	if (in_force(facts->suppression, facts->now_s))
		return refuse(REPLY_RECIPIENT_SUPPRESSED, facts->suppression->reason);
	if (in_force(facts->dead_domain, facts->now_s))
		return refuse(REPLY_DOMAIN_DEAD, facts->dead_domain->reason);
	return allow();
}

/* At DATA the recipient is told only when it is the only one: there each has been looked at. */
static struct verdict destination_verdict(const struct request *request, const struct decide_facts *facts)
{
	struct rights_check check;
	struct right right;
	struct directory_list destinations = facts->login->destinations;
	if (!destinations.bytes.len || request->state != REQUEST_AT_RCPT)
		return allow();
	rights_begin(&check, facts->recipient, facts->recipient_owned);
	while (directory_right_next(&destinations, &right))
		rights_add(&check, right);
	return check.verdict == RIGHTS_ALLOWED ? allow() : refuse(REPLY_RECIPIENT_NOT_ALLOWED, TEXT(""));
}

/* Postfix counts for us at DATA alone; a message that was refused some there is whole when it comes again. */
static struct verdict recipients_verdict(const struct request *request, const struct decide_facts *facts)
{
	int64_t allowed = facts->customer->max_recipients;
	int64_t used = request->state == REQUEST_AT_RCPT ? facts->recipients + 1
							 : request_number(request, REQUEST_RECIPIENT_COUNT);
	if (!allowed || used <= allowed)
		return allow();
	return (struct verdict){.reason = REPLY_RECIPIENTS_MANY, .usage = {.used = used - 1, .allowed_units = allowed}};
}

struct verdict decide_rights(const struct request *request, const struct decide_facts *facts)
{
	struct verdict verdict = login_verdict(request, facts);
	if (verdict.reason == REPLY_ALLOWED)
		verdict = sender_verdict(facts);
	if (verdict.reason == REPLY_ALLOWED)
		verdict = destination_verdict(request, facts);
	if (verdict.reason == REPLY_ALLOWED)
		verdict = recipient_verdict(facts);
	if (verdict.reason == REPLY_ALLOWED)
		verdict = recipients_verdict(request, facts);
	return verdict;
}

static int64_t cost_of(enum limit_unit unit, const struct request *request)
{
	int64_t recipients = request_number(request, REQUEST_RECIPIENT_COUNT);
	switch (unit) {
	case LIMIT_MESSAGES: return 1;
	case LIMIT_RECIPIENTS: return recipients ? recipients : 1;
	case LIMIT_BYTES: return request_number(request, REQUEST_SIZE);
	case LIMIT_UNIT_MAX: break;
	}
	return 0;
}

static void print_source(const struct request *request, char out[NETWORK_TEXT_MAX])
{
	struct network address;
	if (network_parse(request->values[REQUEST_CLIENT_ADDRESS], &address)) {
		text_put(TEXT("unknown"), out, NETWORK_TEXT_MAX);
	} else {
		address = network_of_source(&address);
		network_print(&address, out);
	}
}

/* Whom a limit counts; empty for scopes that are the milter's. */
static struct text subject_of(enum limit_scope scope, struct decide_plan *plan)
{
	if (scope == LIMIT_LOGIN)
		return text_of(plan->login);
	if (scope != LIMIT_NETWORK)
		return TEXT("");
	size_t len = strlen(plan->login);
	memcpy(plan->network, plan->login, len);
	plan->network[len] = '/';
	text_put(text_of(plan->source), plan->network + len + 1, sizeof plan->network - len - 1);
	return text_of(plan->network);
}

static const char *plan_item(const struct request *request, const struct decide_facts *facts, const struct limit *limit,
			     struct decide_plan *plan)
{
	size_t n = plan->request.count;
	struct text subject = subject_of(limit->scope, plan);
	if (!subject.len)
		return NULL;
	if (n == COUNTERS_MAX_ITEMS)
		return "a login has more than 32 limits";
	if (!text_put(limit->id, plan->ids[n], sizeof plan->ids[n]))
		return "a limit's id is too long";
	struct counters_item *item = &plan->request.items[n];
	*item = (struct counters_item){.limit = *limit, .subject = subject, .cost = cost_of(limit->unit, request)};
	item->limit.id = text_of(plan->ids[n]);
	if (limit_is_quota(limit->spec.period))
		limit_window(limit->spec.period, facts->now_s,
			     directory_offset_at(facts->customer->offsets, facts->now_s), &item->window_start,
			     &item->window_end);
	plan->request.count++;
	return NULL;
}

static void plan_watch(const struct request *request, const struct decide_facts *facts, struct decide_plan *plan)
{
	plan->rule = (struct takeover_rule){facts->customer->takeover, facts->login->created_at};
	plan->request.watch = (struct counters_watch){0};
	if (plan->rule.action != TAKEOVER_OFF)
		plan->request.watch = (struct counters_watch){
			.login = text_of(plan->login),
			.network = text_of(plan->source),
			.since = facts->login->guard_since,
			.utc_offset = directory_offset_at(facts->customer->offsets, facts->now_s),
			.recipients = cost_of(LIMIT_RECIPIENTS, request),
		};
}

const char *decide_plan(const struct request *request, const struct decide_facts *facts, struct text node,
			struct decide_plan *plan)
{
	struct directory_list limits = facts->login->limits;
	struct limit limit;
	if (!text_put(facts->customer->name, plan->customer, sizeof plan->customer))
		return "a customer's name is too long";
	if (!text_put(facts->login->name, plan->login, sizeof plan->login))
		return "a login's name is too long";
	plan->request.customer = text_of(plan->customer);
	plan->request.node = node;
	plan->request.queue_id = request->values[REQUEST_QUEUE_ID];
	plan->request.instance = request->values[REQUEST_INSTANCE];
	plan->request.begins = true;
	plan->request.count = 0;
	print_source(request, plan->source);
	plan_watch(request, facts, plan);
	while (directory_limit_next(&limits, &limit)) {
		const char *why = plan_item(request, facts, &limit, plan);
		if (why)
			return why;
	}
	return NULL;
}

/* More than the limit lets pass at once, however long one waits. */
static enum reply_reason never_reason(enum limit_unit unit)
{
	switch (unit) {
	case LIMIT_BYTES: return REPLY_LIMIT_SIZE;
	case LIMIT_RECIPIENTS: return REPLY_LIMIT_RECIPIENTS;
	case LIMIT_MESSAGES:
	case LIMIT_UNIT_MAX: break;
	}
	return REPLY_LIMIT_LATE;
}

/* This host's part of a limit refuses nothing for good (STOOD_IN). A limit of 0 is a pause. */
static enum reply_reason limit_reason(const struct limit *limit, const struct limit_usage *usage, bool stood_in)
{
	bool pause = !limit->spec.amount;
	if (limit->action == LIMIT_HOLD)
		return REPLY_LIMIT_HELD;
	if (usage->retry_after_us == INT64_MAX && !pause)
		return never_reason(limit->unit);
	if (limit->action == LIMIT_REJECT && !stood_in)
		return REPLY_LIMIT_REJECTED;
	return usage->retry_after_us / SECOND_US > DECIDE_LATE_S && !pause ? REPLY_LIMIT_LATE : REPLY_LIMIT_DEFERRED;
}

/* Is A nearer to its limit than B? Products instead of quotients: neither exceeds 10^24. */
static bool fuller(const struct limit_usage *a, const struct limit_usage *b)
{
	return (double)a->used * (double)b->allowed_units > (double)b->used * (double)a->allowed_units;
}

/* The limit to name in the log: the first full shadow limit, or the fullest one. */
static struct verdict charged_verdict(const struct decide_plan *plan, const struct counters_result *result)
{
	struct verdict verdict = allow();
	for (size_t i = 0; i < result->count; i++) {
		const struct counters_item *item = &plan->request.items[i];
		struct limit_usage usage = result->usage[i];
		if (!usage.allowed) {
			return (struct verdict){.reason = REPLY_SHADOW, .item = item, .usage = usage};
		}
		usage.used += item->cost;
		if (!verdict.item || fuller(&usage, &verdict.usage)) {
			verdict.item = item;
			verdict.usage = usage;
		}
	}
	return verdict;
}

/* A hold limit stays used up for a message that is asked for again. */
static struct verdict repeated_verdict(const struct decide_plan *plan, bool held)
{
	for (size_t i = 0; held && i < plan->request.count; i++) {
		const struct counters_item *item = &plan->request.items[i];
		const int64_t burst = item->limit.spec.burst;
		if (item->limit.action == LIMIT_HOLD)
			return (struct verdict){.reason = REPLY_LIMIT_HELD,
						.item = item,
						.usage = {.used = burst, .allowed_units = burst}};
	}
	return refuse(REPLY_REPEATED, TEXT(""));
}

static struct verdict binding_verdict(const struct decide_plan *plan, const struct counters_result *result)
{
	const struct counters_item *item = &plan->request.items[result->binding];
	const struct limit_usage *usage = &result->usage[result->binding];
	return (struct verdict){
		.reason = limit_reason(&item->limit, usage, result->stood_in), .item = item, .usage = *usage};
}

struct verdict decide_limits(const struct decide_plan *plan, const struct counters_result *result)
{
	switch (result->answer) {
	case COUNTERS_CHARGED: return result->held ? binding_verdict(plan, result) : charged_verdict(plan, result);
	case COUNTERS_REPEATED: return repeated_verdict(plan, result->held);
	case COUNTERS_REFUSED: return binding_verdict(plan, result);
	case COUNTERS_UNAVAILABLE:
	case COUNTERS_ANSWER_MAX: break;
	}
	if (!plan->request.count)
		return allow();
	return refuse(result->rule == COUNTERS_FALL_ACCEPT ? REPLY_UNCOUNTED : REPLY_COUNTERS_AWAY, TEXT(""));
}

/* A limit's refusal stays, unless the guard refuses for good. */
static enum reply_reason takeover_reason(enum takeover_outcome outcome, enum reply_reason reason)
{
	bool accepted = reply_kind(reason) == REPLY_ACCEPT;
	switch (outcome) {
	case TAKEOVER_SHADOWED: return accepted ? REPLY_TAKEOVER_SHADOW : reason;
	case TAKEOVER_ALERTED: return accepted ? REPLY_TAKEOVER_ALERT : reason;
	case TAKEOVER_HELD: return accepted ? REPLY_TAKEOVER_HELD : reason;
	case TAKEOVER_SUSPENDED: return REPLY_TAKEOVER_SUSPENDED;
	case TAKEOVER_QUIET:
	case TAKEOVER_OUTCOME_MAX: break;
	}
	return reason;
}

void decide_takeover(const struct decide_plan *plan, const struct counters_result *result,
		     const struct takeover_marks *marks, int64_t now_s, struct verdict *verdict)
{
	if (!result->watched)
		return;
	verdict->takeover = (struct decide_takeover){
		.outcome = takeover_judge(marks, &plan->rule, &result->takeover, now_s),
		.score = takeover_score(marks, &result->takeover),
		.facts = result->takeover,
		.marks = marks,
	};
	verdict->reason = takeover_reason(verdict->takeover.outcome, verdict->reason);
}

static void print_limit(const struct limit *limit, char out[DECIDE_LIMIT_TEXT])
{
	text_put(limit->id, out, LIMIT_ID_MAX + 1);
	size_t len = strlen(out);
	out[len] = ' ';
	limit_spec_print(&limit->spec, out + len + 1);
}

/* Rounded up: half a second earlier would be too early. */
static int64_t seconds(int64_t us)
{
	return us == INT64_MAX ? us : (us + SECOND_US - 1) / SECOND_US;
}

struct reply_words decide_words(const struct request *request, struct text customer, const struct verdict *verdict,
				char limit_text[DECIDE_LIMIT_TEXT])
{
	struct reply_words words = {
		.sender = request->values[REQUEST_SENDER],
		.recipient = request->values[REQUEST_RECIPIENT],
		.login = request->values[REQUEST_LOGIN],
		.client = request->values[REQUEST_CLIENT_ADDRESS],
		.customer = customer,
		.detail = verdict->detail,
		.used = verdict->usage.used,
		.allowed = verdict->usage.allowed_units,
	};
	if (!verdict->item)
		return words;
	print_limit(&verdict->item->limit, limit_text);
	words.limit = text_of(limit_text);
	words.retry_after_s = seconds(verdict->usage.retry_after_us);
	if (!verdict->item->limit.spec.amount)
		words.retry_after_s = DECIDE_PAUSE_S;
	return words;
}

static void add_field(struct buffer *out, const char *name, struct text value)
{
	if (!value.len)
		return;
	buffer_add(out, ", ", 2);
	buffer_text(out, text_of(name));
	buffer_char(out, '=');
	buffer_text(out, value);
}

/* Each sign beside its mark. */
static void add_takeover(struct buffer *out, const struct decide_takeover *takeover)
{
	const struct takeover_facts *facts = &takeover->facts;
	const struct takeover_marks *marks = takeover->marks;
	buffer_format(out, ", score=%d/%lld, networks=%lld/%lld", takeover->score.total, (long long)marks->score,
		      (long long)facts->networks, (long long)takeover_networks_mark(marks, facts));
	buffer_format(out, ", volume=%lld/%lld, bounces=%lld/%lld", (long long)facts->volume,
		      (long long)takeover_volume_mark(marks, facts), (long long)facts->bad_mailboxes,
		      (long long)marks->bounces);
}

void decide_log_line(const struct request *request, struct text customer, const struct verdict *verdict,
		     struct buffer *out)
{
	struct text queue_id = request->values[REQUEST_QUEUE_ID];
	buffer_text(out, queue_id.len ? queue_id : TEXT("NOQUEUE"));
	buffer_add(out, ": customer=", 11);
	buffer_text(out, customer.len ? customer : TEXT("-"));
	add_field(out, "login", request->values[REQUEST_LOGIN]);
	add_field(out, "action", text_of(reply_kind_names[reply_kind(verdict->reason)]));
	add_field(out, "reason", text_of(reply_id(verdict->reason)));
	if (verdict->item) {
		add_field(out, "limit", verdict->item->limit.id);
		buffer_format(out, ", used=%lld/%lld", (long long)verdict->usage.used,
			      (long long)verdict->usage.allowed_units);
	}
	if (verdict->takeover.outcome != TAKEOVER_QUIET)
		add_takeover(out, &verdict->takeover);
	buffer_add(out, ", from=<", 8);
	buffer_text(out, request->values[REQUEST_SENDER]);
	buffer_char(out, '>');
	if (request->values[REQUEST_RECIPIENT].len)
		buffer_format(out, ", to=<%.*s>", TEXT_ARG(request->values[REQUEST_RECIPIENT]));
	add_field(out, "client", request->values[REQUEST_CLIENT_ADDRESS]);
	add_field(out, "context", request->values[REQUEST_CONTEXT]);
}
