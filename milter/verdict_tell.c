#include "common/digest.h"
#include "common/spool.h"

#include "milter/stats.h"
#include "milter/verdict_internal.h"
#include "milter/warnings.h"

static void add_word(struct buffer *log, const char *name, struct text value)
{
	if (value.len)
		buffer_format(log, "%s%s=%.*s", log->len ? ", " : "", name, TEXT_ARG(value));
}

static void log_usage(const struct work *work, struct buffer *log)
{
	bool over = work->charge.answer == COUNTERS_REFUSED || work->charge.held;
	size_t i = over ? work->charge.binding : meter_tightest(&work->request, &work->charge);
	if (work->request.count && work->charge.answer == COUNTERS_UNAVAILABLE)
		add_word(log, "limit", TEXT("unavailable"));
	if (i >= work->charge.count)
		return;
	const struct limit_usage *usage = &work->charge.usage[i];
	int64_t charged = over ? 0 : work->request.items[i].cost;
	add_word(log, "limit", work->request.items[i].limit.id);
	buffer_format(log, ", used=%lld/%lld", (long long)(usage->used + charged), (long long)usage->allowed_units);
	if (work->charge.shadowed)
		add_word(log, "shadow", TEXT("over"));
}

static void log_selectors(const struct work *work, const struct verdict *out, struct buffer *log)
{
	if (!out->signature_count)
		return;
	const struct signing_key *keys = work->author.keys;
	const char *separator = ", selector=";
	add_word(log, "domain", work->author.domain.name);
	for (size_t i = 0; i < DIRECTORY_ALGORITHM_MAX; i++) {
		if (!keys[i].entry)
			continue;
		buffer_format(log, "%s%.*s", separator, TEXT_ARG(keys[i].selector));
		separator = "+";
	}
	if (work->relay.keys[DIRECTORY_RSA_SHA256].entry)
		add_word(log, "relay", work->relay.domain.name);
}

static void log_survival(const struct work *work, struct buffer *log)
{
	if (work->finding.problem != SURVIVAL_GOOD)
		buffer_format(log, ", unsafe=%s/%s%zu", survival_id(work->finding.problem),
			      work->finding.in_header ? "field" : "line", work->finding.line);
}

static enum stats_action action_of(enum reply_reason reason, const struct verdict *out)
{
	if (reason != REPLY_NONE)
		return reply_is_permanent(reason) ? STATS_REJECTED : STATS_DEFERRED;
	if (out->action == VERDICT_HOLD)
		return STATS_HELD;
	return out->signature_count ? STATS_SIGNED : STATS_UNSIGNED;
}

/* Postfix's words for it. */
static const char *const action_words[STATS_ACTION_MAX] = {"signed", "unsigned", "hold", "defer", "reject", "ignored"};

void verdict_log(const struct work *work, enum reply_reason reason, struct verdict *out)
{
	struct buffer *log = &out->log;
	add_word(log, "customer", work->auth.customer.name);
	add_word(log, "login", work->login);
	add_word(log, "from", text_of(work->auth.authors.from));
	log_selectors(work, out, log);
	add_word(log, "tag", work->annotation.tag);
	if (out->sender.len)
		add_word(log, "sender", buffer_view(&work->session->sender));
	add_word(log, "action", text_of(action_words[action_of(reason, out)]));
	if (reason != REPLY_NONE)
		add_word(log, "reason", text_of(reply_id(reason)));
	if (work->auth.noted != REPLY_NONE)
		add_word(log, "noted", text_of(reply_id(work->auth.noted)));
	log_survival(work, log);
	log_usage(work, log);
}

static struct record_context record_context(const struct work *work)
{
	return (struct record_context){.node = text_of(work->engine->node),
				       .queue_id = work->queue_id,
				       .customer = work->auth.customer.name,
				       .login = work->login,
				       .from = text_of(work->auth.authors.from),
				       .now_s = work->now_s};
}

void verdict_spool_refusal(const struct work *work, enum reply_reason reason, const struct verdict *out)
{
	struct record_context context = record_context(work);
	struct buffer line = {0};
	bool asked = work->charge.count > 0;
	record_refusal(&context, work->refusal_id, reason, work->session, &out->reply, asked ? &work->request : NULL,
		       asked ? &work->charge : NULL, &line);
	spool_add(work->engine->spool, buffer_view(&line));
	buffer_free(&line);
}

void verdict_name_refusal(struct work *work)
{
	unsigned char random[5];
	digest_random(random, sizeof random);
	record_id_print(random, work->refusal_id);
	work->auth.words.id = text_of(work->refusal_id);
}

void verdict_spool_annotation(const struct work *work, const struct verdict *out)
{
	struct text sender = out->sender.len ? buffer_view(&work->session->sender) : TEXT("");
	struct record_context context = record_context(work);
	struct buffer line = {0};
	bool annotated = work->annotation.tag.len || work->annotation.metadata.len || sender.len;
	if (!work->engine->spool || !annotated)
		return;
	record_annotated(&context, &work->annotation, sender, &line);
	spool_add(work->engine->spool, buffer_view(&line));
	buffer_free(&line);
}

void verdict_warn(const struct work *work)
{
	const struct spool_line head = {.now_s = work->now_s,
					.node = text_of(work->engine->node),
					.customer = work->auth.customer.name,
					.login = work->login,
					.queue_id = work->queue_id};
	if (work->engine->warnings)
		warnings_tell(work->engine->warnings, &head, &work->request, &work->charge);
}

void verdict_count(const struct work *work, enum reply_reason reason, const struct verdict *out, int64_t took_us)
{
	struct stats_message message = {.action = action_of(reason, out),
					.reason = reason,
					.problem = work->finding.problem,
					.took_us = took_us};
	for (size_t i = 0; i < DIRECTORY_ALGORITHM_MAX && out->signature_count; i++)
		message.signatures[i] = (work->author.keys[i].entry != NULL) + (work->relay.keys[i].entry != NULL);
	stats_note(work->engine->metrics, &message);
}
