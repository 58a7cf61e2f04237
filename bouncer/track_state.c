/* A session as bytes, and back: what a restarted tracker needs. The format is the database's: a version in front, numbers as LEB128 (DWARF 5, section
 * 7.6), texts behind their length. A state that is cut or made by a later version is refused, never half read. */

#include <string.h>

#include "common/memory.h"

#include "bouncer/track_internal.h"

#define STATE_VERSION        3
#define STATE_MAX_RECIPIENTS 1000000

static void put_number(struct buffer *out, uint64_t value)
{
	for (; value >= 0x80; value >>= 7)
		buffer_char(out, (char)(value | 0x80));
	buffer_char(out, (char)value);
}

static void put_text(struct buffer *out, struct text t)
{
	put_number(out, t.len);
	buffer_text(out, t);
}

/* Reading: after the first fault everything is 0, and fault says so. */
struct reader {
	struct text rest;
	bool fault;
};

static uint64_t get_number(struct reader *r, uint64_t max)
{
	uint64_t value = 0;
	for (unsigned shift = 0; shift < 64 && r->rest.len; shift += 7) {
		unsigned char byte = (unsigned char)r->rest.ptr[0];
		r->rest = text_from(r->rest, 1);
		value |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80)) {
			r->fault = r->fault || value > max;
			return r->fault ? 0 : value;
		}
	}
	r->fault = true;
	return 0;
}

static struct text get_text(struct reader *r, size_t max)
{
	size_t len = (size_t)get_number(r, max);
	if (len > r->rest.len)
		r->fault = true;
	if (r->fault)
		return (struct text){0};
	struct text t = text_head(r->rest, len);
	r->rest = text_from(r->rest, len);
	return t;
}

static void recipient_write(const struct recipient *r, struct buffer *out)
{
	put_text(out, text_at(r->address, r->address_len));
	put_number(out, r->attempts);
	put_number(out, r->deferred);
	put_number(out, r->ended);
	put_number(out, r->ended_as);
	put_number(out, r->deferral != NULL);
	if (!r->deferral)
		return;
	const struct deferral *d = r->deferral;
	put_number(out, d->truncated);
	put_number(out, d->dsn_len);
	put_number(out, d->relay_len);
	put_number(out, d->reason_len);
	put_number(out, d->orig_len);
	buffer_add(out, d->bytes, (size_t)d->dsn_len + d->relay_len + d->reason_len + d->orig_len);
}

static void session_write(const struct session *s, struct buffer *out)
{
	put_number(out, STATE_VERSION);
	put_number(out, (uint64_t)s->start_us);
	put_number(out, (uint64_t)s->last_us);
	put_number(out, s->flags);
	put_number(out, s->size);
	put_number(out, s->nrcpt);
	put_number(out, s->ended);
	put_number(out, s->marks);
	for (enum session_text i = TEXT_QUEUE_ID + 1; i < SESSION_TEXT_MAX; i++)
		put_text(out, session_text(s, i));
	put_number(out, s->recipient_count);
	for (uint32_t i = 0; i < s->recipient_count; i++)
		recipient_write(&s->recipients[i], out);
}

static void recipient_read(struct session *s, struct reader *in)
{
	struct text address = get_text(in, SESSION_TEXT_LIMIT);
	uint16_t attempts = (uint16_t)get_number(in, UINT16_MAX);
	uint16_t deferred = (uint16_t)get_number(in, UINT16_MAX);
	uint16_t ended = (uint16_t)get_number(in, UINT16_MAX);
	uint32_t ended_as = (uint32_t)get_number(in, UINT32_MAX);
	bool has_deferral = get_number(in, 1);
	struct record last = {0};
	if (has_deferral) {
		last.truncated = get_number(in, 1);
		size_t dsn = (size_t)get_number(in, 16), relay = (size_t)get_number(in, 300);
		size_t reason = (size_t)get_number(in, SESSION_TEXT_LIMIT), orig = (size_t)get_number(in, 320);
		if (in->fault || in->rest.len < dsn + relay + reason + orig) {
			in->fault = true;
			return;
		}
		last.dsn = text_head(in->rest, dsn);
		last.relay = text_head(text_from(in->rest, dsn), relay);
		last.reason = text_head(text_from(in->rest, dsn + relay), reason);
		last.orig_recipient = text_head(text_from(in->rest, dsn + relay + reason), orig);
		in->rest = text_from(in->rest, dsn + relay + reason + orig);
	}
	if (in->fault)
		return;
	struct recipient *r = session_recipient(s, address);
	r->attempts = attempts;
	r->deferred = deferred;
	r->ended = ended;
	r->ended_as = ended_as;
	if (has_deferral)
		recipient_defer(r, &last);
}

