#ifndef MILTER_VERDICT_INTERNAL_H
#define MILTER_VERDICT_INTERNAL_H

/* One message on its way to a verdict, shared by what decides (verdict.c), signs (verdict_sign.c) and tells
 * (verdict_tell.c). */

#include "common/counters.h"
#include "common/directory.h"
#include "common/return_path.h"

#include "milter/authorise.h"
#include "milter/meter.h"
#include "milter/record.h"
#include "milter/verdict.h"

struct keys_entry;

struct signing_key {
	struct text selector;
	struct keys_entry *entry;
	bool wanted;        /* there is an active key */
	struct text failed; /* the selector of one that cannot be used, … */
	const char *why;    /* … and why; NULL: none such */
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

/* Takes the keys that the author's domain signs with; tells of those that cannot be used. False when it has keys, wants a
 * signature, and the key that every verifier understands cannot be had: its mail must not leave. */
bool verdict_take_keys(struct work *work);
/* The same for the relay's own domain, whose signature comes on top: without it the mail goes as well. */
void verdict_take_relay_keys(struct work *work);
/* Has a key of it been taken? */
bool verdict_has_key(const struct signing_domain *signer);
void verdict_release_keys(const struct work *work);
/* Signs with all keys taken. REPLY_NONE, or REPLY_SIGNING_FAILED. */
enum reply_reason verdict_sign(const struct work *work, struct verdict *out);

/* Gives a refusal the name that its reply and the spool have in common. */
void verdict_name_refusal(struct work *work);
/* What became of the message: the line for the log, … */
void verdict_log(const struct work *work, enum reply_reason reason, struct verdict *out);
/* … a refusal, or what the application says of its message, for the event spool, … */
void verdict_spool_refusal(const struct work *work, enum reply_reason reason, const struct verdict *out);
void verdict_spool_annotation(const struct work *work, const struct verdict *out);
/* … limits that come close to their end (of a message that is accepted, or that they refuse: what else is refused is given back), … */
void verdict_warn(const struct work *work);
/* … and the metrics; TOOK_US from the end of the message on. */
void verdict_count(const struct work *work, enum reply_reason reason, const struct verdict *out, int64_t took_us);

#endif
