#ifndef BOUNCER_SIGNATURE_H
#define BOUNCER_SIGNATURE_H

/* Webhook secrets and signatures, by Standard Webhooks 1.0. */

#include "common/text.h"

/* A secret is "whsec_" and base64 of 24 to 64 bytes. */
#define SIGNATURE_SECRET_MIN 24
#define SIGNATURE_SECRET_MAX 64

/* The key inside a secret, appended to KEY, which the caller wipes (seal_wipe). NULL, or what is wrong. */
const char *signature_key(struct text secret, struct buffer *key);

struct digest_mac;

/* Appends "v1," and base64 of HMAC-SHA-256 over "ID.TIMESTAMP.BODY" under the key of MAC to OUT; a space first when OUT is not empty, so that
 * one call for each of several secrets makes the value of webhook-signature. TIMESTAMP is in seconds since 1970. */
void signature_add(struct digest_mac *mac, struct text id, int64_t timestamp, struct text body, struct buffer *out);

struct webhook_key;

/* The same with an Ed25519 key pair: "v1a," and base64 of its signature. */
void signature_add_v1a(const struct webhook_key *key, struct text id, int64_t timestamp, struct text body,
		       struct buffer *out);

#endif
