#include "common/webhook_key.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/x509.h>

#include "common/digest.h"
#include "common/memory.h"

struct webhook_key {
	enum webhook_key_kind kind;
	EVP_PKEY *pair;
};

#define SEED_SIZE 32

/* Uncompressed: 0x04, X, Y (SEC 1 section 2.3.3). */
#define P256_POINT_SIZE 65

/* Seeds of different kinds and rounds have nothing to do with each other. */
static void make_seed(const char *label, int round, struct text secret, unsigned char seed[SEED_SIZE])
{
	struct buffer key = {0};
	buffer_format(&key, "waybill webhook key %s %d", label, round);
	digest_hmac_sha256(secret, buffer_view(&key), seed);
	buffer_free(&key);
}

static void need(bool ok)
{
	if (!ok)
		abort(); /* out of memory: see common/memory.h */
}

/* A scalar from 1 to the order minus 1, evenly: others are drawn again (FIPS 186-5 section A.2.2). */
static BIGNUM *make_scalar(const EC_GROUP *group, struct text secret)
{
	BIGNUM *scalar = BN_new();
	unsigned char seed[SEED_SIZE];
	need(scalar);
	for (int round = 0; BN_is_zero(scalar) || BN_cmp(scalar, EC_GROUP_get0_order(group)) >= 0; round++) {
		make_seed("p256", round, secret, seed);
		need(BN_bin2bn(seed, SEED_SIZE, scalar));
	}
	explicit_bzero(seed, sizeof(seed));
	return scalar;
}

static EVP_PKEY *pair_of(const BIGNUM *scalar, const unsigned char point[P256_POINT_SIZE])
{
	EVP_PKEY *pair = NULL;
	EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
	OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
	need(context && build &&
	     OSSL_PARAM_BLD_push_utf8_string(build, OSSL_PKEY_PARAM_GROUP_NAME, "prime256v1", 0) == 1 &&
	     OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_PRIV_KEY, scalar) == 1 &&
	     OSSL_PARAM_BLD_push_octet_string(build, OSSL_PKEY_PARAM_PUB_KEY, point, P256_POINT_SIZE) == 1);
	OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(build);
	need(params && EVP_PKEY_fromdata_init(context) == 1 &&
	     EVP_PKEY_fromdata(context, &pair, EVP_PKEY_KEYPAIR, params) == 1);
	OSSL_PARAM_free(params);
	OSSL_PARAM_BLD_free(build);
	EVP_PKEY_CTX_free(context);
	return pair;
}

static EVP_PKEY *derive_p256(struct text secret)
{
	unsigned char point[P256_POINT_SIZE];
	EC_GROUP *group = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
	EC_POINT *public = group ? EC_POINT_new(group) : NULL;
	need(public);
	BIGNUM *scalar = make_scalar(group, secret);
	need(EC_POINT_mul(group, public, scalar, NULL, NULL, NULL) == 1 &&
	     EC_POINT_point2oct(group, public, POINT_CONVERSION_UNCOMPRESSED, point, sizeof(point), NULL) ==
		     sizeof(point));
	EVP_PKEY *pair = pair_of(scalar, point);
	BN_clear_free(scalar);
	EC_POINT_free(public);
	EC_GROUP_free(group);
	return pair;
}

static EVP_PKEY *derive_ed25519(struct text secret)
{
	unsigned char seed[SEED_SIZE];
	make_seed("ed25519", 0, secret, seed);
	EVP_PKEY *pair = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, sizeof(seed));
	explicit_bzero(seed, sizeof(seed));
	need(pair);
	return pair;
}

struct webhook_key *webhook_key_derive(enum webhook_key_kind kind, struct text secret)
{
	struct webhook_key *key = memory_zero(1, sizeof(*key));
	key->kind = kind;
	key->pair = kind == WEBHOOK_KEY_P256 ? derive_p256(secret) : derive_ed25519(secret);
	return key;
}

void webhook_key_free(struct webhook_key **key)
{
	if (!*key)
		return;
	EVP_PKEY_free((*key)->pair);
	free(*key);
	*key = NULL;
}

void webhook_key_public(const struct webhook_key *key, struct buffer *out)
{
	if (key->kind == WEBHOOK_KEY_ED25519) {
		unsigned char raw[32];
		size_t len = sizeof(raw);
		need(EVP_PKEY_get_raw_public_key(key->pair, raw, &len) == 1);
		buffer_add(out, raw, len);
		return;
	}
	unsigned char *der = NULL;
	int len = i2d_PUBKEY(key->pair, &der);
	need(len > 0);
	buffer_add(out, der, (size_t)len);
	OPENSSL_free(der);
}

void webhook_key_sign(const struct webhook_key *key, struct text message, struct buffer *out)
{
	unsigned char signature[128]; /* of P-256 at most 72 */
	size_t len = sizeof(signature);
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	const EVP_MD *hash = key->kind == WEBHOOK_KEY_P256 ? EVP_sha256() : NULL;
	need(context && EVP_DigestSignInit(context, NULL, hash, NULL, key->pair) == 1 &&
	     EVP_DigestSign(context, signature, &len, (const unsigned char *)message.ptr, message.len) == 1);
	buffer_add(out, signature, len);
	EVP_MD_CTX_free(context);
}
