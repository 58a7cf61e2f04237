/* Which record does what to which session, and how sessions begin. */

#include <stdlib.h>

#include "common/memory.h"

#include "bouncer/track_internal.h"

struct track *track_new(track_event *event, void *context)
{
	struct track *track = memory_zero(1, sizeof *track);
	track->event = event;
	track->context = context;
	return track;
}

void track_free(struct track **track)
{
	if (!*track)
		return;
	track_table_free(*track);
	buffer_free(&(*track)->gone);
	buffer_free(&(*track)->scratch);
	free(*track);
	*track = NULL;
}

size_t track_open(const struct track *track)
{
	return track->session_count;
}

struct track_counts track_counts(const struct track *track)
{
	return track->counts;
}

/* A line that opens a queue file: what was known under the id is another message. */
static struct session *open_session(struct track *track, const struct record *r)
{
	struct session *s = track_known(track, r);
	if (s)
		track_lose(track, s, r->time_us, "reused");
	s = track_known_or_new(track, r);
	if (s)
		s->flags |= SESSION_OPENED;
	return s;
}

/* HOLD for a message that has no queue file yet: it is the next one that the same process opens. */
static void on_hold_to_come(struct track *track, const struct record *r)
{
	struct hold *hold = &track->holds[r->pid % TRACK_HOLDS];
	hold->pid = r->pid;
	track->refusals_dirty = true;
	text_put(r->stage, hold->stage, sizeof hold->stage);
	text_put(r->reason, hold->reason, sizeof hold->reason);
}

/* The client before has gone. */
static void forget_hold(struct track *track, const struct record *r)
{
	struct hold *hold = &track->holds[r->pid % TRACK_HOLDS];
	if (!hold->pid || hold->pid != r->pid)
		return;
	hold->pid = 0;
	track->refusals_dirty = true;
}

static void hold_if_told(struct track *track, const struct record *r)
{
	struct hold *hold = &track->holds[r->pid % TRACK_HOLDS];
	if (!r->pid || hold->pid != r->pid)
		return;
	struct record held = *r;
	held.stage = text_of(hold->stage);
	held.reason = text_of(hold->reason);
	track_on_held(track, &held, true);
	forget_hold(track, r);
}

static void on_client(struct track *track, const struct record *r)
{
	struct session *s = open_session(track, r);
	if (!s)
		return;
	session_set(s, TEXT_CLIENT_IP, r->client_ip);
	session_set(s, TEXT_LOGIN, r->login);
	struct session *parent = r->orig_queue_id.len ? track_related(track, s, r->orig_queue_id) : NULL;
	if (parent)
		track_inherit(s, parent);
	hold_if_told(track, r);
}

/* Recipients without an end move to the new id; those with one stay counted under the old. */
static void adopt(struct session *child, struct session *parent)
{
	track_inherit(child, parent);
	for (uint32_t i = 0; i < parent->recipient_count; i++) {
		struct recipient *from = &parent->recipients[i];
		if (!from->deferral)
			continue;
		struct recipient *to = session_recipient(child, text_at(from->address, from->address_len));
		to->attempts = from->attempts;
		to->deferral = from->deferral;
		from->deferral = NULL;
	}
}

static void on_pickup(struct track *track, const struct record *r)
{
	struct session *s = open_session(track, r);
	if (!s)
		return;
	session_set(s, TEXT_SENDER, r->sender);
	s->flags |= SESSION_SENDER;
	struct session *parent = r->orig_queue_id.len ? track_related(track, s, r->orig_queue_id) : NULL;
	if (parent) {
		adopt(s, parent);
		track_drop(track, parent);
	}
}

static void on_message_id(struct track *track, const struct record *r)
{
	struct session *s = track_known(track, r);
	if (s && s->flags & SESSION_ACTIVE)
		track_lose(track, s, r->time_us, "reused");
	s = track_known_or_new(track, r);
	if (!s || s->flags & SESSION_NAMED)
		return;
	session_set(s, TEXT_MESSAGE_ID, r->message_id);
	s->flags |= SESSION_NAMED;
}

