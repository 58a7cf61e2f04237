/* d2i_RSAPrivateKey() is deprecated in OpenSSL 3 in favour of OSSL_DECODER, which takes 260 microseconds for what this
 * and EVP_PKEY_fromdata() do in 13. */
#define OPENSSL_SUPPRESS_DEPRECATED

#include <stdlib.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>
#include <openssl/sha.h>
#include <openssl/x509.h>

#include "common/encode.h"
#include "common/memory.h"

#include "milter/signer.h"

#define ED25519_KEY_SIZE 32 /* RFC 8032 section 5.1.5 */

struct signer_hash {
	SHA256_CTX sha;
};

struct signer_key {
	enum directory_key_algorithm algorithm;
	EVP_PKEY *pkey;
};

struct signer_hash *signer_hash_new(void)
{
	return memory_zero(1, sizeof(struct signer_hash));
}

void signer_hash_free(struct signer_hash **hash)
{
	free(*hash);
	*hash = NULL;
}

void signer_hash_begin(struct signer_hash *hash)
{
	SHA256_Init(&hash->sha);
}

void signer_hash_add(void *context, struct text bytes)
{
	struct signer_hash *hash = context;
	SHA256_Update(&hash->sha, bytes.ptr, bytes.len);
}

void signer_hash_end(struct signer_hash *hash, unsigned char out[SIGNER_HASH_SIZE])
{
	SHA256_Final(out, &hash->sha);
}

/* The private key inside a PKCS #8 wrapper of algorithm NID, or DER itself when there is none. */
static struct text unwrap(struct text der, int nid, PKCS8_PRIV_KEY_INFO **wrapper)
{
	const unsigned char *p = (const unsigned char *)der.ptr, *inner;
	const ASN1_OBJECT *name;
	int len;
	*wrapper = d2i_PKCS8_PRIV_KEY_INFO(NULL, &p, (long)der.len);
	if (!*wrapper || !PKCS8_pkey_get0(&name, &inner, &len, NULL, *wrapper) || OBJ_obj2nid(name) != nid)
		return der;
	return text_at(inner, (size_t)len);
}

static bool rsa_fits(RSA *rsa, struct text public_key)
{
	unsigned char *spki = NULL;
	int len = i2d_RSA_PUBKEY(rsa, &spki);
	bool fits = len > 0 && text_equal(text_at(spki, (size_t)len), public_key);
	OPENSSL_free(spki);
	return fits;
}

static const char *rsa_check(RSA *rsa, struct text public_key)
{
	int bits = RSA_bits(rsa);
	if (bits < SIGNER_RSA_MIN_BITS)
		return "the RSA key is shorter than 1024 bits";
	if (bits > SIGNER_RSA_MAX_BITS)
		return "the RSA key is longer than 4096 bits";
	if (public_key.len && !rsa_fits(rsa, public_key))
		return "the private key does not fit the public key of its record";
	return NULL;
}

static OSSL_PARAM *rsa_params(const RSA *rsa)
{
	const struct {
		const char *name;
		const BIGNUM *number;
	} numbers[] = {
		{OSSL_PKEY_PARAM_RSA_N, RSA_get0_n(rsa)},
		{OSSL_PKEY_PARAM_RSA_E, RSA_get0_e(rsa)},
		{OSSL_PKEY_PARAM_RSA_D, RSA_get0_d(rsa)},
		{OSSL_PKEY_PARAM_RSA_FACTOR1, RSA_get0_p(rsa)},
		{OSSL_PKEY_PARAM_RSA_FACTOR2, RSA_get0_q(rsa)},
		{OSSL_PKEY_PARAM_RSA_EXPONENT1, RSA_get0_dmp1(rsa)},
		{OSSL_PKEY_PARAM_RSA_EXPONENT2, RSA_get0_dmq1(rsa)},
		{OSSL_PKEY_PARAM_RSA_COEFFICIENT1, RSA_get0_iqmp(rsa)},
	};
	OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
	bool built = builder != NULL;
	for (size_t i = 0; built && i < sizeof numbers / sizeof *numbers; i++)
		built = OSSL_PARAM_BLD_push_BN(builder, numbers[i].name, numbers[i].number) == 1;
	OSSL_PARAM *params = built ? OSSL_PARAM_BLD_to_param(builder) : NULL;
	OSSL_PARAM_BLD_free(builder);
	return params;
}

static void params_wipe(OSSL_PARAM *params)
{
	for (OSSL_PARAM *param = params; param && param->key; param++)
		OPENSSL_cleanse(param->data, param->data_size);
	OSSL_PARAM_free(params);
}

/* A key of the provider's own: EVP_PKEY_assign_RSA() would keep RSA beside the provider's copy, two KiB more. */
static EVP_PKEY *provider_key(const RSA *rsa)
{
	OSSL_PARAM *params = rsa_params(rsa);
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
	EVP_PKEY *pkey = NULL;
	if (params && ctx && EVP_PKEY_fromdata_init(ctx) == 1)
		EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_KEYPAIR, params);
	EVP_PKEY_CTX_free(ctx);
	params_wipe(params);
	return pkey;
}

