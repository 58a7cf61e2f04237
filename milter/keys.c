#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/memory.h"
#include "common/seal.h"

#include "milter/keys.h"
#include "milter/signer.h"

/* A sealed secret is told from another by its head (version, key id, nonce) and its tag: see common/seal.h. */
#define SEALED_HEAD 17
#define SEALED_TAIL 16

struct identity {
	size_t len; /* of the sealed secret; 0: none */
	unsigned char head[SEALED_HEAD], tail[SEALED_TAIL];
};

struct keys_entry {
	struct keys_entry *chain;         /* of the same bucket */
	struct keys_entry *newer, *older; /* by last use */
	char *name;                       /* "domain selector"; NULL once evicted */
	size_t bucket;
	struct identity good, bad; /* what KEY was made of; what failed since */
	const char *why;           /* BAD failed */
	struct signer_key *key;
	size_t users;
};

struct keys {
	const struct seal *seal;
	pthread_mutex_t lock;
	size_t max, count, bucket_count;
	struct keys_entry **buckets;
	struct keys_entry *newest, *oldest;
};

struct keys *keys_new(const struct seal *seal, size_t max)
{
	struct keys *keys = memory_zero(1, sizeof *keys);
	keys->seal = seal;
	keys->max = max;
	for (keys->bucket_count = 64; keys->bucket_count < max;)
		keys->bucket_count *= 2;
	keys->buckets = memory_zero(keys->bucket_count, sizeof(struct keys_entry *));
	pthread_mutex_init(&keys->lock, NULL);
	return keys;
}

void keys_renew_seal(struct keys *keys, const struct seal *seal)
{
	pthread_mutex_lock(&keys->lock);
	keys->seal = seal;
	for (struct keys_entry *entry = keys->newest; entry; entry = entry->older) {
		entry->bad = (struct identity){0};
		entry->why = NULL;
	}
	pthread_mutex_unlock(&keys->lock);
}

static void entry_free(struct keys_entry *entry)
{
	signer_key_free(&entry->key);
	free(entry->name);
	free(entry);
}

/* FNV-1a (draft-eastlake-fnv): names come from the directory, not from strangers. */
static size_t hash(struct text name)
{
	uint64_t h = 0xcbf29ce484222325U;
	for (size_t i = 0; i < name.len; i++)
		h = (h ^ (unsigned char)name.ptr[i]) * 0x100000001b3U;
	return (size_t)h;
}

static struct identity identity_of(struct text sealed)
{
	struct identity id = {.len = sealed.len};
	if (sealed.len < SEALED_HEAD + SEALED_TAIL)
		return id;
	memcpy(id.head, sealed.ptr, SEALED_HEAD);
	memcpy(id.tail, sealed.ptr + sealed.len - SEALED_TAIL, SEALED_TAIL);
	return id;
}

static bool identity_equal(const struct identity *a, const struct identity *b)
{
	return a->len == b->len && memcmp(a->head, b->head, SEALED_HEAD) == 0 &&
	       memcmp(a->tail, b->tail, SEALED_TAIL) == 0;
}

static void unlink_use(struct keys *keys, struct keys_entry *entry)
{
	*(entry->newer ? &entry->newer->older : &keys->newest) = entry->older;
	*(entry->older ? &entry->older->newer : &keys->oldest) = entry->newer;
	entry->newer = entry->older = NULL;
}

static void link_newest(struct keys *keys, struct keys_entry *entry)
{
	entry->older = keys->newest;
	*(keys->newest ? &keys->newest->newer : &keys->oldest) = entry;
	keys->newest = entry;
}

static void evict(struct keys *keys, struct keys_entry *entry)
{
	struct keys_entry **at = &keys->buckets[entry->bucket];
	while (*at != entry)
		at = &(*at)->chain;
	*at = entry->chain;
	unlink_use(keys, entry);
	keys->count--;
	free(entry->name);
	entry->name = NULL;
	if (!entry->users)
		entry_free(entry);
}

void keys_free(struct keys **keys)
{
	if (!*keys)
		return;
	while ((*keys)->oldest)
		evict(*keys, (*keys)->oldest);
	pthread_mutex_destroy(&(*keys)->lock);
	free((*keys)->buckets);
	free(*keys);
	*keys = NULL;
}