static const char *session_read(struct session *s, struct text state)
{
	struct reader in = {.rest = state};
	if (get_number(&in, STATE_VERSION) != STATE_VERSION)
		return "made by another version of waybill-bouncer";
	s->start_us = (int64_t)get_number(&in, UINT64_MAX);
	s->last_us = (int64_t)get_number(&in, UINT64_MAX);
	s->flags = (uint8_t)get_number(&in, UINT8_MAX);
	s->size = get_number(&in, UINT64_MAX);
	s->nrcpt = (uint32_t)get_number(&in, UINT32_MAX);
	s->ended = (uint32_t)get_number(&in, UINT32_MAX);
	s->marks = (uint16_t)get_number(&in, UINT16_MAX);
	for (enum session_text i = TEXT_QUEUE_ID + 1; i < SESSION_TEXT_MAX; i++)
		session_set(s, i, get_text(&in, SESSION_TEXT_LIMIT));
	uint64_t recipients = get_number(&in, STATE_MAX_RECIPIENTS);
	for (uint64_t i = 0; i < recipients && !in.fault; i++)
		recipient_read(s, &in);
	return in.fault || in.rest.len ? "the stored state is damaged" : NULL;
}

static void refusals_write(const struct track *track, struct buffer *out)
{
	put_number(out, STATE_VERSION);
	for (size_t i = 0; i < TRACK_REFUSALS; i++) {
		const struct refusal *r = &track->refusals[i];
		/* What is older cannot be repeated: a process's lines are in order. */
		if (!r->count || r->time_us < track->refused_us - 2000000)
			continue;
		put_number(out, i);
		put_number(out, (uint64_t)r->time_us);
		put_number(out, r->pid);
		put_number(out, r->hash);
		put_number(out, r->count);
	}
	for (size_t i = 0; i < TRACK_HOLDS; i++) {
		const struct hold *hold = &track->holds[i];
		if (!hold->pid)
			continue;
		put_number(out, TRACK_REFUSALS); /* no place of a refusal */
		put_number(out, hold->pid);
		put_text(out, text_of(hold->stage));
		put_text(out, text_of(hold->reason));
	}
}

static void hold_read(struct track *track, struct reader *in)
{
	uint32_t pid = (uint32_t)get_number(in, UINT32_MAX);
	struct hold *hold = &track->holds[pid % TRACK_HOLDS];
	hold->pid = pid;
	text_put(get_text(in, sizeof hold->stage), hold->stage, sizeof hold->stage);
	text_put(get_text(in, sizeof hold->reason), hold->reason, sizeof hold->reason);
}

static const char *refusals_read(struct track *track, struct text state)
{
	struct reader in = {.rest = state};
	if (get_number(&in, STATE_VERSION) != STATE_VERSION)
		return "made by another version of waybill-bouncer";
	while (in.rest.len && !in.fault) {
		uint64_t at = get_number(&in, TRACK_REFUSALS);
		if (at == TRACK_REFUSALS) {
			hold_read(track, &in);
			continue;
		}
		struct refusal *r = &track->refusals[at];
		r->time_us = (int64_t)get_number(&in, UINT64_MAX);
		r->pid = (uint32_t)get_number(&in, UINT32_MAX);
		r->hash = (uint32_t)get_number(&in, UINT32_MAX);
		r->count = (uint32_t)get_number(&in, UINT32_MAX);
		if (r->time_us > track->refused_us)
			track->refused_us = r->time_us;
	}
	return in.fault ? "the stored state is damaged" : NULL;
}

static struct text take_key(struct track *track)
{
	uint32_t len;
	memcpy(&len, track->gone.ptr + track->gone_read, sizeof len);
	struct text key = text_at(track->gone.ptr + track->gone_read + sizeof len, len);
	track->gone_read += sizeof len + len;
	return key;
}

/* The refusals of the last moment are kept as one more session, named so that no queue id can be. */
static const struct text refusals_key = TEXT("NOQUEUE");

bool track_change_next(struct track *track, struct track_change *out)
{
	track->scratch.len = 0;
	if (track->gone_read < track->gone.len) {
		*out = (struct track_change){.gone = true};
		out->host = take_key(track);
		out->instance = take_key(track);
		out->queue_id = take_key(track);
		return true;
	}
	track->gone.len = track->gone_read = 0;
	*out = (struct track_change){.host = TEXT(""), .instance = TEXT(""), .queue_id = refusals_key};
	if (track->refusals_dirty) {
		track->refusals_dirty = false;
		refusals_write(track, &track->scratch);
	} else if (track->dirty_count) {
		struct session *s = track->dirty[track->dirty_count - 1];
		track_clean(track, s);
		s->stored = true;
		session_write(s, &track->scratch);
		*out = (struct track_change){.host = track->origins[s->origin].host,
					     .instance = track->origins[s->origin].instance,
					     .queue_id = session_text(s, TEXT_QUEUE_ID)};
	} else {
		return false;
	}
	out->state = buffer_view(&track->scratch);
	return true;
}

const char *track_restore(struct track *track, struct text host, struct text instance, struct text queue_id,
			  struct text state)
{
	if (text_equal(queue_id, refusals_key))
		return refusals_read(track, state);
	size_t origin = track_origin(track, host, instance);
	if (origin == TRACK_MAX_ORIGINS)
		return "too many hosts and instances";
	struct session *s = track_find(track, origin, queue_id);
	if (s)
		track_drop(track, s);
	s = track_add(track, origin, queue_id, 0);
	const char *why = session_read(s, state);
	s->stored = track->restored = true;
	if (why) {
		track_drop(track, s); /* and is handed out as gone */
		return why;
	}
	track_touch(track, s, s->last_us);
	track_clean(track, s);
	return NULL;
}
