#ifndef BOUNCER_TRACK_INTERNAL_H
#define BOUNCER_TRACK_INTERNAL_H

#include "bouncer/track.h"

/* The texts of a session, packed into one block in this order, which is that of their lines. */
enum session_text {
	TEXT_QUEUE_ID,
	TEXT_FIRST_ID, /* the id that the message began with; empty: this one */
	TEXT_CLIENT_IP,
	TEXT_LOGIN,
	TEXT_MESSAGE_ID,
	TEXT_SENDER,
	SESSION_TEXT_MAX
};
#define SESSION_TEXT_LIMIT 2048 /* bytes of one text: more than Postfix logs in one line */

enum session_flag {
	SESSION_OPENED = 1,   /* its first line was seen */
	SESSION_NAMED = 2,    /* its Message-ID line was seen */
	SESSION_ACTIVE = 4,   /* the queue manager has it */
	SESSION_ACCEPTED = 8, /* message.accepted was told, now or under an earlier id */
	SESSION_HELD = 16,
	SESSION_PROBE = 32,    /* address verification: no mail */
	SESSION_REQUEUED = 64, /* waits to be picked up under a new id */
	SESSION_SENDER = 128,  /* the sender is known; it may be empty */
};

/* What expiry will need of a recipient's last deferral. */
struct deferral {
	uint16_t dsn_len, relay_len, reason_len, orig_len;
	bool truncated;
	char bytes[]; /* dsn, relay, reason, original recipient */
};

struct recipient {
	char *address;
	struct deferral *deferral; /* NULL unless it was deferred and has no end yet */
	uint32_t hash, ended_as;   /* of the address; of the original one at its last end */
	uint16_t address_len;
	uint16_t attempts;
	uint16_t deferred, ended; /* events so far */
};

struct session {
	struct session *chain;         /* same bucket */
	struct session *older, *newer; /* by last line, within its list */
	int64_t start_us, last_us;
	char *bytes;
	struct recipient *recipients;
	uint32_t *index; /* recipients by hash, once there are many: position + 1 */
	uint64_t size;
	uint32_t hash, nrcpt, ended, recipient_count;
	uint32_t dirty_at; /* position + 1 among the changed ones; 0: unchanged */
	uint16_t bytes_cap;
	uint16_t origin;
	uint16_t text_len[SESSION_TEXT_MAX];
	uint16_t marks; /* events without a recipient so far: ordinals of held, released, log.gap */
	uint8_t flags, list, recipient_cap_log2;
	bool stored;
};

/* Host and instance, which few sessions differ in. */
struct origin {
	struct text host, instance;
	size_t sessions; /* that have it; without any, another may take its place */
};
#define TRACK_MAX_ORIGINS 1024

enum track_list { LIST_ABORTING, LIST_QUEUED, LIST_HELD, TRACK_LIST_MAX };

/* Refusals without a queue id, to count equal ones of the same moment. */
#define TRACK_REFUSALS 256
struct refusal {
	int64_t time_us;
	uint32_t pid, hash, count;
};

/* The TLS protocol that an smtp(8) process negotiated last. */
#define TRACK_CONNECTIONS 256
struct connection {
	uint32_t pid;
	char ip[46], tls[16];
};

/* An smtpd(8) process whose next queue file is to be held: HOLD spoke before there was one. */
#define TRACK_HOLDS 64
struct hold {
	uint32_t pid; /* 0: none */
	char stage[16], reason[160];
};

struct track {
	track_event *event;
	void *context;
	struct session **buckets;
	size_t bucket_count, session_count;
	struct {
		struct session *oldest, *newest;
	} lists[TRACK_LIST_MAX];
	bool restored; /* sessions came in any order: the lists are not by age */
	struct session **dirty;
	size_t dirty_count, dirty_cap;
	struct origin origins[TRACK_MAX_ORIGINS];
	size_t origin_count, origin_last;
	bool full;          /* lines of an origin found no place, and a log.gap says so */
	struct buffer gone; /* keys of ended sessions that are stored: each text behind its length */
	size_t gone_read;
	struct buffer scratch;
	int64_t swept_us;
	struct track_counts counts;
	struct refusal refusals[TRACK_REFUSALS];
	int64_t refused_us;
	bool refusals_dirty;
	struct connection connections[TRACK_CONNECTIONS];
	struct hold holds[TRACK_HOLDS];
};

uint32_t track_hash(struct text t);

/* track_table.c: finding, making and ending sessions. */
size_t track_origin(struct track *track, struct text host, struct text instance); /* TRACK_MAX_ORIGINS: too many */
struct session *track_find(struct track *track, size_t origin, struct text queue_id);
struct session *track_add(struct track *track, size_t origin, struct text queue_id, int64_t now_us);
void track_drop(struct track *track, struct session *session);
/* The session spoke: it is the newest of LIST and must be stored. */
void track_touch(struct track *track, struct session *session, int64_t now_us);
void track_dirty(struct track *track, struct session *session);
void track_clean(struct track *track, struct session *session);
/* The lists by age again, after sessions were restored. */
void track_sort(struct track *track);
int64_t track_limit_us(const struct session *session);
void track_table_free(struct track *track);

struct text session_text(const struct session *session, enum session_text which);
struct text session_first_id(const struct session *session);
void session_set(struct session *session, enum session_text which, struct text value);
/* Gives up the room for more texts: all are known. */
void session_trim(struct session *session);
struct recipient *session_recipient(struct session *session, struct text address); /* made when new */
void recipient_defer(struct recipient *recipient, const struct record *record);
void recipient_settle(struct recipient *recipient);
/* It has an end, named ORIG at first. One address may be two recipients, under two names; the same end twice, after a crash, is
 * one. */
void session_end(struct session *session, struct recipient *recipient, struct text orig);

/* track_session.c: finding a session for a record, telling of it, losing it. */

/* Only what Postgres takes as an address: Postfix writes "unknown", and local users write anything. */
struct text track_address(struct text ip);
/* An event of a session, with all that the session knows. */
struct event track_event_of(const struct track *track, const struct session *session, enum event_type type,
			    int64_t time_us);
void track_tell(struct track *track, const struct session *session, const struct event *event);
/* An event log.gap: recipients of the session have no end. */
void track_gap(struct track *track, struct session *session, int64_t time_us, const char *why);
/* The session said nothing for too long, or its id has begun a new life: it goes, told as a gap when it was queued. */
void track_lose(struct track *track, struct session *session, int64_t time_us, const char *why);
/* Loses those that were silent for too long, once a minute of the log. */
void track_sweep(struct track *track, int64_t now_us);
/* The session that RECORD is about, or NULL. One that was silent for too long is over, whenever that is noticed. */
struct session *track_known(struct track *track, const struct record *record);
/* The same, made when it is not known, and touched; NULL: too many origins. */
struct session *track_known_or_new(struct track *track, const struct record *record);
/* An id of the same host, in any of its Postfix instances. */
struct session *track_related(struct track *track, const struct session *session, struct text queue_id);
/* CHILD carries on what PARENT was: a requeued message, or a content filter's second pass. */
void track_inherit(struct session *child, const struct session *parent);
void track_saturate(uint16_t *count);

/* track_delivery.c */
void track_on_delivery(struct track *track, const struct record *record);
void track_on_expired(struct track *track, const struct record *record);
void track_on_removed(struct track *track, const struct record *record);
void track_on_deleted(struct track *track, const struct record *record);
void track_on_held(struct track *track, const struct record *record, bool held);

/* track_reject.c */
void track_on_reject(struct track *track, const struct record *record);

#endif
