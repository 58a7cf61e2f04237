/* Which record does what to which session. */

#include <stdlib.h>
#include <string.h>

#include "common/memory.h"
#include "common/network.h"

#include "bouncer/line_internal.h"
#include "bouncer/reply.h"
#include "bouncer/track_internal.h"

#define SWEEP_EVERY_US (60LL * 1000000)

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

/* Only what Postgres takes as an address: Postfix writes "unknown", and local users write anything. */
static struct text address_only(struct text ip)
{
	struct network network;
	return ip.len && !network_parse(ip, &network) && text_find(ip, '/') == SIZE_MAX ? ip : (struct text){0};
}

/* An event of a session, with all that the session knows. */
static struct event event_of(const struct track *track, const struct session *s, enum event_type type, int64_t time_us)
{
	const struct origin *origin = &track->origins[s->origin];
	return (struct event){
		.type = type,
		.time_us = time_us,
		.host = origin->host,
		.instance = origin->instance,
		.queue_id = session_text(s, TEXT_QUEUE_ID),
		.session_start_us = s->start_us,
		.message_id = session_text(s, TEXT_MESSAGE_ID),
		.sender = session_text(s, TEXT_SENDER),
		.has_sender = s->flags & SESSION_SENDER,
		.login = session_text(s, TEXT_LOGIN),
		.client_ip = address_only(session_text(s, TEXT_CLIENT_IP)),
		.size = s->size,
		.delay = -1,
		.delays = {-1, -1, -1, -1},
		.partial = !(s->flags & (SESSION_OPENED | SESSION_NAMED)),
	};
}

static void tell(struct track *track, const struct session *s, const struct event *event)
{
	if (!(s->flags & SESSION_PROBE))
		track->event(track->context, event);
}

static void gap(struct track *track, struct session *s, int64_t time_us, const char *why)
{
	struct event event = event_of(track, s, TYPE_LOG_GAP, time_us);
	event.ordinal = s->marks++;
	track->scratch.len = 0;
	buffer_format(&track->scratch, "{\"kind\":\"%s\",\"expected\":%u,\"seen\":%u}", why, (unsigned)s->nrcpt,
		      (unsigned)s->ended);
	event.detail = buffer_view(&track->scratch);
	track->counts.unreconciled++;
	tell(track, s, &event);
}

/* The session said nothing for too long, or its id has begun a new life. */
static void lose(struct track *track, struct session *s, int64_t time_us, const char *why)
{
	if (!(s->flags & SESSION_ACTIVE))
		track->counts.aborted++;
	else if (s->ended < s->nrcpt)
		gap(track, s, time_us, why);
	track_drop(track, s);
}

static bool is_silent(const struct session *s, int64_t now_us)
{
	return now_us - s->last_us > track_limit_us(s);
}

static void sweep(struct track *track, int64_t now_us)
{
	if (now_us - track->swept_us < SWEEP_EVERY_US)
		return;
	track->swept_us = now_us;
	for (size_t i = 0; i < TRACK_LIST_MAX; i++)
		for (struct session *s; (s = track->lists[i].oldest) && is_silent(s, now_us);)
			lose(track, s, s->last_us + track_limit_us(s), "silent");
}

/* The session that RECORD is about, or NULL. One that was silent for too long is over, whenever that is noticed. */
static struct session *find(struct track *track, const struct record *r)
{
	size_t origin = track_origin(track, r->host, r->instance);
	struct session *s = origin < TRACK_MAX_ORIGINS ? track_find(track, origin, r->queue_id) : NULL;
	if (s && is_silent(s, r->time_us)) {
		lose(track, s, s->last_us + track_limit_us(s), "silent");
		s = NULL;
	}
	return s;
}

/* The same, made when it is not known: its start was missed, or it is Postfix's own notification. */
static struct session *find_or_add(struct track *track, const struct record *r)
{
	struct session *s = find(track, r);
	size_t origin = track_origin(track, r->host, r->instance);
	if (!s && origin < TRACK_MAX_ORIGINS)
		s = track_add(track, origin, r->queue_id, r->time_us);
	if (s)
		track_touch(track, s, r->time_us);
	return s;
}

/* A line that opens a queue file: what was known under the id is another message. */
static struct session *open_session(struct track *track, const struct record *r)
{
	struct session *s = find(track, r);
	if (s)
		lose(track, s, r->time_us, "reused");
	s = find_or_add(track, r);
	if (s)
		s->flags |= SESSION_OPENED;
	return s;
}

