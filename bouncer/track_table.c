/* The sessions' memory: a hash table, lists by age, packed texts, recipients. Millions of lines pass through here, so a
 * line costs one look-up and no allocation but for what is new. */

#include <stdlib.h>
#include <string.h>

#include "common/memory.h"

#include "bouncer/track_internal.h"

#define FIRST_BUCKETS 1024
#define SPARE_TEXTS   48 /* bytes, so that a session's texts need few moves */
#define INDEX_FROM    16 /* recipients: below it they are looked through */
#define MAX_DEFERRAL  1024

/* FNV-1a (RFC 9923), folded at the end; the keys come from Postfix, not from strangers. */
uint32_t track_hash(struct text t)
{
	uint64_t hash = 0xcbf29ce484222325u;
	for (size_t i = 0; i < t.len; i++)
		hash = (hash ^ (unsigned char)t.ptr[i]) * 0x100000001b3u;
	return (uint32_t)(hash ^ (hash >> 32));
}

static bool same_origin(const struct origin *origin, struct text host, struct text instance)
{
	return text_equal(origin->host, host) && text_equal(origin->instance, instance);
}

static void drop_origin(struct origin *origin)
{
	free((void *)(uintptr_t)origin->host.ptr);
	free((void *)(uintptr_t)origin->instance.ptr);
}

/* A place for one more: a new one, or that of one without a session. Any local user can make names. */
static size_t free_origin(struct track *track)
{
	if (track->origin_count < TRACK_MAX_ORIGINS)
		return track->origin_count++;
	size_t i = 0;
	while (i < TRACK_MAX_ORIGINS && track->origins[i].sessions)
		i++;
	if (i < TRACK_MAX_ORIGINS)
		drop_origin(&track->origins[i]);
	return i;
}

size_t track_origin(struct track *track, struct text host, struct text instance)
{
	if (track->origin_count && same_origin(&track->origins[track->origin_last], host, instance))
		return track->origin_last;
	for (size_t i = 0; i < track->origin_count; i++)
		if (same_origin(&track->origins[i], host, instance))
			return track->origin_last = i;
	size_t place = free_origin(track);
	if (place == TRACK_MAX_ORIGINS)
		return place;
	track->full = false;
	track->origins[place] =
		(struct origin){text_at(text_copy(host), host.len), text_at(text_copy(instance), instance.len), 0};
	return track->origin_last = place;
}

static uint32_t key_hash(size_t origin, struct text queue_id)
{
	return track_hash(queue_id) + (uint32_t)origin * 0x9e3779b9u;
}

struct session *track_find(struct track *track, size_t origin, struct text queue_id)
{
	uint32_t hash = key_hash(origin, queue_id);
	struct session *s = track->bucket_count ? track->buckets[hash & (track->bucket_count - 1)] : NULL;
	while (s && (s->hash != hash || s->origin != origin || !text_equal(session_text(s, TEXT_QUEUE_ID), queue_id)))
		s = s->chain;
	return s;
}

static void grow(struct track *track)
{
	size_t count = track->bucket_count ? track->bucket_count * 2 : FIRST_BUCKETS;
	struct session **buckets = memory_zero(count, sizeof *buckets);
	for (size_t i = 0; i < track->bucket_count; i++)
		for (struct session *s = track->buckets[i], *next; s; s = next) {
			next = s->chain;
			s->chain = buckets[s->hash & (count - 1)];
			buckets[s->hash & (count - 1)] = s;
		}
	free(track->buckets);
	track->buckets = buckets;
	track->bucket_count = count;
}

static void unlist(struct track *track, struct session *s)
{
	*(s->older ? &s->older->newer : &track->lists[s->list].oldest) = s->newer;
	*(s->newer ? &s->newer->older : &track->lists[s->list].newest) = s->older;
}

static void enlist(struct track *track, struct session *s)
{
	s->list = s->flags & SESSION_HELD ? LIST_HELD : s->flags & SESSION_ACTIVE ? LIST_QUEUED : LIST_ABORTING;
	s->newer = NULL;
	s->older = track->lists[s->list].newest;
	*(s->older ? &s->older->newer : &track->lists[s->list].oldest) = s;
	track->lists[s->list].newest = s;
}

