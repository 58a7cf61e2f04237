#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/counters_sync.h"
#include "common/digest.h"
#include "common/directory.h"
#include "common/encode.h"
#include "common/idn.h"
#include "common/log.h"
#include "common/return_path.h"
#include "common/spool.h"

#include "milter/authorise.h"
#include "milter/keys.h"
#include "milter/meter.h"
#include "milter/record.h"
#include "milter/signature.h"
#include "milter/stats.h"
#include "milter/verdict.h"
#include "milter/warnings.h"

struct signing_key {
	struct text selector;
	struct keys_entry *entry;
};

/* The keys that one domain signs with, by algorithm; entry NULL: none. */
struct signing_domain {
	struct directory_domain domain;
	struct signing_key keys[DIRECTORY_ALGORITHM_MAX];
};

struct work {
	struct engine *engine;
	struct session *session;
	struct text queue_id, login;
	const unsigned char *body_hash;
	int64_t now_s;
	struct directory_view view;
	struct authorisation auth;
	struct signing_domain author, relay;
	struct survival_finding finding;
	char finding_words[160];
	char return_path[RETURN_PATH_LOCAL_SIZE]; /* local part; empty: there is none */
	struct record_annotation annotation;
	char refusal_id[RECORD_ID_SIZE];
	struct counters_request request;
	struct counters_result charge;
	char instance[METER_INSTANCE_SIZE], limit[METER_LIMIT_TEXT];
	char network[METER_NETWORK_SIZE];
};

void verdict_free(struct verdict *verdict)
{
	for (size_t i = 0; i < VERDICT_MAX_SIGNATURES; i++)
		buffer_free(&verdict->signatures[i]);
	fields_free(&verdict->added);
	buffer_free(&verdict->sender);
	buffer_free(&verdict->log);
}

static void warn_about_key(const struct work *work, struct text domain, const struct directory_key *record,
			   const char *why, bool replaced)
{
	log_warning("%.*s: DKIM key %.*s of %.*s cannot be used: %s; %s", TEXT_ARG(work->queue_id),
		    TEXT_ARG(record->selector), TEXT_ARG(domain), why,
		    replaced ? "the one before it goes on signing" : "see waybill domain check");
}

/* The first usable active key of each algorithm. False when the domain has keys and the one that every verifier
 * understands (RSA; RFC 8463 is optional for verifiers) is wanted and missing; never of a domain that wants no signature. */
static bool take_keys(const struct work *work, struct signing_domain *signer)
{
	enum directory_signatures wish = signer->domain.signatures;
	struct directory_list list = signer->domain.keys;
	struct directory_key record;
	size_t known = 0, wanted[DIRECTORY_ALGORITHM_MAX] = {0};
	if (wish == DIRECTORY_SIGN_NONE)
		return true;
	while (directory_key_next(&list, &record)) {
		struct signing_key *key = &signer->keys[record.algorithm];
		const char *why;
		known++;
		bool too_many = wish == DIRECTORY_SIGN_ONE && record.algorithm != DIRECTORY_RSA_SHA256;
		if (record.state != DIRECTORY_KEY_ACTIVE || too_many)
			continue;
		wanted[record.algorithm]++;
		if (key->entry)
			continue;
		key->selector = record.selector;
		key->entry = keys_take(work->engine->keys, signer->domain.name, &record, &why);
		if (why)
			warn_about_key(work, signer->domain.name, &record, why, key->entry != NULL);
	}
	if (wanted[DIRECTORY_RSA_SHA256])
		return signer->keys[DIRECTORY_RSA_SHA256].entry != NULL;
	return !known || signer->keys[DIRECTORY_ED25519_SHA256].entry != NULL;
}

/* The relay's signature comes on top of the author's; when it cannot be made that is logged and the mail goes. */
static void take_relay_keys(struct work *work)
{
	struct text name = work->engine->relay_domain;
	if (!name.len || text_equal_fold(name, work->auth.domain.name))
		return;
	if (directory_find_domain(&work->view, name, &work->relay.domain) == DIRECTORY_FOUND)
		take_keys(work, &work->relay);
	else
		log_warning("%.*s: relay_domain %.*s is not in the directory: no second signature",
			    TEXT_ARG(work->queue_id), TEXT_ARG(name));
}

