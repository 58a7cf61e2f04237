#include <stdlib.h>
#include <string.h>

/* SHA256() of OpenSSL 3 looks its algorithm up at each call, under locks, which takes longer than the digest of an event. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <openssl/sha.h>

#include "common/digest.h"

void digest_sha256(struct text in, unsigned char out[32])
{
	SHA256_CTX state;
	SHA256_Init(&state);
	SHA256_Update(&state, in.ptr, in.len);
	SHA256_Final(out, &state);
	OPENSSL_cleanse(&state, sizeof state);
}

void digest_hmac_sha256(struct text key, struct text in, unsigned char out[32])
{
	unsigned int len = 32;
	if (!HMAC(EVP_sha256(), key.len ? key.ptr : "", (int)key.len, (const unsigned char *)in.ptr, in.len, out, &len))
		abort();
}

bool digest_equal(const void *a, const void *b, size_t len)
{
	return CRYPTO_memcmp(a, b, len) == 0;
}

void digest_random(void *out, size_t len)
{
	if (len > INT32_MAX || RAND_bytes(out, (int)len) != 1)
		abort();
}