/* CHILD carries on what PARENT was: a requeued message, or a content filter's second pass. */
static void inherit(struct session *child, const struct session *parent)
{
	session_set(child, TEXT_LOGIN, session_text(parent, TEXT_LOGIN));
	session_set(child, TEXT_CLIENT_IP, session_text(parent, TEXT_CLIENT_IP));
	child->flags |= (uint8_t)(parent->flags & (SESSION_ACCEPTED | SESSION_OPENED));
	if (!(child->flags & SESSION_NAMED))
		session_set(child, TEXT_MESSAGE_ID, session_text(parent, TEXT_MESSAGE_ID));
}

/* An id of the same host, in any of its Postfix instances. */
static struct session *find_related(struct track *track, const struct session *s, struct text queue_id)
{
	const struct text host = track->origins[s->origin].host;
	for (size_t i = 0; i < track->origin_count; i++) {
		struct session *other =
			text_equal(track->origins[i].host, host) ? track_find(track, i, queue_id) : NULL;
		if (other && other != s)
			return other;
	}
	return NULL;
}

static void on_client(struct track *track, const struct record *r)
{
	struct session *s = open_session(track, r);
	if (!s)
		return;
	session_set(s, TEXT_CLIENT_IP, r->client_ip);
	session_set(s, TEXT_LOGIN, r->login);
	struct session *parent = r->orig_queue_id.len ? find_related(track, s, r->orig_queue_id) : NULL;
	if (parent)
		inherit(s, parent);
}

/* Recipients without an end move to the new id; those with one stay counted under the old. */
static void adopt(struct session *child, struct session *parent)
{
	inherit(child, parent);
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
	struct session *parent = r->orig_queue_id.len ? find_related(track, s, r->orig_queue_id) : NULL;
	if (parent) {
		adopt(s, parent);
		track_drop(track, parent);
	}
}

static void on_message_id(struct track *track, const struct record *r)
{
	struct session *s = find(track, r);
	if (s && s->flags & SESSION_ACTIVE)
		lose(track, s, r->time_us, "reused");
	s = find_or_add(track, r);
	if (!s || s->flags & SESSION_NAMED)
		return;
	session_set(s, TEXT_MESSAGE_ID, r->message_id);
	s->flags |= SESSION_NAMED;
}

static void on_active(struct track *track, const struct record *r)
{
	struct session *s = find_or_add(track, r);
	if (!s)
		return;
	s->flags |= SESSION_ACTIVE | SESSION_SENDER;
	session_set(s, TEXT_SENDER, r->sender);
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
	struct event event = event_of(track, s, TYPE_ACCEPTED, r->time_us);
	/* What was queued before this log began is not newly accepted. */
	if (!event.partial)
		tell(track, s, &event);
}

static const struct connection *connection_of(const struct track *track, const struct record *r, struct text ip)
{
	const struct connection *c = &track->connections[r->pid % TRACK_CONNECTIONS];
	return c->pid == r->pid && ip.len && text_equal(text_of(c->ip), ip) ? c : NULL;
}

/* What a delivery line, or a remembered deferral, says about the attempt. */
static void describe(struct event *event, struct text dsn, struct text relay, struct text reason, bool truncated)
{
	struct reply reply;
	reply_parse(reason, &reply);
	reply_relay(relay, &event->remote_mx, &event->remote_ip, &event->remote_port);
	if (reply.host.len) {
		event->remote_mx = reply.host;
		event->remote_ip = reply.ip;
	}
	event->remote_ip = address_only(event->remote_ip);
	event->dsn = dsn;
	event->code = reply.code;
	event->remote_dsn = reply.dsn;
	event->response = reply.response;
	event->stage = reply.stage;
	event->reason = reason;
	event->truncated = truncated;
}

/* "250 … queued as CHILD" said by one of our own ids: a content filter took the message, its second pass delivers it. */
static struct session *second_pass(struct track *track, const struct session *s, const struct record *r)
{
	size_t at = r->status == STATUS_SENT ? text_search(r->reason, TEXT("queued as ")) : SIZE_MAX;
	if (at == SIZE_MAX)
		return NULL;
	struct text id = text_from(r->reason, at + 10);
	size_t len = 0;
	while (len < id.len && id.ptr[len] != ' ' && id.ptr[len] != ')')
		len++;
	id = text_head(id, len);
	return line_queue_id(id) ? find_related(track, s, id) : NULL;
}

