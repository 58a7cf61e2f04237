#include <stdlib.h>
#include <string.h>

/* SHA256() of OpenSSL 3 looks its algorithm up at each call, under locks, which takes longer than the digest of an event. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/params.h>
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

/* An EVP_MAC context alone, under a name of its own. */
static EVP_MAC_CTX *context_of(struct digest_mac *mac)
{
	return (EVP_MAC_CTX *)mac;
}

struct digest_mac *digest_mac_new(struct text key)
{
	char name[] = "SHA256";
	OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, name, 0), OSSL_PARAM_END};
	EVP_MAC *hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
	EVP_MAC_CTX *context = EVP_MAC_CTX_new(hmac);
	EVP_MAC_free(hmac);
	if (!context || !EVP_MAC_init(context, (const unsigned char *)(key.len ? key.ptr : ""), key.len, params))
		abort();
	return (struct digest_mac *)context;
}

void digest_mac_free(struct digest_mac **mac)
{
	if (*mac)
		EVP_MAC_CTX_free(context_of(*mac));
	*mac = NULL;
}

void digest_mac_add(struct digest_mac *mac, struct text part)
{
	if (!EVP_MAC_update(context_of(mac), (const unsigned char *)part.ptr, part.len))
		abort();
}

void digest_mac_end(struct digest_mac *mac, unsigned char out[32])
{
	size_t len;
	if (!EVP_MAC_final(context_of(mac), out, &len, 32) || !EVP_MAC_init(context_of(mac), NULL, 0, NULL))
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
