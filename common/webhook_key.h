#ifndef COMMON_WEBHOOK_KEY_H
#define COMMON_WEBHOOK_KEY_H

/* Key pairs of an endpoint (OpenSSL), for signatures that a receiver verifies with a public key. They are derived from the
 * endpoint's one secret, so that nothing more has to be kept, sealed or rotated: changing the secret changes them too. */

#include "common/text.h"

enum webhook_key_kind {
	WEBHOOK_KEY_P256,    /* ECDSA with SHA-256, DER signatures: SendGrid's Event Webhook */
	WEBHOOK_KEY_ED25519, /* Standard Webhooks 1.0, version v1a */
	WEBHOOK_KEY_KIND_MAX
};

struct webhook_key;

/* From the bytes inside a whsec_ secret. Never NULL. */
struct webhook_key *webhook_key_derive(enum webhook_key_kind kind, struct text secret);
void webhook_key_free(struct webhook_key **key);
/* Appends the public key: DER SubjectPublicKeyInfo (P-256), or its 32 bytes (Ed25519). */
void webhook_key_public(const struct webhook_key *key, struct buffer *out);
/* Appends the signature of MESSAGE: DER (P-256), or 64 bytes. */
void webhook_key_sign(const struct webhook_key *key, struct text message, struct buffer *out);

#endif