static enum event_type type_of(const struct record *r)
{
	switch (r->status) {
	case STATUS_SENT: return text_equal(r->daemon, TEXT("discard")) ? TYPE_DROPPED : TYPE_DELIVERED;
	case STATUS_BOUNCED: return TYPE_BOUNCED;
	case STATUS_DEFERRED:
	case STATUS_SOFTBOUNCE: return TYPE_DEFERRED;
	case STATUS_NONE:
	case STATUS_PROBE:
	case STATUS_MAX: break;
	}
	return EVENT_TYPE_MAX;
}

static void saturate(uint16_t *count)
{
	if (*count < UINT16_MAX)
		++*count;
}

/* Suspended by qmgr's back-off: retry(8) or error(8) says why, nobody was asked. */
static bool was_attempted(const struct record *r)
{
	return !STARTS(r->reason, "delivery temporarily suspended: ");
}

static void on_delivery(struct track *track, const struct record *r)
{
	struct session *s = find_or_add(track, r);
	enum event_type type = type_of(r);
	if (!s)
		return;
	if (type == EVENT_TYPE_MAX) {
		s->flags |= SESSION_PROBE;
		return;
	}
	struct recipient *recipient = session_recipient(s, r->recipient);
	if (was_attempted(r))
		saturate(&recipient->attempts);
	struct event event = event_of(track, s, type, r->time_us);
	describe(&event, r->dsn, r->relay, r->reason, r->truncated);
	event.recipient = r->recipient;
	event.orig_recipient = r->orig_recipient;
	event.attempt = recipient->attempts;
	event.delay = r->delay;
	memcpy(event.delays, r->delays, sizeof event.delays);
	const struct connection *connection = connection_of(track, r, event.remote_ip);
	event.tls = r->tls.len ? r->tls : connection ? text_of(connection->tls) : (struct text){0};
	if (type == TYPE_DEFERRED) {
		event.ordinal = recipient->deferred;
		saturate(&recipient->deferred);
		recipient_defer(recipient, r);
	} else {
		event.ordinal = recipient->ended;
		saturate(&recipient->ended);
		s->ended++;
		recipient_settle(recipient);
	}
	struct session *next = second_pass(track, s, r);
	if (next) {
		inherit(next, s);
		track_dirty(track, next);
	} else {
		tell(track, s, &event);
	}
}

/* One event for each recipient that has no end yet. */
static void end_pending(struct track *track, struct session *s, const struct record *r, enum event_type type)
{
	for (uint32_t i = 0; i < s->recipient_count; i++) {
		struct recipient *recipient = &s->recipients[i];
		const struct deferral *d = recipient->deferral;
		if (!d)
			continue;
		struct text rest = text_at(d->bytes, (size_t)d->dsn_len + d->relay_len + d->reason_len + d->orig_len);
		struct event event = event_of(track, s, type, r->time_us);
		describe(&event, text_head(rest, d->dsn_len), text_head(text_from(rest, d->dsn_len), d->relay_len),
			 text_head(text_from(rest, (size_t)d->dsn_len + d->relay_len), d->reason_len), d->truncated);
		event.recipient = text_at(recipient->address, recipient->address_len);
		event.orig_recipient = text_from(rest, (size_t)d->dsn_len + d->relay_len + d->reason_len);
		event.attempt = recipient->attempts;
		event.expired = type == TYPE_BOUNCED;
		event.ordinal = recipient->ended;
		saturate(&recipient->ended);
		s->ended++;
		tell(track, s, &event);
		recipient_settle(recipient);
	}
}

static void on_expired(struct track *track, const struct record *r)
{
	struct session *s = find_or_add(track, r);
	if (s)
		end_pending(track, s, r, TYPE_BOUNCED);
}

static void on_removed(struct track *track, const struct record *r)
{
	struct session *s = find(track, r);
	if (!s)
		return;
	if (s->flags & SESSION_PROBE)
		;
	else if (!s->nrcpt || !(s->flags & (SESSION_OPENED | SESSION_NAMED)))
		track->counts.partial++;
	else if (s->ended < s->nrcpt)
		gap(track, s, r->time_us, "recipients");
	else
		track->counts.reconciled++;
	track_drop(track, s);
}

/* A message without a recipient's name: held, released, deleted. */
static void mark(struct track *track, struct session *s, const struct record *r, enum event_type type)
{
	struct event event = event_of(track, s, type, r->time_us);
	event.ordinal = s->marks++;
	event.recipient = r->recipient;
	event.reason = r->reason;
	event.stage = r->stage;
	tell(track, s, &event);
}

