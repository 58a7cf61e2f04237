#ifndef CTL_DKIM_KEY_H
#define CTL_DKIM_KEY_H

/* Making DKIM keys (OpenSSL). */

#include "common/directory_record.h"

#define DKIM_RSA_BITS 2048 /* RFC 8301 section 3.2: at least; larger ones do not fit every resolver's answer */

/* Makes a key: SECRET gets the private half (DER RSAPrivateKey, or 32 bytes for Ed25519) for sealing, then wiping with
 * seal_wipe(); PUBLIC what the record's p= holds (DER SubjectPublicKeyInfo, or 32 bytes). */
void dkim_key_make(enum directory_key_algorithm algorithm, struct buffer *secret, struct buffer *public_key);
/* Reads a private key in PEM form, RSA or Ed25519, into the same. NULL, or why not. */
const char *dkim_key_import(struct text pem, enum directory_key_algorithm *algorithm, struct buffer *secret,
			    struct buffer *public_key);
/* The public half of a private key, as dkim_key_make() gives both. NULL, or why not. */
const char *dkim_key_public(enum directory_key_algorithm algorithm, struct text secret, struct buffer *out);
/* The private key, as dkim_key_make() gives it, in PEM form (PKCS #8) for libopendkim; wipe it. NULL, or why not. */
const char *dkim_key_pem(enum directory_key_algorithm algorithm, struct text secret, struct buffer *out);

#endif
