#include "common/encode.h"
#include "common/log.h"

#include "milter/keys.h"
#include "milter/signature.h"
#include "milter/verdict_internal.h"

static void warn_about_key(const struct work *work, struct text domain, const struct directory_key *record,
			   const char *why, bool replaced)
{
	log_warning("%.*s: DKIM key %.*s of %.*s cannot be used: %s; %s", TEXT_ARG(work->queue_id),
		    TEXT_ARG(record->selector), TEXT_ARG(domain), why,
		    replaced ? "the one before it goes on signing" : "see waybill domain check");
}

/* The first usable active key of each algorithm; RSA is the one that verifiers must know (RFC 8463 section 3). */
bool verdict_take_keys(const struct work *work, struct signing_domain *signer)
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

void verdict_take_relay_keys(struct work *work)
{
	struct text name = work->engine->relay_domain;
	if (!name.len || text_equal_fold(name, work->auth.domain.name))
		return;
	if (directory_find_domain(&work->view, name, &work->relay.domain) == DIRECTORY_FOUND)
		verdict_take_keys(work, &work->relay);
	else
		log_warning("%.*s: relay_domain %.*s is not in the directory: no second signature",
			    TEXT_ARG(work->queue_id), TEXT_ARG(name));
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
	int failed = sign_as(&work->relay, &form, &canon, out) || sign_as(&work->author, &form, &canon, out);
	buffer_free(&names);
	buffer_free(&canon);
	buffer_free(&body_hash);
	return failed ? REPLY_SIGNING_FAILED : REPLY_NONE;
}
