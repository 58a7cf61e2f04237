/* Refusals, of which most have no queue id and so no session. */

#include <string.h>

#include "bouncer/track_internal.h"

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

void track_on_reject(struct track *track, const struct record *r)
{
	bool dropped = text_ends(r->verb, TEXT("discard"));
	struct session *s = text_equal(r->queue_id, TEXT("NOQUEUE")) || !r->queue_id.len ? NULL : track_known(track, r);
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
		event = (track_event_of(track, s, event.type, r->time_us)), event.ordinal = s->marks++;
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
		event.client_ip = track_address(r->client_ip);
	track->event(track->context, &event);
	if (s && ends_transaction(r))
		track_drop(track, s);
	else if (s)
		track_touch(track, s, r->time_us);
}
