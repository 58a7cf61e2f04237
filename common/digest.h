#ifndef COMMON_DIGEST_H
#define COMMON_DIGEST_H

/* SHA-256, HMAC-SHA-256, random bytes (OpenSSL), and the texts made of them. */

#include "common/text.h"

void digest_sha256(struct text in, unsigned char out[32]);
void digest_hmac_sha256(struct text key, struct text in, unsigned char out[32]);
/* In constant time. */
bool digest_equal(const void *a, const void *b, size_t len);
/* LEN random bytes; ends the process when there are none. */
void digest_random(void *out, size_t len);

#endif