static void release_keys(const struct work *work, const struct signing_domain *signer)
{
	for (size_t i = 0; i < DIRECTORY_ALGORITHM_MAX; i++)
		keys_release(work->engine->keys, signer->keys[i].entry);
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

static enum reply_reason check_survival(struct work *work)
{
	int unsafe = atomic_load(&work->engine->unsafe);
	if (unsafe == VERDICT_UNSAFE_IGNORE)
		return REPLY_NONE;
	work->finding = survival_end(&work->session->survival, &work->session->fields);
	if (unsafe != VERDICT_UNSAFE_REFUSE || work->finding.problem < SURVIVAL_LONG_LINE)
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
	words->retry_after_s = usage->retry_after_us / 1000000 + 1;
	if (item->limit.action == LIMIT_HOLD) {
		out->action = VERDICT_HOLD;
		snprintf(out->hold_reason, sizeof out->hold_reason, "limit %s", work->limit);
		return REPLY_NONE;
	}
	if (usage->retry_after_us == INT64_MAX)
		return REPLY_LIMIT_NEVER;
	return item->limit.action == LIMIT_REJECT ? REPLY_LIMIT_REJECTED : REPLY_LIMIT_DEFERRED;
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
	if (work->charge.answer == COUNTERS_UNAVAILABLE && work->charge.rule == COUNTERS_FALL_DEFER) {
		work->auth.words.detail = TEXT("its limits cannot be counted now");
		return REPLY_TROUBLE;
	}
	return work->charge.answer == COUNTERS_REFUSED ? over_limit(work, out) : REPLY_NONE;
}

static int sign_with(const struct signing_key *key, const struct signature *form, struct buffer *canon,
		     struct buffer *out)
{
	struct signature signature = *form;
	struct buffer value = {0};
	size_t fields_end = canon->len;
	signature.selector = key->selector;
	signature_begin(&signature, out);
	signature_canon(buffer_view(out), canon);
	int failed = signer_sign(keys_signer(key->entry), buffer_view(canon), &value);
	canon->len = fields_end;
	signature_end(buffer_view(&value), out);
	buffer_free(&value);
	return failed;
}

/* The last one made will stand on top: RSA above Ed25519. */
static int sign_as(const struct signing_domain *signer, struct signature *form, struct buffer *canon,
		   struct verdict *out)
{
	form->domain = signer->domain.name;
	for (size_t i = DIRECTORY_ALGORITHM_MAX; i-- > 0;) {
		if (!signer->keys[i].entry)
			continue;
		form->algorithm = (enum directory_key_algorithm)i;
		if (sign_with(&signer->keys[i], form, canon, &out->signatures[out->signature_count++]) != 0)
			return -1;
	}
	return 0;
}

static enum reply_reason sign(const struct work *work, struct verdict *out)
{
	struct buffer names = {0}, canon = {0}, body_hash = {0};
	int64_t lifetime_s = atomic_load(&work->engine->signature_lifetime_s);
	fields_select(&work->session->fields, work->author.domain.profile, &names, &canon);
	encode_base64(text_at(work->body_hash, SIGNER_HASH_SIZE), &body_hash);
	struct signature form = {.names = buffer_view(&names),
				 .body_hash = buffer_view(&body_hash),
				 .signed_at = work->now_s,
				 .expires_at = lifetime_s ? work->now_s + lifetime_s : 0};
	int failed = sign_as(&work->relay, &form, &canon, out) || sign_as(&work->author, &form, &canon, out);
	buffer_free(&names);
	buffer_free(&canon);
	buffer_free(&body_hash);
	return failed ? REPLY_SIGNING_FAILED : REPLY_NONE;
}

/* Names customer and message, and so the recipient of a message that has one. */
static struct text unsubscribe_token(const struct work *work)
{
	struct text local = text_of(work->return_path);
	return text_from(local, text_find(local, '+') + 1);
}

static void complete_message(const struct work *work, struct verdict *out)
{
	bool one_recipient = work->session->recipients == 1 && work->return_path[0];
	unsigned char bytes[10];
	struct buffer random = {0};
	digest_random(bytes, sizeof bytes);
	encode_base32(text_at(bytes, sizeof bytes), &random);
	const struct complete_facts facts = {.now_s = work->now_s,
					     .queue_id = work->queue_id,
					     .random = buffer_view(&random),
					     .domain = work->author.domain.name,
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
	if (!work->engine->return_path_key.len || (!customer->return_path && !customer->list_unsubscribe.len))
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

static enum reply_reason decide(struct work *work, struct verdict *out)
{
	authorise(&work->view, work->session, work->login, work->now_s, &work->auth);
	enum reply_reason reason = work->auth.reason;
	if (reason == REPLY_NONE)
		reason = take_annotation(work);
	if (reason == REPLY_NONE)
		reason = check_survival(work);
	if (reason != REPLY_NONE)
		return reason;
	if (work->auth.owned) {
		work->author.domain = work->auth.domain;
		if (!take_keys(work, &work->author))
			return REPLY_NO_KEY;
		take_relay_keys(work);
	}
	reason = meter(work, out);
	if (reason != REPLY_NONE)
		return reason;
	make_return_path(work);
	change_sender(work, out);
	if (!work->auth.owned)
		return REPLY_NONE;
	complete_message(work, out);
	return sign(work, out);
}

static void add_word(struct buffer *log, const char *name, struct text value)
{
	if (value.len)
		buffer_format(log, "%s%s=%.*s", log->len ? ", " : "", name, TEXT_ARG(value));
}

static void log_usage(const struct work *work, struct buffer *log)
{
	size_t i = work->charge.answer == COUNTERS_REFUSED ? work->charge.binding
							   : meter_tightest(&work->request, &work->charge);
	if (work->request.count && work->charge.answer == COUNTERS_UNAVAILABLE)
		add_word(log, "limit", TEXT("unavailable"));
	if (i >= work->charge.count)
		return;
	const struct limit_usage *usage = &work->charge.usage[i];
	int64_t charged = work->charge.answer == COUNTERS_REFUSED ? 0 : work->request.items[i].cost;
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
	if (work->finding.problem > SURVIVAL_EIGHT_BIT_BODY)
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

static void log_line(const struct work *work, enum reply_reason reason, struct verdict *out)
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

/* Leaves the refusal in the spool under the id that its reply tells. */
static void spool_refusal(const struct work *work, enum reply_reason reason, const struct verdict *out)
{
	struct record_context context = record_context(work);
	struct buffer line = {0};
	bool asked = work->charge.count > 0;
	record_refusal(&context, work->refusal_id, reason, work->session, &out->reply, asked ? &work->request : NULL,
		       asked ? &work->charge : NULL, &line);
	spool_add(work->engine->spool, buffer_view(&line));
	buffer_free(&line);
}

static void name_refusal(struct work *work)
{
	unsigned char random[5];
	digest_random(random, sizeof random);
	record_id_print(random, work->refusal_id);
	work->auth.words.id = text_of(work->refusal_id);
}

static void refuse(struct work *work, enum reply_reason reason, struct verdict *out)
{
	out->action = VERDICT_REFUSE;
	if (work->engine->spool)
		name_refusal(work);
	reply_make(reason, &work->auth.words, &out->reply);
	if (work->engine->spool)
		spool_refusal(work, reason, out);
	if (work->auth.customer.name.len)
		counters_refund(work->engine->counters, work->auth.customer.name, text_of(work->engine->node),
				work->queue_id);
}

static void annotate(const struct work *work, const struct verdict *out)
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

/* Of a message that was accepted: what is refused is given back. */
static void warn(const struct work *work)
{
	const struct spool_line head = {.now_s = work->now_s,
					.node = text_of(work->engine->node),
					.customer = work->auth.customer.name,
					.login = work->login,
					.queue_id = work->queue_id};
	if (work->engine->warnings)
		warnings_tell(work->engine->warnings, &head, &work->request, &work->charge);
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

static void count(const struct work *work, enum reply_reason reason, const struct verdict *out, int64_t began_us)
{
	struct stats_message message = {.action = action_of(reason, out),
					.reason = reason,
					.problem = work->finding.problem,
					.took_us = now_us() - began_us};
	for (size_t i = 0; i < DIRECTORY_ALGORITHM_MAX && out->signature_count; i++)
		message.signatures[i] = (work->author.keys[i].entry != NULL) + (work->relay.keys[i].entry != NULL);
	stats_note(work->engine->metrics, &message);
}

static enum reply_reason reach(struct work *work, struct verdict *out)
{
	if (directory_begin(work->engine->directory, &work->view) != DIRECTORY_FOUND) {
		refuse_in_trouble(work, out);
		return REPLY_TROUBLE;
	}
	out->action = VERDICT_ACCEPT;
	enum reply_reason reason = decide(work, out);
	log_line(work, reason, out);
	if (reason != REPLY_NONE) {
		refuse(work, reason, out);
	} else {
		annotate(work, out);
		warn(work);
	}
	buffer_free(&work->annotation.metadata);
	release_keys(work, &work->author);
	release_keys(work, &work->relay);
	directory_end(&work->view);
	return reason;
}

/* Bounces and other notices of the mail server itself have the null sender and nobody's address in From. */
static struct text login_of(const struct engine *engine, const struct session *session)
{
	if (session->login.len || !session->sender.len)
		return buffer_view(&session->login);
	return engine->unauthenticated_login;
}

void verdict_reach(struct engine *engine, struct session *session, struct text queue_id,
		   const unsigned char body_hash[SIGNER_HASH_SIZE], int64_t now_s, struct verdict *out)
{
	static const struct stats_message ignored = {.action = STATS_IGNORED};
	int64_t began_us = now_us();
	struct work work = {
		.engine = engine, .session = session, .queue_id = queue_id, .body_hash = body_hash, .now_s = now_s};
	work.login = login_of(engine, session);
	if (work.login.len) {
		enum reply_reason reason = reach(&work, out);
		count(&work, reason, out, began_us);
		return;
	}
	out->action = VERDICT_IGNORE;
	stats_note(engine->metrics, &ignored);
}
