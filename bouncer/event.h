#ifndef BOUNCER_EVENT_H
#define BOUNCER_EVENT_H

/* What happened to a message for one recipient, and the words for it. A core.
 *
 * The words are the customers' contract (waybill-webhooks(7)): types in the past tense, categories by cause, class and
 * scope of a bounce. A tracker makes events (track.h), a classifier judges them (classify.h), the store keeps them. */

#include "common/bounce.h"

#include "bouncer/event_row.h"

enum event_type {
	TYPE_ACCEPTED, /* in the queue */
	TYPE_DELIVERED,
	TYPE_DEFERRED,
	TYPE_BOUNCED,  /* also expired */
	TYPE_REJECTED, /* refused by us: policy, rate, milter, size */
	TYPE_DROPPED,  /* discarded, or deleted by an administrator */
	TYPE_HELD,
	TYPE_RELEASED,
	TYPE_LOG_GAP, /* lines of the log are missing */
	EVENT_TYPE_MAX
};

extern const char *const event_type_words[EVENT_TYPE_MAX + 1]; /* NULL behind the last */

#define EVENT_DELAYS 4 /* queue, active, connect, transmit */

struct event {
	enum event_type type;
	int64_t time_us;
	/* Identity, with type and recipient (common/event_id.h). */
	struct text host, instance, queue_id;
	int64_t session_start_us;
	uint32_t ordinal;
	char id[32]; /* "" until identified */

	struct text orig_queue_id; /* the id that the message began with; empty: queue_id */
	struct text message_id, sender, recipient, orig_recipient, login, client_ip;
	bool has_sender;  /* an empty sender is the null sender */
	uint64_t size;    /* 0: not known */
	uint32_t attempt; /* 0: none was made */

	uint32_t code; /* 0: none */
	struct text dsn, remote_dsn, stage, response;
	struct text remote_mx, remote_ip, tls, provider;
	uint32_t remote_port;
	double delay, delays[EVENT_DELAYS]; /* negative: not known */
	struct text reason;
	bool truncated;
	bool expired; /* BOUNCED because Postfix gave up; dsn, reason and the rest are those of the last deferral */
	struct verdict verdict;

	struct text detail; /* JSON, of types without a recipient */
	bool partial;       /* the start of the message was not seen */
};

/* Does this event by itself forbid further mail to the recipient, for a time or for good (bounce_consequence())? */
bool event_suppresses(const struct event *event);

/* The domain of an address, in lower case, into OUT; its length. A literal or a missing domain gives 0. */
#define EVENT_DOMAIN_SIZE 256
size_t event_domain(struct text address, char out[EVENT_DOMAIN_SIZE]);

/* An address with its domain in lower case into OUT; ADDRESS itself when it does not fit. */
#define EVENT_ADDRESS_SIZE 512
struct text event_address(struct text address, char out[EVENT_ADDRESS_SIZE]);

/* Room for the numbers and lower-cased addresses that struct event_row points to. */
struct event_texts {
	char time[40], seconds[24], size[24], attempt[12], code[12], port[12];
	char delay[1 + EVENT_DELAYS][24];
	char domain[EVENT_DOMAIN_SIZE], recipient[EVENT_ADDRESS_SIZE], sender[EVENT_ADDRESS_SIZE],
		orig[EVENT_ADDRESS_SIZE];
};

/* The event as texts: views into EVENT and TEXTS. customer and seq stay NULL, they are the store's. */
void event_row_of(const struct event *event, struct event_texts *texts, struct event_row *row);

/* "2026-11-21T01:15:09.123456Z". */
void event_time(int64_t us, char out[40]);

#endif
