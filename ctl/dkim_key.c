#include <stdlib.h>
#include <string.h>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include "ctl/dkim_key.h"

#define ED25519_SIZE 32

/* What OpenSSL wrote into memory of its own, moved to OUT and wiped. */
static void move_der(unsigned char *der, int len, struct buffer *out)
{
	if (len <= 0)
		abort();
	buffer_add(out, der, (size_t)len);
	OPENSSL_clear_free(der, (size_t)len);
}

static void take_rsa(EVP_PKEY *key, struct buffer *secret, struct buffer *public_key)
{
	unsigned char *der = NULL;
	int len = i2d_PrivateKey(key, &der);
	move_der(der, len, secret);
	der = NULL;
	len = i2d_PUBKEY(key, &der);
	move_der(der, len, public_key);
}

static void take_ed25519(EVP_PKEY *key, struct buffer *secret, struct buffer *public_key)
{
	unsigned char raw[ED25519_SIZE];
	size_t len = sizeof(raw);
	if (EVP_PKEY_get_raw_private_key(key, raw, &len) != 1)
		abort();
	buffer_add(secret, raw, len);
	OPENSSL_cleanse(raw, sizeof(raw));
	len = sizeof(raw);
	if (EVP_PKEY_get_raw_public_key(key, raw, &len) != 1)
		abort();
	buffer_add(public_key, raw, len);
}

void dkim_key_make(enum directory_key_algorithm algorithm, struct buffer *secret, struct buffer *public_key)
{
	bool rsa = algorithm == DIRECTORY_RSA_SHA256;
	EVP_PKEY *key = rsa ? EVP_RSA_gen(DKIM_RSA_BITS) : EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	if (!key)
		abort();
	if (rsa)
		take_rsa(key, secret, public_key);
	else
		take_ed25519(key, secret, public_key);
	EVP_PKEY_free(key);
}

const char *dkim_key_import(struct text pem, enum directory_key_algorithm *algorithm, struct buffer *secret,
			    struct buffer *public_key)
{
	const char *why = NULL;
	BIO *bio = BIO_new_mem_buf(pem.ptr, (int)pem.len);
	/* An empty pass phrase, so that an encrypted file is an error and no question. */
	char no_phrase[] = "";
	EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, NULL, no_phrase) : NULL;
	if (!key) {
		why = "no private key in PEM form";
	} else if (EVP_PKEY_get_base_id(key) == EVP_PKEY_RSA) {
		*algorithm = DIRECTORY_RSA_SHA256;
		take_rsa(key, secret, public_key);
	} else if (EVP_PKEY_get_base_id(key) == EVP_PKEY_ED25519) {
		*algorithm = DIRECTORY_ED25519_SHA256;
		take_ed25519(key, secret, public_key);
	} else {
		why = "neither an RSA nor an Ed25519 key";
	}
	EVP_PKEY_free(key);
	BIO_free(bio);
	ERR_clear_error();
	return why;
}

static EVP_PKEY *parse(enum directory_key_algorithm algorithm, struct text secret)
{
	const unsigned char *bytes = (const unsigned char *)secret.ptr;
	EVP_PKEY *key = algorithm == DIRECTORY_RSA_SHA256
				? d2i_PrivateKey(EVP_PKEY_RSA, NULL, &bytes, (long)secret.len)
				: EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, bytes, secret.len);
	ERR_clear_error();
	return key;
}

const char *dkim_key_public(enum directory_key_algorithm algorithm, struct text secret, struct buffer *out)
{
	struct buffer again = {0};
	EVP_PKEY *key = parse(algorithm, secret);
	if (!key)
		return "the bytes are no private key of this kind";
	if (algorithm == DIRECTORY_RSA_SHA256)
		take_rsa(key, &again, out);
	else
		take_ed25519(key, &again, out);
	EVP_PKEY_free(key);
	OPENSSL_cleanse(again.ptr, again.len);
	buffer_free(&again);
	return NULL;
}

const char *dkim_key_pem(enum directory_key_algorithm algorithm, struct text secret, struct buffer *out)
{
	EVP_PKEY *key = parse(algorithm, secret);
	BIO *bio = BIO_new(BIO_s_secmem());
	char *pem = NULL;
	long len = 0;
	if (key && bio && PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) == 1)
		len = BIO_get_mem_data(bio, &pem);
	if (len > 0)
		buffer_add(out, pem, (size_t)len);
	EVP_PKEY_free(key);
	BIO_free(bio);
	ERR_clear_error();
	return len > 0 ? NULL : "the bytes are no private key of this kind";
}