static struct keys_entry *find(struct keys *keys, struct text name, size_t bucket)
{
	for (struct keys_entry *entry = keys->buckets[bucket]; entry; entry = entry->chain)
		if (text_equal(text_of(entry->name), name))
			return entry;
	return NULL;
}

static struct keys_entry *add(struct keys *keys, struct text name, size_t bucket)
{
	if (keys->count >= keys->max)
		evict(keys, keys->oldest);
	struct keys_entry *entry = memory_zero(1, sizeof *entry);
	entry->name = text_copy(name);
	entry->bucket = bucket;
	entry->chain = keys->buckets[bucket];
	keys->buckets[bucket] = entry;
	link_newest(keys, entry);
	keys->count++;
	return entry;
}

static struct signer_key *unseal(const struct keys *keys, struct text name, const struct directory_key *record,
				 const char **why)
{
	struct buffer der = {0};
	struct signer_key *key = NULL;
	*why = "its public half is missing, so it cannot be compared";
	if (!record->public_key.len)
		return NULL;
	*why = seal_unseal(keys->seal, record->sealed, name, &der);
	if (!*why)
		key = signer_key_parse(record->algorithm, buffer_view(&der), record->public_key, why);
	seal_wipe(&der);
	return key;
}

/* An entry whose key is in use keeps it until the last user is gone: the new form gets an entry of its own. */
static struct keys_entry *renew(struct keys *keys, struct keys_entry *entry, struct signer_key *key, struct identity id)
{
	if (entry->key && entry->users) {
		struct text name = text_of(entry->name);
		struct keys_entry *next = memory_zero(1, sizeof *next);
		next->name = text_copy(name);
		next->bucket = entry->bucket;
		evict(keys, entry);
		next->chain = keys->buckets[next->bucket];
		keys->buckets[next->bucket] = next;
		link_newest(keys, next);
		keys->count++;
		entry = next;
	}
	signer_key_free(&entry->key);
	entry->key = key;
	entry->good = id;
	entry->why = NULL;
	entry->bad = (struct identity){0};
	return entry;
}

static struct keys_entry *take(struct keys *keys, struct text name, const struct directory_key *record,
			       const char **why)
{
	size_t bucket = hash(name) & (keys->bucket_count - 1);
	struct identity id = identity_of(record->sealed);
	struct keys_entry *entry = find(keys, name, bucket);
	*why = NULL;
	if (!entry)
		entry = add(keys, name, bucket);
	if (!entry->key || !identity_equal(&entry->good, &id)) {
		bool known_bad = entry->why && identity_equal(&entry->bad, &id);
		struct signer_key *key = known_bad ? NULL : unseal(keys, name, record, &entry->why);
		if (key) {
			entry = renew(keys, entry, key, id);
		} else {
			entry->bad = id;
			*why = entry->why;
		}
	}
	unlink_use(keys, entry);
	link_newest(keys, entry);
	return entry->key ? entry : NULL;
}

struct keys_entry *keys_take(struct keys *keys, struct text domain, const struct directory_key *record,
			     const char **why)
{
	char name[512];
	if (domain.len + 1 + record->selector.len >= sizeof name) {
		*why = "the name of the key is too long";
		return NULL;
	}
	memcpy(name, domain.ptr, domain.len);
	name[domain.len] = ' ';
	memcpy(name + domain.len + 1, record->selector.ptr, record->selector.len);
	pthread_mutex_lock(&keys->lock);
	struct keys_entry *entry = take(keys, text_at(name, domain.len + 1 + record->selector.len), record, why);
	if (entry)
		entry->users++;
	pthread_mutex_unlock(&keys->lock);
	return entry;
}

const struct signer_key *keys_signer(const struct keys_entry *entry)
{
	return entry->key;
}

void keys_release(struct keys *keys, struct keys_entry *entry)
{
	if (!entry)
		return;
	pthread_mutex_lock(&keys->lock);
	if (!--entry->users && !entry->name)
		entry_free(entry);
	pthread_mutex_unlock(&keys->lock);
}
