#ifndef COMMON_DIGEST_H
#define COMMON_DIGEST_H

/* SHA-256, HMAC-SHA-256, random bytes (OpenSSL), and the texts made of them. */

#include "common/text.h"

void digest_sha256(struct text in, unsigned char out[32]);
void digest_hmac_sha256(struct text key, struct text in, unsigned char out[32]);

/* HMAC-SHA-256 of many messages under one key, which is prepared once. A message is added in parts. */
struct digest_mac;
struct digest_mac *digest_mac_new(struct text key);
void digest_mac_free(struct digest_mac **mac);
void digest_mac_add(struct digest_mac *mac, struct text part);
/* Of what was added since the last end. */
void digest_mac_end(struct digest_mac *mac, unsigned char out[32]);

/* In constant time. */
bool digest_equal(const void *a, const void *b, size_t len);
/* LEN random bytes; ends the process when there are none. */
void digest_random(void *out, size_t len);

#endif
