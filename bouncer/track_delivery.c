/* A recipient's way: attempts, its end, and what an administrator does to the message. */

#include <string.h>

#include "common/network.h"

#include "bouncer/line_internal.h"
#include "bouncer/reply.h"
#include "bouncer/track_internal.h"

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
	event->remote_ip = track_address(event->remote_ip);
	event->dsn = dsn;
	event->code = reply.code;
	event->remote_dsn = reply.dsn;
	event->response = reply.response;
	event->stage = reply.stage;
	event->reason = reason;
	event->truncated = truncated;
}

static bool is_loopback(struct text ip)
{
	static const struct network nets[] = {
		{.address = {[10] = 0xff, 0xff, 127}, .prefix = 104}, /* RFC 1122, section 3.2.1.3 */
		{.address = {[15] = 1}, .prefix = 128},               /* RFC 4291, section 2.5.3 */
	};
	struct network address;
	return !network_parse(ip, &address) &&
	       (network_contains(&nets[0], &address) || network_contains(&nets[1], &address));
}

/* Did whom the message was handed to hand us CHILD? The same host, or a program on ours, perhaps behind a Unix socket. */
static bool came_back(const struct session *child, struct text relay)
{
	struct text host, ip, client = session_text(child, TEXT_CLIENT_IP);
	uint32_t port;
	reply_relay(relay, &host, &ip, &port);
	ip = track_address(ip);
	if (!ip.len)
		return text_ends(relay, TEXT("]")) && is_loopback(client);
	return text_equal(ip, client) || (is_loopback(ip) && is_loopback(client));
}

/* Anybody may answer "queued as" with an id that a header told him: the message must have come from there, and be nobody's
 * yet. One that has S for its start (XFORWARD said so, or an earlier recipient's line) needs no proof. */
static bool carries_on(const struct session *child, const struct session *s, const struct record *r, bool alias)
{
	if (child->text_len[TEXT_FIRST_ID])
		return text_equal(session_first_id(child), session_first_id(s));
	if (child->text_len[TEXT_LOGIN])
		return false;
	return alias ? !child->text_len[TEXT_CLIENT_IP] : came_back(child, r->relay);
}

/* "250 … queued as CHILD" with one of our own ids: a content filter took the message, its second pass delivers it. "forwarded
 * as CHILD", by local(8): an alias leads on. */
static struct session *second_pass(struct track *track, const struct session *s, const struct record *r)
{
	bool alias = text_equal(r->daemon, TEXT("local"));
	struct text words = alias ? TEXT("forwarded as ") : TEXT("queued as ");
	size_t at = r->status == STATUS_SENT ? text_search(r->reason, words) : SIZE_MAX;
	if (at == SIZE_MAX || (alias && at))
		return NULL;
	struct text id = text_from(r->reason, at + words.len);
	size_t len = 0;
	while (len < id.len && id.ptr[len] != ' ' && id.ptr[len] != ')')
		len++;
	id = text_head(id, len);
	struct session *child = line_queue_id(id) ? track_related(track, s, id) : NULL;
	return child && carries_on(child, s, r, alias) ? child : NULL;
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

/* Suspended by qmgr's back-off: retry(8) or error(8) says why, nobody was asked. */
static bool was_attempted(const struct record *r)
{
	return !STARTS(r->reason, "delivery temporarily suspended: ");
}

void track_on_delivery(struct track *track, const struct record *r)
{
	struct session *s = track_known_or_new(track, r);
	enum event_type type = type_of(r);
	if (!s)
		return;
	if (type == EVENT_TYPE_MAX) {
		s->flags |= SESSION_PROBE;
		return;
	}
	struct recipient *recipient = session_recipient(s, r->recipient);
	if (was_attempted(r))
		track_saturate(&recipient->attempts);
	struct event event = track_event_of(track, s, type, r->time_us);
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
		track_saturate(&recipient->deferred);
		recipient_defer(recipient, r);
	} else {
		event.ordinal = recipient->ended;
		session_end(s, recipient, r->orig_recipient);
	}
	struct session *next = second_pass(track, s, r);
	if (next) {
		track_inherit(next, s);
		track_dirty(track, next);
	} else {
		track_tell(track, s, &event);
	}
}

/* One event for each recipient that has no end yet; false: there is none. */
static bool end_pending(struct track *track, struct session *s, const struct record *r, enum event_type type)
{
	bool told = false;
	for (uint32_t i = 0; i < s->recipient_count; i++) {
		struct recipient *recipient = &s->recipients[i];
		const struct deferral *d = recipient->deferral;
		if (!d)
			continue;
		struct text rest = text_at(d->bytes, (size_t)d->dsn_len + d->relay_len + d->reason_len + d->orig_len);
		struct event event = track_event_of(track, s, type, r->time_us);
		describe(&event, text_head(rest, d->dsn_len), text_head(text_from(rest, d->dsn_len), d->relay_len),
			 text_head(text_from(rest, (size_t)d->dsn_len + d->relay_len), d->reason_len), d->truncated);
		event.recipient = text_at(recipient->address, recipient->address_len);
		event.orig_recipient = text_from(rest, (size_t)d->dsn_len + d->relay_len + d->reason_len);
		event.attempt = recipient->attempts;
		event.expired = type == TYPE_BOUNCED;
		event.ordinal = recipient->ended;
		track_tell(track, s, &event);
		session_end(s, recipient, event.orig_recipient);
		told = true;
	}
	return told;
}

void track_on_expired(struct track *track, const struct record *r)
{
	struct session *s = track_known_or_new(track, r);
	if (s)
		end_pending(track, s, r, TYPE_BOUNCED);
}

void track_on_removed(struct track *track, const struct record *r)
{
	struct session *s = track_known(track, r);
	if (!s)
		return;
	if (s->flags & SESSION_PROBE)
		;
	else if (!s->nrcpt || !(s->flags & (SESSION_OPENED | SESSION_NAMED)))
		track->counts.partial++;
	else if (s->ended < s->nrcpt)
		track_gap(track, s, r->time_us, "recipients");
	else
		track->counts.reconciled++;
	track_drop(track, s);
}

/* A message without a recipient's name: held, released, deleted. */
static void mark(struct track *track, struct session *s, const struct record *r, enum event_type type)
{
	struct event event = track_event_of(track, s, type, r->time_us);
	event.ordinal = s->marks++;
	event.recipient = r->recipient;
	event.reason = r->reason;
	event.stage = r->stage;
	if (!event.has_sender) {
		event.sender = r->sender;
		event.has_sender = r->sender.ptr != NULL;
	}
	track_tell(track, s, &event);
}

void track_on_deleted(struct track *track, const struct record *r)
{
	struct session *s = track_known_or_new(track, r);
	if (!s)
		return;
	if (!end_pending(track, s, r, TYPE_DROPPED))
		mark(track, s, r, TYPE_DROPPED);
	track_drop(track, s);
}

void track_on_held(struct track *track, const struct record *r, bool held)
{
	struct session *s = track_known_or_new(track, r);
	if (!s || !(s->flags & SESSION_HELD) != held)
		return;
	s->flags = (uint8_t)(held ? s->flags | SESSION_HELD : s->flags & ~SESSION_HELD);
	track_touch(track, s, r->time_us);
	mark(track, s, r, held ? TYPE_HELD : TYPE_RELEASED);
}