struct session *track_add(struct track *track, size_t origin, struct text queue_id, int64_t now_us)
{
	if (track->session_count >= track->bucket_count)
		grow(track);
	struct session *s = memory_zero(1, sizeof *s);
	s->hash = key_hash(origin, queue_id);
	s->origin = (uint16_t)origin;
	track->origins[origin].sessions++;
	/* A long id says when its message began, wherever the log begins. */
	s->start_us = line_queue_time(queue_id);
	if (!s->start_us)
		s->start_us = now_us;
	s->last_us = now_us;
	session_set(s, TEXT_QUEUE_ID, queue_id);
	struct session **bucket = &track->buckets[s->hash & (track->bucket_count - 1)];
	s->chain = *bucket;
	*bucket = s;
	track->session_count++;
	enlist(track, s);
	return s;
}

static void free_session(struct session *s)
{
	for (uint32_t i = 0; i < s->recipient_count; i++) {
		free(s->recipients[i].address);
		free(s->recipients[i].deferral);
	}
	free(s->recipients);
	free(s->index);
	free(s->bytes);
	free(s);
}

static void add_key(struct buffer *out, struct text t)
{
	uint32_t len = (uint32_t)t.len;
	buffer_add(out, &len, sizeof len);
	buffer_text(out, t);
}

void track_dirty(struct track *track, struct session *s)
{
	if (s->dirty_at)
		return;
	if (track->dirty_count == track->dirty_cap) {
		track->dirty_cap = track->dirty_cap ? track->dirty_cap * 2 : 64;
		track->dirty = memory_resize(track->dirty, track->dirty_cap, sizeof *track->dirty);
	}
	track->dirty[track->dirty_count++] = s;
	s->dirty_at = (uint32_t)track->dirty_count;
}

void track_clean(struct track *track, struct session *s)
{
	if (!s->dirty_at)
		return;
	struct session *last = track->dirty[--track->dirty_count];
	track->dirty[s->dirty_at - 1] = last;
	last->dirty_at = s->dirty_at;
	s->dirty_at = 0;
}

void track_drop(struct track *track, struct session *s)
{
	struct session **at = &track->buckets[s->hash & (track->bucket_count - 1)];
	while (*at != s)
		at = &(*at)->chain;
	*at = s->chain;
	unlist(track, s);
	track_clean(track, s);
	if (s->stored) {
		add_key(&track->gone, track->origins[s->origin].host);
		add_key(&track->gone, track->origins[s->origin].instance);
		add_key(&track->gone, session_text(s, TEXT_QUEUE_ID));
	}
	track->origins[s->origin].sessions--;
	track->session_count--;
	free_session(s);
}

void track_touch(struct track *track, struct session *s, int64_t now_us)
{
	/* Time may step back; a session does not grow older by that. */
	if (now_us > s->last_us)
		s->last_us = now_us;
	unlist(track, s);
	enlist(track, s);
	track_dirty(track, s);
}

static int by_age(const void *a, const void *b)
{
	const struct session *const *one = a, *const *other = b;
	return ((*one)->last_us > (*other)->last_us) - ((*one)->last_us < (*other)->last_us);
}

void track_sort(struct track *track)
{
	struct session **all = memory_new((track->session_count + 1) * sizeof *all);
	size_t count = 0;
	for (size_t i = 0; i < track->bucket_count; i++)
		for (struct session *s = track->buckets[i]; s; s = s->chain)
			all[count++] = s;
	qsort(all, count, sizeof *all, by_age);
	memset(track->lists, 0, sizeof track->lists);
	for (size_t i = 0; i < count; i++)
		enlist(track, all[i]);
	free(all);
	track->restored = false;
}

int64_t track_limit_us(const struct session *s)
{
	return s->flags & SESSION_HELD ? TRACK_HELD_US : s->flags & SESSION_ACTIVE ? TRACK_SILENT_US : TRACK_ABORTED_US;
}

void track_table_free(struct track *track)
{
	for (size_t i = 0; i < track->bucket_count; i++)
		for (struct session *s = track->buckets[i], *next; s; s = next) {
			next = s->chain;
			free_session(s);
		}
	for (size_t i = 0; i < track->origin_count; i++)
		drop_origin(&track->origins[i]);
	free(track->buckets);
	free(track->dirty);
}

static size_t text_at_byte(const struct session *s, size_t which)
{
	size_t at = 0;
	for (size_t i = 0; i < which; i++)
		at += s->text_len[i];
	return at;
}

struct text session_text(const struct session *s, enum session_text which)
{
	return text_at(s->bytes + text_at_byte(s, which), s->text_len[which]);
}

struct text session_first_id(const struct session *s)
{
	return session_text(s, s->text_len[TEXT_FIRST_ID] ? TEXT_FIRST_ID : TEXT_QUEUE_ID);
}