static void on_deleted(struct track *track, const struct record *r)
{
	struct session *s = find_or_add(track, r);
	if (!s)
		return;
	uint32_t before = s->ended;
	end_pending(track, s, r, TYPE_DROPPED);
	if (s->ended == before)
		mark(track, s, r, TYPE_DROPPED);
	track_drop(track, s);
}

static void on_held(struct track *track, const struct record *r, bool held)
{
	struct session *s = find_or_add(track, r);
	if (!s || !(s->flags & SESSION_HELD) != held)
		return;
	s->flags = (uint8_t)(held ? s->flags | SESSION_HELD : s->flags & ~SESSION_HELD);
	track_touch(track, s, r->time_us);
	mark(track, s, r, held ? TYPE_HELD : TYPE_RELEASED);
}

static void on_canceled(struct track *track, const struct record *r)
{
	struct session *s = find(track, r);
	if (s)
		lose(track, s, r->time_us, "canceled");
}

/* How many equal refusals of the same process and moment came before: their ordinal. */
static uint32_t refusals_before(struct track *track, const struct record *r)
{
	uint32_t hash = track_hash(r->recipient) ^ track_hash(r->stage);
	struct refusal *slot = &track->refusals[(r->pid ^ hash) % TRACK_REFUSALS];
	if (slot->time_us != r->time_us || slot->pid != r->pid || slot->hash != hash)
		*slot = (struct refusal){r->time_us, r->pid, hash, 0};
	if (r->time_us > track->refused_us)
		track->refused_us = r->time_us;
	track->refusals_dirty = true;
	return slot->count++;
}

/* A refusal in mid-session ends the transaction when it concerns the whole message. */
static bool ends_transaction(const struct record *r)
{
	return text_equal(r->daemon, TEXT("cleanup")) || text_starts(r->stage, TEXT("END-OF-MESSAGE"));
}

static void on_reject(struct track *track, const struct record *r)
{
	bool dropped = text_ends(r->verb, TEXT("discard"));
	struct session *s = text_equal(r->queue_id, TEXT("NOQUEUE")) || !r->queue_id.len ? NULL : find(track, r);
	struct event event = {.type = dropped ? TYPE_DROPPED : TYPE_REJECTED,
			      .time_us = r->time_us,
			      .delay = -1,
			      .delays = {-1, -1, -1, -1},
			      .host = r->host,
			      .instance = r->instance,
			      .session_start_us = r->time_us,
			      .queue_id = TEXT("NOQUEUE")};
	/* Process id and count make equal refusals of one moment two events. */
	event.ordinal = (r->pid & 0x3fffff) | refusals_before(track, r) << 22;
	if (s)
		event = (event_of(track, s, event.type, r->time_us)), event.ordinal = s->marks++;
	event.code = r->code;
	event.dsn = r->dsn;
	event.stage = r->stage;
	event.reason = event.response = r->reason;
	event.recipient = r->recipient;
	if (!event.has_sender) {
		event.sender = r->sender;
		event.has_sender = r->sender.ptr != NULL;
	}
	if (!event.login.len)
		event.login = r->login;
	if (!event.client_ip.len)
		event.client_ip = address_only(r->client_ip);
	track->event(track->context, &event);
	if (s && ends_transaction(r))
		track_drop(track, s);
	else if (s)
		track_touch(track, s, r->time_us);
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
	struct session *s = find_or_add(track, r);
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
	case RECORD_DELIVERY: on_delivery(track, r); return;
	case RECORD_EXPIRED: on_expired(track, r); return;
	case RECORD_REMOVED: on_removed(track, r); return;
	case RECORD_CANCELED: on_canceled(track, r); return;
	case RECORD_DELETED: on_deleted(track, r); return;
	case RECORD_REQUEUED: requeued(track, r); return;
	case RECORD_HELD: on_held(track, r, true); return;
	case RECORD_RELEASED: on_held(track, r, false); return;
	case RECORD_REJECT: on_reject(track, r); return;
	case RECORD_TLS: on_tls(track, r); return;
	case RECORD_LOST: on_lost(track, r); return;
	case RECORD_OTHER:
	case RECORD_NOTICE:
	case RECORD_SERVER_TLS:
	case RECORD_CONNECT:
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
	sweep(track, record->time_us);
	take(track, record);
	if (record->kind != RECORD_LOST)
		for (uint32_t i = 0; i < record->repeat && i < MAX_REPEAT; i++)
			take(track, record);
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
	if (why) {
		track_drop(track, s);
		return why;
	}
	s->stored = true;
	track_touch(track, s, s->last_us);
	track_clean(track, s);
	return NULL;
}
