#ifndef MILTER_KEYS_H
#define MILTER_KEYS_H

/* The signing keys in memory: unsealed and parsed at first use, kept least recently used first out, wiped when they go.
 *
 * A key that cannot be used (sealed under another key, damaged, not fitting its public half) takes nobody else down:
 * if an earlier form of the same selector is in memory that one goes on signing, else this key alone is missing.
 * Thread-safe; a key in use outlives its eviction. */

#include <stddef.h>

#include "common/directory_record.h"
#include "common/text.h"

struct keys;
struct seal;
struct signer_key;

/* SEAL must outlive the keys. At most MAX of them stay in memory. */
struct keys *keys_new(const struct seal *seal, size_t max);
/* From now on SEAL opens them, and must outlive them; the one before may be closed. What it could not open is tried
 * again; what it opened stays. */
void keys_renew_seal(struct keys *keys, const struct seal *seal);
/* No key may be taken. */
void keys_free(struct keys **keys);

struct keys_entry;
/* The key of RECORD, of DOMAIN; NULL, and *WHY (static text), when it cannot be used. When the last good one stands in
 * for it, *WHY tells so; else *WHY is NULL. Give it back with keys_release(). */
struct keys_entry *keys_take(struct keys *keys, struct text domain, const struct directory_key *record,
			     const char **why);
const struct signer_key *keys_signer(const struct keys_entry *entry);
void keys_release(struct keys *keys, struct keys_entry *entry);

#endif
