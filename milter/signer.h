#ifndef MILTER_SIGNER_H
#define MILTER_SIGNER_H

/* Hashing and signing: the one file of the milter that meets OpenSSL.
 *
 * Why not libopendkim: it parses the key anew for each message, three times the work of the signature. A key here is
 * parsed once and shared by all threads. */

#include "common/directory_record.h"
#include "common/text.h"

/* A running SHA-256. */
struct signer_hash;
struct signer_hash *signer_hash_new(void);
void signer_hash_free(struct signer_hash **hash);
void signer_hash_begin(struct signer_hash *hash);
/* Fits canon_sink: CONTEXT is a struct signer_hash. */
void signer_hash_add(void *context, struct text bytes);
#define SIGNER_HASH_SIZE 32
void signer_hash_end(struct signer_hash *hash, unsigned char out[SIGNER_HASH_SIZE]);

struct signer_key;
/* RFC 8301 section 3.2: signers use at least 1024 bits; larger ones than 4096 need not be verified by anyone. */
#define SIGNER_RSA_MIN_BITS 1024
#define SIGNER_RSA_MAX_BITS 4096
/* Parses DER: an RSAPrivateKey (RFC 8017 appendix A.1.2) or 32 raw bytes for Ed25519, either also inside PKCS #8. The
 * key must fit PUBLIC_KEY, what the DNS record's p= says: a DER SubjectPublicKeyInfo, or 32 raw bytes; an empty
 * PUBLIC_KEY is not compared. NULL and *WHY (static text) when it is no such key. Nothing of DER is kept. */
struct signer_key *signer_key_parse(enum directory_key_algorithm algorithm, struct text der, struct text public_key,
				    const char **why);
/* Wipes the private half. */
void signer_key_free(struct signer_key **key);
/* Appends to OUT the base64 of the signature over DATA, the canonical header: RSASSA-PKCS1-v1_5 with SHA-256 (RFC 6376
 * section 3.3), or Ed25519 of the SHA-256 (RFC 8463 section 3). Any thread. 0 or -1. */
int signer_sign(const struct signer_key *key, struct text data, struct buffer *out);

#endif
