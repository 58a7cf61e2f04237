#ifndef BOUNCER_EVENT_H
#define BOUNCER_EVENT_H

/* What happened to a message for one recipient, and the words for it. A core.
 *
 * The words are the customers' contract (waybill-webhooks(7)): types in the past tense, categories by cause, class and
 * scope of a bounce. A tracker makes events (track.h), a classifier judges them (classify.h), the store keeps them. */

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

enum bounce_class { CLASS_NONE, CLASS_HARD, CLASS_SOFT, CLASS_UNDETERMINED, BOUNCE_CLASS_MAX };

enum bounce_scope {
	SCOPE_NONE,
	SCOPE_RECIPIENT,
	SCOPE_RECIPIENT_DOMAIN,
	SCOPE_NETWORK,
	SCOPE_REMOTE_SYSTEM,
	SCOPE_SENDER_IP,
	SCOPE_SENDER_DOMAIN,
	SCOPE_SENDER_ADDRESS,
	SCOPE_CONTENT,
	SCOPE_LOCAL,
	BOUNCE_SCOPE_MAX
};

enum bounce_category {
	CATEGORY_NONE,
	CATEGORY_BAD_MAILBOX,
	CATEGORY_MAILBOX_MOVED,
	CATEGORY_INACTIVE_MAILBOX,
	CATEGORY_QUOTA_ISSUES,
	CATEGORY_RECIPIENT_FILTERED,
	CATEGORY_BAD_DOMAIN,
	CATEGORY_DNS_FAILURE,
	CATEGORY_NO_ANSWER_FROM_HOST,
	CATEGORY_BAD_CONNECTION,
	CATEGORY_EXPIRED,
	CATEGORY_GREYLISTED,
	CATEGORY_RATE_LIMITED,
	CATEGORY_IP_BLOCKED,
	CATEGORY_SENDER_DOMAIN_BLOCKED,
	CATEGORY_NO_PTR,
	CATEGORY_AUTH_FAILED,
	CATEGORY_BAD_SENDER,
	CATEGORY_SPAM_CONTENT,
	CATEGORY_VIRUS,
	CATEGORY_CONTENT_RELATED,
	CATEGORY_MESSAGE_TOO_BIG,
	CATEGORY_POLICY_RELATED,
	CATEGORY_RELAYING_ISSUES,
	CATEGORY_ROUTING_LOOP,
	CATEGORY_TLS_REQUIRED,
	CATEGORY_PROTOCOL_ERRORS,
	CATEGORY_LOCAL_POLICY,
	CATEGORY_AUTO_REPLY,
	CATEGORY_UNDETERMINED,
	BOUNCE_CATEGORY_MAX
};

/* As they are written; *_NONE is "". */
extern const char *const event_type_words[EVENT_TYPE_MAX];
extern const char *const bounce_class_words[BOUNCE_CLASS_MAX];
extern const char *const bounce_scope_words[BOUNCE_SCOPE_MAX];
extern const char *const bounce_category_words[BOUNCE_CATEGORY_MAX];
/* The scope that a category has when a rule names none (facts of the categories' table). */
extern const enum bounce_scope bounce_category_scope[BOUNCE_CATEGORY_MAX];

struct verdict {
	enum bounce_class class;
	enum bounce_category category;
	enum bounce_scope scope;
	const char *rule; /* which one spoke: "std/5.1.1" */
};

#define EVENT_DELAYS 4 /* queue, active, connect, transmit */

struct event {
	enum event_type type;
	int64_t time_us;
	/* Identity, with type and recipient (common/event_id.h). */
	struct text host, instance, queue_id;
	int64_t session_start_us;
	uint32_t ordinal;
	char id[32]; /* "" until identified */

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

/* Does a bounce with this verdict forbid further mail to the recipient? It must be final and hard, and say that the
 * mailbox or its domain does not exist or is closed: a 5xx about our address or the message must not cost the customer a
 * living address, and a full mailbox may be emptied. */
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