static EVP_PKEY *parse_rsa(struct text der, struct text public_key, const char **why)
{
	PKCS8_PRIV_KEY_INFO *wrapper;
	struct text inner = unwrap(der, NID_rsaEncryption, &wrapper);
	const unsigned char *p = (const unsigned char *)inner.ptr;
	RSA *rsa = d2i_RSAPrivateKey(NULL, &p, (long)inner.len);
	PKCS8_PRIV_KEY_INFO_free(wrapper);
	*why = rsa ? rsa_check(rsa, public_key) : "the bytes are no RSA private key";
	EVP_PKEY *pkey = *why ? NULL : provider_key(rsa);
	if (!*why && !pkey)
		*why = "OpenSSL does not take the RSA private key";
	RSA_free(rsa);
	return pkey;
}

/* Inside PKCS #8 the 32 bytes stand in an OCTET STRING of their own (RFC 8410 section 7). */
static struct text raw_ed25519(struct text inner)
{
	if (inner.len == ED25519_KEY_SIZE + 2 && inner.ptr[0] == V_ASN1_OCTET_STRING &&
	    inner.ptr[1] == ED25519_KEY_SIZE)
		return text_from(inner, 2);
	return inner;
}

static EVP_PKEY *parse_ed25519(struct text der, struct text public_key, const char **why)
{
	PKCS8_PRIV_KEY_INFO *wrapper;
	struct text raw = raw_ed25519(unwrap(der, NID_ED25519, &wrapper));
	unsigned char public[ED25519_KEY_SIZE];
	size_t len = sizeof public;
	EVP_PKEY *pkey = NULL;
	*why = "the bytes are no Ed25519 private key";
	if (raw.len == ED25519_KEY_SIZE)
		pkey = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, (const unsigned char *)raw.ptr, raw.len);
	PKCS8_PRIV_KEY_INFO_free(wrapper);
	if (!pkey || EVP_PKEY_get_raw_public_key(pkey, public, &len) != 1) {
		EVP_PKEY_free(pkey);
		return NULL;
	}
	*why = NULL;
	if (!public_key.len || text_equal(public_key, text_at(public, len)))
		return pkey;
	*why = "the private key does not fit the public key of its record";
	EVP_PKEY_free(pkey);
	return NULL;
}

struct signer_key *signer_key_parse(enum directory_key_algorithm algorithm, struct text der, struct text public_key,
				    const char **why)
{
	EVP_PKEY *pkey = algorithm == DIRECTORY_ED25519_SHA256 ? parse_ed25519(der, public_key, why)
							       : parse_rsa(der, public_key, why);
	ERR_clear_error();
	if (!pkey)
		return NULL;
	struct signer_key *key = memory_new(sizeof *key);
	*key = (struct signer_key){algorithm, pkey};
	return key;
}

void signer_key_free(struct signer_key **key)
{
	if (!*key)
		return;
	EVP_PKEY_free((*key)->pkey); /* OpenSSL clears private numbers as it frees them */
	free(*key);
	*key = NULL;
}

static bool sign_rsa(EVP_PKEY *pkey, const unsigned char digest[SIGNER_HASH_SIZE], unsigned char *out, size_t *len)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(pkey, NULL);
	bool done = ctx && EVP_PKEY_sign_init(ctx) == 1 && EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING) == 1 &&
		    EVP_PKEY_CTX_set_signature_md(ctx, EVP_sha256()) == 1 &&
		    EVP_PKEY_sign(ctx, out, len, digest, SIGNER_HASH_SIZE) == 1;
	EVP_PKEY_CTX_free(ctx);
	return done;
}

static bool sign_ed25519(EVP_PKEY *pkey, const unsigned char digest[SIGNER_HASH_SIZE], unsigned char *out, size_t *len)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	bool done = ctx && EVP_DigestSignInit(ctx, NULL, NULL, NULL, pkey) == 1 &&
		    EVP_DigestSign(ctx, out, len, digest, SIGNER_HASH_SIZE) == 1;
	EVP_MD_CTX_free(ctx);
	return done;
}

int signer_sign(const struct signer_key *key, struct text data, struct buffer *out)
{
	unsigned char digest[SIGNER_HASH_SIZE], value[SIGNER_RSA_MAX_BITS / 8];
	size_t len = sizeof value;
	SHA256((const unsigned char *)data.ptr, data.len, digest);
	bool done = key->algorithm == DIRECTORY_ED25519_SHA256 ? sign_ed25519(key->pkey, digest, value, &len)
							       : sign_rsa(key->pkey, digest, value, &len);
	if (!done) {
		ERR_clear_error();
		return -1;
	}
	encode_base64(text_at(value, len), out);
	return 0;
}
