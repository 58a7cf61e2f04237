#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/counters_sync.h"
#include "common/digest.h"
#include "common/encode.h"
#include "common/idn.h"
#include "common/log.h"

#include "milter/stats.h"
#include "milter/submitters.h"
#include "milter/verdict_internal.h"

void verdict_free(struct verdict *verdict)
{
	for (size_t i = 0; i < VERDICT_MAX_SIGNATURES; i++)
		buffer_free(&verdict->signatures[i]);
	fields_free(&verdict->added);
	buffer_free(&verdict->sender);
	buffer_free(&verdict->log);
}

static void find_words(struct work *work)
{
	const struct survival_finding *finding = &work->finding;
	if (finding->in_header)
		snprintf(work->finding_words, sizeof work->finding_words, "Header field %zu (%.*s) %s", finding->line,
			 TEXT_ARG(text_head(fields_name(&work->session->fields, finding->line - 1), 60)),
			 survival_words(finding->problem));
	else
		snprintf(work->finding_words, sizeof work->finding_words, "Line %zu of the body %s", finding->line,
			 survival_words(finding->problem));
}

/* 8-bit text that the client did not announce goes on as it is to servers that may not take it; what it announced is
 * carried whole by 8BITMIME nearly everywhere, and a client that relies on that does as the standards say. */
static bool is_to_refuse(struct work *work)
{
	const struct survival *body = &work->session->survival;
	if (work->finding.problem >= SURVIVAL_LONG_LINE)
		return true;
	if (work->session->eight_bit_mime || body->problem == SURVIVAL_GOOD)
		return false;
	work->finding = (struct survival_finding){.problem = body->problem, .line = body->problem_line};
	return true;
}

static enum reply_reason check_survival(struct work *work)
{
	int unsafe = atomic_load(&work->engine->unsafe);
	if (unsafe == VERDICT_UNSAFE_IGNORE)
		return REPLY_NONE;
	work->finding = survival_end(&work->session->survival, &work->session->fields);
	if (unsafe != VERDICT_UNSAFE_REFUSE || !is_to_refuse(work))
		return REPLY_NONE;
	find_words(work);
	work->auth.words.detail = text_of(work->finding_words);
	return REPLY_UNSAFE;
}

static enum reply_reason take_annotation(struct work *work)
{
	const char *why = record_annotation(&work->session->fields, &work->annotation);
	work->auth.words.detail = text_of(why);
	return why ? REPLY_ANNOTATION : REPLY_NONE;
}

static enum reply_reason over_limit(struct work *work, struct verdict *out)
{
	const struct counters_item *item = &work->request.items[work->charge.binding];
	const struct limit_usage *usage = &work->charge.usage[work->charge.binding];
	struct reply_words *words = &work->auth.words;
	meter_limit_print(&item->limit, work->limit);
	words->limit = text_of(work->limit);
	words->used = usage->used;
	words->allowed = usage->allowed_units;
	words->retry_after_s = meter_retry_s(usage);
	if (work->charge.held) {
		out->action = VERDICT_HOLD;
		snprintf(out->hold_reason, sizeof out->hold_reason, "limit %s", work->limit);
		return REPLY_NONE;
	}
	if (meter_is_never(item))
		return REPLY_LIMIT_NEVER;
	bool rejects = item->limit.action == LIMIT_REJECT && !work->charge.stood_in;
	return rejects ? REPLY_LIMIT_REJECTED : REPLY_LIMIT_DEFERRED;
}

/* A domain has one name, however the client spelt it: its A-labels (RFC 5891). What is no domain counts as it stands. */
static void name_destinations(struct session *session)
{
	char ascii[ADDR_MAX_DOMAIN + 1];
	for (size_t i = session->destination_count; i-- > 0;) {
		struct text name = session_destination(session, i);
		if (idn_to_ascii(name, ascii, sizeof ascii) || text_equal(name, text_of(ascii)))
			continue;
		session_rename_destination(session, i, text_of(ascii));
	}
}

