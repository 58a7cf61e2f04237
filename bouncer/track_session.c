/* What every record does with a session: finding it, or making it; telling of it; losing it. */

#include <string.h>

#include "common/network.h"

#include "bouncer/track_internal.h"

#define SWEEP_EVERY_US (60LL * 1000000)

/* Only what Postgres takes as an address: Postfix writes "unknown", and local users write anything. */
struct text track_address(struct text ip)
{
	struct network network;
	return ip.len && !network_parse(ip, &network) && text_find(ip, '/') == SIZE_MAX ? ip : (struct text){0};
}

/* An event of a session, with all that the session knows. */
struct event track_event_of(const struct track *track, const struct session *s, enum event_type type, int64_t time_us)
{
	const struct origin *origin = &track->origins[s->origin];
	return (struct event){
		.type = type,
		.time_us = time_us,
		.host = origin->host,
		.instance = origin->instance,
		.queue_id = session_text(s, TEXT_QUEUE_ID),
		.orig_queue_id = session_text(s, TEXT_FIRST_ID),
		.session_start_us = s->start_us,
		.message_id = session_text(s, TEXT_MESSAGE_ID),
		.sender = session_text(s, TEXT_SENDER),
		.has_sender = s->flags & SESSION_SENDER,
		.login = session_text(s, TEXT_LOGIN),
		.client_ip = track_address(session_text(s, TEXT_CLIENT_IP)),
		.size = s->size,
		.delay = -1,
		.delays = {-1, -1, -1, -1},
		.partial = !(s->flags & (SESSION_OPENED | SESSION_NAMED)),
	};
}

void track_tell(struct track *track, const struct session *s, const struct event *event)
{
	if (!(s->flags & SESSION_PROBE))
		track->event(track->context, event);
}

void track_gap(struct track *track, struct session *s, int64_t time_us, const char *why)
{
	struct event event = track_event_of(track, s, TYPE_LOG_GAP, time_us);
	event.ordinal = s->marks++;
	track->scratch.len = 0;
	buffer_format(&track->scratch, "{\"kind\":\"%s\",\"expected\":%u,\"seen\":%u}", why, (unsigned)s->nrcpt,
		      (unsigned)s->ended);
	event.detail = buffer_view(&track->scratch);
	track->counts.unreconciled++;
	track_tell(track, s, &event);
}

/* The session said nothing for too long, or its id has begun a new life. */
void track_lose(struct track *track, struct session *s, int64_t time_us, const char *why)
{
	if (!(s->flags & SESSION_ACTIVE))
		track->counts.aborted++;
	else if (s->ended < s->nrcpt)
		track_gap(track, s, time_us, why);
	track_drop(track, s);
}

static bool is_silent(const struct session *s, int64_t now_us)
{
	return now_us - s->last_us > track_limit_us(s);
}

void track_sweep(struct track *track, int64_t now_us)
{
	if (now_us - track->swept_us < SWEEP_EVERY_US)
		return;
	track->swept_us = now_us;
	if (track->restored)
		track_sort(track);
	for (size_t i = 0; i < TRACK_LIST_MAX; i++)
		for (struct session *s; (s = track->lists[i].oldest) && is_silent(s, now_us);)
			track_lose(track, s, s->last_us + track_limit_us(s), "silent");
}

/* The session that RECORD is about, or NULL. One that was silent for too long is over, whenever that is noticed. */
struct session *track_known(struct track *track, const struct record *r)
{
	size_t origin = track_origin(track, r->host, r->instance);
	struct session *s = origin < TRACK_MAX_ORIGINS ? track_find(track, origin, r->queue_id) : NULL;
	if (s && is_silent(s, r->time_us)) {
		track_lose(track, s, s->last_us + track_limit_us(s), "silent");
		s = NULL;
	}
	return s;
}

/* Once, until there is room again. */
static void tell_full(struct track *track, const struct record *r)
{
	if (track->full)
		return;
	track->full = true;
	track->event(track->context, &(struct event){.type = TYPE_LOG_GAP,
						     .time_us = r->time_us,
						     .session_start_us = r->time_us,
						     .host = r->host,
						     .instance = r->instance,
						     .delay = -1,
						     .delays = {-1, -1, -1, -1},
						     .detail = TEXT("{\"kind\":\"too-many-instances\"}")});
}

/* The same, made when it is not known: its start was missed, or it is Postfix's own notification. */
struct session *track_known_or_new(struct track *track, const struct record *r)
{
	struct session *s = track_known(track, r);
	size_t origin = track_origin(track, r->host, r->instance);
	if (origin == TRACK_MAX_ORIGINS)
		tell_full(track, r);
	else if (!s)
		s = track_add(track, origin, r->queue_id, r->time_us);
	if (s)
		track_touch(track, s, r->time_us);
	return s;
}

/* CHILD carries on what PARENT was: a requeued message, or a content filter's second pass. */
void track_inherit(struct session *child, const struct session *parent)
{
	session_set(child, TEXT_FIRST_ID, session_first_id(parent));
	session_set(child, TEXT_LOGIN, session_text(parent, TEXT_LOGIN));
	session_set(child, TEXT_CLIENT_IP, session_text(parent, TEXT_CLIENT_IP));
	child->flags |= (uint8_t)(parent->flags & (SESSION_ACCEPTED | SESSION_OPENED));
	if (!(child->flags & SESSION_NAMED))
		session_set(child, TEXT_MESSAGE_ID, session_text(parent, TEXT_MESSAGE_ID));
}

/* An id of the same host, in any of its Postfix instances. */
struct session *track_related(struct track *track, const struct session *s, struct text queue_id)
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

void track_saturate(uint16_t *count)
{
	if (*count < UINT16_MAX)
		++*count;
}
