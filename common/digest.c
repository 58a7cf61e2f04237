#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <openssl/sha.h>

#include "common/digest.h"

void digest_sha256(struct text in, unsigned char out[32])
{
	SHA256((const unsigned char *)in.ptr, in.len, out);
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