static enum reply_reason meter(struct work *work, struct verdict *out)
{
	struct directory_relay relay = {0};
	if (directory_find_relay(&work->view, &relay) == DIRECTORY_TROUBLE) {
		work->auth.words.detail = text_of(directory_trouble(work->engine->directory));
		return REPLY_TROUBLE;
	}
	struct meter meter = {.session = work->session,
			      .login = &work->auth.login,
			      .customer = &work->auth.customer,
			      .domain = work->auth.owned ? &work->auth.domain : NULL,
			      .relay = &relay,
			      .now_s = work->now_s};
	if (meter_network(work->auth.login.name, buffer_view(&work->session->client), work->network))
		meter.network = text_of(work->network);
	name_destinations(work->session);
	work->request.node = text_of(work->engine->node);
	work->request.queue_id = work->queue_id;
	if (!meter_request(&meter, work->instance, &work->request))
		return REPLY_TOO_MANY_DESTINATIONS;
	if (!work->request.count)
		return REPLY_NONE;
	counters_charge(work->engine->counters, &work->request, &work->charge);
	if (work->charge.answer == COUNTERS_UNAVAILABLE && work->charge.rule != COUNTERS_FALL_ACCEPT) {
		work->auth.words.detail = TEXT("its limits cannot be counted now");
		return REPLY_TROUBLE;
	}
	bool over = work->charge.answer == COUNTERS_REFUSED || work->charge.held;
	return over ? over_limit(work, out) : REPLY_NONE;
}

/* Names customer and message, and so the recipient of a message that has one. */
static struct text unsubscribe_token(const struct work *work)
{
	struct text local = text_of(work->return_path);
	return text_from(local, text_find(local, '+') + 1);
}

static void from_domain(const struct work *work, char out[ADDR_MAX_DOMAIN + 1])
{
	struct text from = text_of(work->auth.authors.from);
	struct text domain = text_from(from, text_rfind(from, '@') + 1);
	if (work->auth.owned || idn_to_ascii(domain, out, ADDR_MAX_DOMAIN + 1))
		text_put(work->auth.owned ? work->author.domain.name : work->relay.domain.name, out,
			 ADDR_MAX_DOMAIN + 1);
}

static void complete_message(const struct work *work, struct verdict *out)
{
	bool one_recipient = work->session->recipients == 1 && work->return_path[0];
	char domain[ADDR_MAX_DOMAIN + 1];
	unsigned char bytes[10];
	struct buffer random = {0};
	digest_random(bytes, sizeof bytes);
	encode_base32(text_at(bytes, sizeof bytes), &random);
	from_domain(work, domain);
	const struct complete_facts facts = {.now_s = work->now_s,
					     .queue_id = work->queue_id,
					     .random = buffer_view(&random),
					     .domain = text_of(domain),
					     .customer = work->auth.customer.name,
					     .login = work->auth.login.name,
					     .list_unsubscribe = work->auth.customer.list_unsubscribe,
					     .token = one_recipient ? unsubscribe_token(work) : TEXT("")};
	complete(&work->session->fields, &work->engine->complete, &facts, &out->added);
	buffer_free(&random);
}

static void make_return_path(struct work *work)
{
	const struct directory_customer *customer = &work->auth.customer;
	bool wanted = customer->return_path || customer->list_unsubscribe.len || work->engine->complete.cfbl.len;
	if (!work->engine->return_path_key.len || !wanted)
		return;
	const char *why = return_path_make(work->engine->return_path_key, customer->name, text_of(work->engine->node),
					   work->queue_id, work->return_path);
	if (why)
		log_warning("%.*s: the message has no return path of ours: %s", TEXT_ARG(work->queue_id), why);
}

/* The null sender stays: nobody may answer such mail (RFC 5321 section 4.5.5). */
static void change_sender(const struct work *work, struct verdict *out)
{
	struct text host = work->engine->return_path_host;
	if (host.len && work->auth.customer.return_path && work->return_path[0] && work->session->sender.len)
		buffer_format(&out->sender, "<%s@%.*s>", work->return_path, TEXT_ARG(host));
}

static enum reply_reason take_keys(struct work *work)
{
	if (work->auth.owned && !verdict_take_keys(work))
		return REPLY_NO_KEY;
	verdict_take_relay_keys(work);
	return REPLY_NONE;
}

/* Folds what the signatures would suffer from, and looks for what else they would. */
static enum reply_reason prepare_to_sign(struct work *work)
{
	if (!verdict_has_key(&work->author) && !verdict_has_key(&work->relay))
		return REPLY_NONE;
	if (work->engine->complete.fix)
		session_fold(work->session);
	return check_survival(work);
}

static enum reply_reason decide(struct work *work, struct verdict *out)
{
	authorise(&work->view, work->session, work->login, work->now_s, &work->auth);
	enum reply_reason reason = work->auth.reason;
	if (reason == REPLY_NONE)
		reason = take_annotation(work);
	if (reason == REPLY_NONE)
		reason = take_keys(work);
	if (reason == REPLY_NONE)
		reason = prepare_to_sign(work);
	if (reason == REPLY_NONE)
		reason = meter(work, out);
	if (reason != REPLY_NONE)
		return reason;
	make_return_path(work);
	change_sender(work, out);
	if (work->auth.owned || verdict_has_key(&work->relay))
		complete_message(work, out);
	return verdict_sign(work, out);
}

