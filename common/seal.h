#ifndef COMMON_SEAL_H
#define COMMON_SEAL_H

/* Secrets at rest: AES-256-GCM (NIST SP 800-38D) under a key file. A sealed secret is
 *	version (1 byte, 1) | key id (4 bytes) | nonce (12 random bytes) | ciphertext | tag (16 bytes)
 * where the key id is the head of SHA-256(key), so that "this was sealed under another key" can be told from damage.
 * A key file holds lines of 64 hex digits: the first seals, all open (for rotation); '#' begins a comment line. No
 * others may read it; its group may when it is root's. */

#include "common/text.h"

struct seal;

/* Reads the key file; NULL and one line in *ERROR (free it), "PATH: what is wrong", on failure. */
struct seal *seal_open(const char *path, char **error);
/* Wipes the keys. */
void seal_close(struct seal **seal);
/* Makes a key file that only its owner can read; 0, or -1 with errno (EEXIST: never overwritten). */
int seal_create(const char *path);

/* Appends the sealed SECRET to OUT. ASSOCIATED is bound to it and must be given again to open it. 0 or -1. */
int seal_secret(const struct seal *seal, struct text secret, struct text associated, struct buffer *out);
/* Appends the secret to OUT, which the caller wipes (seal_wipe). NULL, or why it cannot be opened. */
const char *seal_unseal(const struct seal *seal, struct text sealed, struct text associated, struct buffer *out);
/* Is it sealed under the first key? If not, rotation has work to do. */
bool seal_is_current(const struct seal *seal, struct text sealed);
/* Views of its keys, the first first, for other uses than sealing. How many; OUT has room for SEAL_MAX_KEYS. */
#define SEAL_MAX_KEYS 8
size_t seal_keys(const struct seal *seal, struct text out[SEAL_MAX_KEYS]);
/* Zeroes the bytes and frees the buffer. */
void seal_wipe(struct buffer *secret);

#endif