static void on_active(struct track *track, const struct record *r)
{
	struct session *s = track_known_or_new(track, r);
	if (!s)
		return;
	s->flags |= SESSION_ACTIVE | SESSION_SENDER;
	session_set(s, TEXT_SENDER, r->sender);
	session_trim(s);
	s->size = r->size;
	if (r->nrcpt > s->nrcpt && r->nrcpt <= UINT32_MAX)
		s->nrcpt = (uint32_t)r->nrcpt;
	/* address_verify_sender's default: probes are no mail (ADDRESS_VERIFICATION_README). */
	if (text_starts(r->sender, TEXT("double-bounce@")))
		s->flags |= SESSION_PROBE;
	track_touch(track, s, r->time_us); /* in the list of queued ones */
	if (s->flags & SESSION_ACCEPTED)
		return;
	s->flags |= SESSION_ACCEPTED;
	struct event event = track_event_of(track, s, TYPE_ACCEPTED, r->time_us);
	/* What was queued before this log began is not newly accepted. */
	if (!event.partial)
		track_tell(track, s, &event);
}

static void on_canceled(struct track *track, const struct record *r)
{
	struct session *s = track_known(track, r);
	if (s)
		track_lose(track, s, r->time_us, "canceled");
}

static void on_tls(struct track *track, const struct record *r)
{
	struct connection *c = &track->connections[r->pid % TRACK_CONNECTIONS];
	c->pid = r->pid;
	if (!text_put(r->client_ip, c->ip, sizeof c->ip) || !text_put(r->tls, c->tls, sizeof c->tls))
		c->pid = 0;
}

static void on_lost(struct track *track, const struct record *r)
{
	struct event event = {.type = TYPE_LOG_GAP,
			      .time_us = r->time_us,
			      .session_start_us = r->time_us,
			      .host = r->host,
			      .instance = TEXT("postfix"),
			      .delay = -1,
			      .delays = {-1, -1, -1, -1}};
	track->scratch.len = 0;
	buffer_format(&track->scratch, "{\"kind\":\"suppressed\",\"lines\":%u}", (unsigned)r->repeat);
	event.detail = buffer_view(&track->scratch);
	track->event(track->context, &event);
}

static void requeued(struct track *track, const struct record *r)
{
	struct session *s = track_known_or_new(track, r);
	if (s)
		s->flags |= SESSION_REQUEUED;
}

static void take(struct track *track, const struct record *r)
{
	switch (r->kind) {
	case RECORD_CLIENT: on_client(track, r); return;
	case RECORD_PICKUP: on_pickup(track, r); return;
	case RECORD_MESSAGE_ID: on_message_id(track, r); return;
	case RECORD_ACTIVE: on_active(track, r); return;
	case RECORD_DELIVERY: track_on_delivery(track, r); return;
	case RECORD_EXPIRED: track_on_expired(track, r); return;
	case RECORD_REMOVED: track_on_removed(track, r); return;
	case RECORD_CANCELED: on_canceled(track, r); return;
	case RECORD_DELETED: track_on_deleted(track, r); return;
	case RECORD_REQUEUED: requeued(track, r); return;
	case RECORD_HELD:
		text_equal(r->queue_id, TEXT("NOQUEUE")) ? on_hold_to_come(track, r) : track_on_held(track, r, true);
		return;
	case RECORD_RELEASED: track_on_held(track, r, false); return;
	case RECORD_REJECT: track_on_reject(track, r); return;
	case RECORD_CONNECT: forget_hold(track, r); return;
	case RECORD_TLS: on_tls(track, r); return;
	case RECORD_LOST: on_lost(track, r); return;
	case RECORD_OTHER:
	case RECORD_NOTICE:
	case RECORD_SERVER_TLS:
	case RECORD_REPEATED:
	case RECORD_KIND_MAX: return;
	}
}

/* A syslogd that folds equal lines folds few; a made-up number must not keep us busy. */
#define MAX_REPEAT 10000

void track_record(struct track *track, const struct record *record)
{
	if (record->kind == RECORD_OTHER)
		return;
	track_sweep(track, record->time_us);
	take(track, record);
	if (record->kind != RECORD_LOST)
		for (uint32_t i = 0; i < record->repeat && i < MAX_REPEAT; i++)
			take(track, record);
}