static void refuse(struct work *work, enum reply_reason reason, struct verdict *out)
{
	out->action = VERDICT_REFUSE;
	if (work->engine->spool)
		verdict_name_refusal(work);
	reply_make(reason, &work->auth.words, &out->reply);
	if (work->engine->spool)
		verdict_spool_refusal(work, reason, out);
	if (work->auth.customer.name.len)
		counters_refund(work->engine->counters, work->auth.customer.name, text_of(work->engine->node),
				work->queue_id, work->charge.waited_ms);
}

static void refuse_in_trouble(const struct work *work, struct verdict *out)
{
	struct reply_words words = {.login = work->login,
				    .detail = text_of(directory_trouble(work->engine->directory))};
	out->action = VERDICT_REFUSE;
	reply_make(REPLY_TROUBLE, &words, &out->reply);
	buffer_format(&out->log, "login=%.*s, action=defer, reason=trouble, text=%.*s", TEXT_ARG(words.login),
		      TEXT_ARG(words.detail));
}

static int64_t now_us(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static enum reply_reason reach(struct work *work, struct verdict *out)
{
	if (directory_begin(work->engine->directory, &work->view) != DIRECTORY_FOUND) {
		refuse_in_trouble(work, out);
		return REPLY_TROUBLE;
	}
	out->action = VERDICT_ACCEPT;
	enum reply_reason reason = decide(work, out);
	verdict_log(work, reason, out);
	if (reason != REPLY_NONE) {
		refuse(work, reason, out);
		if (work->charge.answer == COUNTERS_REFUSED)
			verdict_warn(work);
	} else {
		verdict_spool_annotation(work, out);
		verdict_warn(work);
	}
	buffer_free(&work->annotation.metadata);
	verdict_release_keys(work);
	directory_end(&work->view);
	return reason;
}

/* Bounces and other notices of the mail server itself have the null sender and nobody's address in From. */
static struct text login_of(const struct engine *engine, const struct session *session)
{
	if (session->login.len || !session->sender.len)
		return buffer_view(&session->login);
	return submitters_find(engine->submitters, buffer_view(&session->client));
}

void verdict_reach(struct engine *engine, struct session *session, struct text queue_id,
		   const unsigned char body_hash[SIGNER_HASH_SIZE], int64_t now_s, struct verdict *out)
{
	static const struct stats_message ignored = {.action = STATS_IGNORED};
	int64_t began_us = now_us();
	struct work work = {
		.engine = engine, .session = session, .queue_id = queue_id, .body_hash = body_hash, .now_s = now_s};
	work.login = out->login = login_of(engine, session);
	if (work.login.len) {
		enum reply_reason reason = reach(&work, out);
		verdict_count(&work, reason, out, now_us() - began_us);
		return;
	}
	out->action = VERDICT_IGNORE;
	stats_note(engine->metrics, &ignored);
}

void verdict_refuse_login(struct engine *engine, struct session *session, struct text login, struct text queue_id,
			  int64_t now_s, struct verdict *out)
{
	int64_t began_us = now_us();
	struct work work = {.engine = engine, .session = session, .queue_id = queue_id, .login = login, .now_s = now_s};
	bool known = directory_begin(engine->directory, &work.view) == DIRECTORY_FOUND;
	work.auth.words.login = login;
	if (known && directory_find_login(&work.view, login, &work.auth.login) == DIRECTORY_FOUND)
		directory_find_customer(&work.view, work.auth.login.customer, &work.auth.customer);
	verdict_log(&work, REPLY_LOGIN_CHANGED, out);
	buffer_format(&out->log, ", was=%.*s", TEXT_ARG(buffer_view(&session->login)));
	refuse(&work, REPLY_LOGIN_CHANGED, out);
	verdict_count(&work, REPLY_LOGIN_CHANGED, out, now_us() - began_us);
	if (known)
		directory_end(&work.view);
}

void verdict_abandon(struct engine *engine, struct text login, struct text queue_id)
{
	struct directory_view view;
	struct directory_login record;
	if (!login.len || directory_begin(engine->directory, &view) != DIRECTORY_FOUND)
		return;
	if (directory_find_login(&view, login, &record) == DIRECTORY_FOUND) {
		log_info("%.*s: customer=%.*s, login=%.*s, action=abandoned", TEXT_ARG(queue_id),
			 TEXT_ARG(record.customer), TEXT_ARG(login));
		counters_refund(engine->counters, record.customer, text_of(engine->node), queue_id, 0);
	}
	directory_end(&view);
}
