#include "common/encode.h"
#include "common/log.h"

#include "milter/alarms.h"
#include "milter/keys.h"
#include "milter/signature.h"
#include "milter/verdict_internal.h"

/* Takes a key of each algorithm that is wanted and not there yet: the active ones first, which say what is wanted, then the
 * ones before them, whose records stand in DNS as long as they are retiring. */
static void take_of_state(const struct work *work, enum directory_key_state state, struct signing_domain *signer)
{
	struct directory_list list = signer->domain.keys;
	struct directory_key record;
	const char *why;
	while (directory_key_next(&list, &record)) {
		struct signing_key *key = &signer->keys[record.algorithm];
		bool too_many =
			signer->domain.signatures == DIRECTORY_SIGN_ONE && record.algorithm != DIRECTORY_RSA_SHA256;
		if (record.state != state || too_many)
			continue;
		key->wanted |= state == DIRECTORY_KEY_ACTIVE;
		if (!key->wanted || key->entry)
			continue;
		key->selector = record.selector;
		key->entry = keys_take(work->engine->keys, signer->domain.name, &record, &why);
		if (!why || key->why)
			continue;
		key->failed = record.selector;
		key->why = why;
	}
}

/* What becomes of the domain's mail: also for those who read the event. */
static const char *mail_of(const struct signing_key *key, bool deferred)
{
	return key->entry ? "signed" : deferred ? "deferred" : "without";
}

static bool raise_alarm(const struct work *work, const struct signing_domain *signer, struct text selector,
			const char *why, const char *mail)
{
	const struct alarm alarm = {.type = ALARM_KEY_UNUSABLE,
				    .now_s = work->now_s,
				    .customer = signer->domain.customer,
				    .domain = signer->domain.name,
				    .selector = selector,
				    .queue_id = work->queue_id,
				    .why = text_of(why),
				    .mail = text_of(mail)};
	return alarms_raise(work->engine->alarms, &alarm);
}

static void tell_failures(const struct work *work, const struct signing_domain *signer, bool deferred)
{
	bool failed = false;
	for (size_t i = 0; i < DIRECTORY_ALGORITHM_MAX; i++) {
		const struct signing_key *key = &signer->keys[i];
		failed |= key->why != NULL;
		if (!key->why || !raise_alarm(work, signer, key->failed, key->why, mail_of(key, deferred)))
			continue;
		log_warning("%.*s: DKIM key %.*s of %.*s cannot be used: %s; %s", TEXT_ARG(work->queue_id),
			    TEXT_ARG(key->failed), TEXT_ARG(signer->domain.name), key->why,
			    key->entry ? "the one before it goes on signing" : "see waybill domain check");
	}
	if (deferred && !failed)
		raise_alarm(work, signer, TEXT(""), "none of its keys is active", "deferred");
}

/* RSA is the algorithm that verifiers must know (RFC 8463 section 3). */
static bool take_keys(const struct work *work, struct signing_domain *signer, bool or_defer)
{
	if (signer->domain.signatures == DIRECTORY_SIGN_NONE || !signer->domain.keys.bytes.len)
		return true;
	take_of_state(work, DIRECTORY_KEY_ACTIVE, signer);
	take_of_state(work, DIRECTORY_KEY_RETIRING, signer);
	const struct signing_key *rsa = &signer->keys[DIRECTORY_RSA_SHA256];
	bool usable = rsa->wanted ? rsa->entry != NULL : signer->keys[DIRECTORY_ED25519_SHA256].entry != NULL;
	tell_failures(work, signer, or_defer && !usable);
	return usable;
}

bool verdict_take_keys(struct work *work)
{
	work->author.domain = work->auth.domain;
	return take_keys(work, &work->author, true);
}

void verdict_take_relay_keys(struct work *work)
{
	struct text name = work->engine->relay_domain;
	if (!name.len || text_equal_fold(name, work->auth.domain.name))
		return;
	if (directory_find_domain(&work->view, name, &work->relay.domain) == DIRECTORY_FOUND)
		take_keys(work, &work->relay, false);
	else
		log_warning("%.*s: relay_domain %.*s is not in the directory: no second signature",
			    TEXT_ARG(work->queue_id), TEXT_ARG(name));
}

bool verdict_has_key(const struct signing_domain *signer)
{
	for (size_t i = 0; i < DIRECTORY_ALGORITHM_MAX; i++)
		if (signer->keys[i].entry)
			return true;
	return false;
}

void verdict_release_keys(const struct work *work)
{
	for (size_t i = 0; i < DIRECTORY_ALGORITHM_MAX; i++) {
		keys_release(work->engine->keys, work->author.keys[i].entry);
		keys_release(work->engine->keys, work->relay.keys[i].entry);
	}
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

enum reply_reason verdict_sign(const struct work *work, struct verdict *out)
{
	struct buffer names = {0}, canon = {0}, body_hash = {0};
	int64_t lifetime_s = atomic_load(&work->engine->signature_lifetime_s);
	fields_select(&work->session->fields, work->author.domain.profile, &names, &canon);
	encode_base64(text_at(work->body_hash, SIGNER_HASH_SIZE), &body_hash);
	struct signature form = {.names = buffer_view(&names),
				 .body_hash = buffer_view(&body_hash),
				 .signed_at = work->now_s,
				 .expires_at = lifetime_s ? work->now_s + lifetime_s : 0};
	if (sign_as(&work->relay, &form, &canon, out) != 0) {
		log_error("%.*s: signing for relay_domain failed: no second signature", TEXT_ARG(work->queue_id));
		while (out->signature_count)
			buffer_free(&out->signatures[--out->signature_count]);
	}
	int failed = sign_as(&work->author, &form, &canon, out);
	buffer_free(&names);
	buffer_free(&canon);
	buffer_free(&body_hash);
	if (failed)
		raise_alarm(work, &work->author, TEXT(""), "OpenSSL does not sign with its key", "deferred");
	return failed ? REPLY_SIGNING_FAILED : REPLY_NONE;
}