void session_set(struct session *s, enum session_text which, struct text value)
{
	value = text_head(value, SESSION_TEXT_LIMIT);
	size_t at = text_at_byte(s, which), old = s->text_len[which], total = text_at_byte(s, SESSION_TEXT_MAX);
	size_t need = total - old + value.len;
	if (need > s->bytes_cap) {
		s->bytes_cap = (uint16_t)(need + SPARE_TEXTS);
		s->bytes = memory_resize(s->bytes, s->bytes_cap, 1);
	}
	if (at + old < total)
		memmove(s->bytes + at + value.len, s->bytes + at + old, total - at - old);
	if (value.len)
		memcpy(s->bytes + at, value.ptr, value.len);
	s->text_len[which] = (uint16_t)value.len;
}

void session_trim(struct session *s)
{
	size_t total = text_at_byte(s, SESSION_TEXT_MAX);
	if (total == s->bytes_cap)
		return;
	s->bytes = memory_resize(s->bytes, total, 1);
	s->bytes_cap = (uint16_t)total;
}

static void index_put(struct session *s, uint32_t position)
{
	size_t mask = ((size_t)2 << s->recipient_cap_log2) - 1, at = s->recipients[position].hash & mask;
	while (s->index[at])
		at = (at + 1) & mask;
	s->index[at] = position + 1;
}

static void recipients_grow(struct session *s)
{
	if (s->recipients)
		s->recipient_cap_log2++;
	s->recipients = memory_resize(s->recipients, (size_t)1 << s->recipient_cap_log2, sizeof *s->recipients);
	if (s->recipient_count < INDEX_FROM)
		return;
	free(s->index);
	s->index = memory_zero((size_t)2 << s->recipient_cap_log2, sizeof *s->index);
	for (uint32_t i = 0; i < s->recipient_count; i++)
		index_put(s, i);
}

static bool is_recipient(const struct recipient *r, uint32_t hash, struct text address)
{
	return r->hash == hash && text_equal(text_at(r->address, r->address_len), address);
}

static struct recipient *recipient_find(struct session *s, uint32_t hash, struct text address)
{
	if (s->index) {
		size_t mask = ((size_t)2 << s->recipient_cap_log2) - 1;
		for (size_t at = hash & mask; s->index[at]; at = (at + 1) & mask)
			if (is_recipient(&s->recipients[s->index[at] - 1], hash, address))
				return &s->recipients[s->index[at] - 1];
		return NULL;
	}
	for (uint32_t i = 0; i < s->recipient_count; i++)
		if (is_recipient(&s->recipients[i], hash, address))
			return &s->recipients[i];
	return NULL;
}

struct recipient *session_recipient(struct session *s, struct text address)
{
	address = text_head(address, SESSION_TEXT_LIMIT);
	uint32_t hash = track_hash(address);
	struct recipient *r = recipient_find(s, hash, address);
	if (r)
		return r;
	if (!s->recipients || s->recipient_count == (uint32_t)1 << s->recipient_cap_log2)
		recipients_grow(s);
	r = &s->recipients[s->recipient_count++];
	*r = (struct recipient){.address = text_copy(address), .hash = hash, .address_len = (uint16_t)address.len};
	if (s->index)
		index_put(s, s->recipient_count - 1);
	return r;
}

void recipient_settle(struct recipient *r)
{
	free(r->deferral);
	r->deferral = NULL;
}

void session_end(struct session *s, struct recipient *r, struct text orig)
{
	uint32_t name = track_hash(orig);
	s->ended += !r->ended || r->ended_as != name;
	r->ended_as = name;
	track_saturate(&r->ended);
	recipient_settle(r);
}

void recipient_defer(struct recipient *r, const struct record *record)
{
	struct text parts[] = {text_head(record->dsn, 16), text_head(record->relay, 300),
			       text_head(record->reason, MAX_DEFERRAL), text_head(record->orig_recipient, 320)};
	size_t len = parts[0].len + parts[1].len + parts[2].len + parts[3].len;
	struct deferral *d = memory_new(sizeof *d + len);
	*d = (struct deferral){(uint16_t)parts[0].len, (uint16_t)parts[1].len, (uint16_t)parts[2].len,
			       (uint16_t)parts[3].len, record->truncated || parts[2].len < record->reason.len};
	char *at = d->bytes;
	for (size_t i = 0; i < 4; at += parts[i++].len)
		if (parts[i].len)
			memcpy(at, parts[i].ptr, parts[i].len);
	recipient_settle(r);
	r->deferral = d;
}
