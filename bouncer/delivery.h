#ifndef BOUNCER_DELIVERY_H
#define BOUNCER_DELIVERY_H

/* One POST owed to one endpoint, of an event or of a batch of events, from its lease to its record. A core. */

#include <stdatomic.h>

#include "bouncer/format.h"

/* What an endpoint's deliveries have in common. Shared by them, read-only once made (but for two marks), counted
 * (atomically: the last of them may go on another thread). */
struct endpoint {
	atomic_int users;
	char *customer, *id, *url;
	enum format format;
	struct buffer keys[2]; /* that sign: the secret's, and while it rotates the previous one's */
	size_t key_count;
	bool asymmetric;           /* signs with Ed25519 (v1a) as well */
	int64_t timeout_ms;        /* of a POST */
	size_t batch_max;          /* events of a POST; 1: no batches */
	bool patient;              /* it asked for this time itself: silence is no sign that it hangs */
	struct buffer header;      /* a field of its own, "Name: value"; empty: none */
	struct buffer certificate; /* shown to it, PEM with the key; empty: none */
	struct signer *signer;     /* signer.h's, or NULL; freed by the next one */
	void (*signer_free)(struct signer *signer);
	size_t health_at; /* the clerk's own mark: see outbox_record.c */
};

struct endpoint *endpoint_new(void);
struct endpoint *endpoint_share(struct endpoint *endpoint);
/* The key of a signature of which there can be only one: the previous one as long as there is one, so that the receiver has
 * time to take up the new one. */
struct text endpoint_old_key(const struct endpoint *endpoint);
/* Wipes the keys with the last user. */
void endpoint_free(struct endpoint **endpoint);

/* The first bytes of an answer that are kept. */
#define DELIVERY_ANSWER_MAX 1024

enum delivery_state {
	DELIVERY_LEASED,     /* waiting, or being posted */
	DELIVERY_POSTED,     /* an attempt was made */
	DELIVERY_LOST,       /* its event is no longer kept: nothing to post */
	DELIVERY_UNSENDABLE, /* our own fault, named in error: later, and no attempt is used up */
	DELIVERY_UNUSED,     /* not tried: to be given back */
	DELIVERY_STATE_MAX
};

struct delivery_event {
	char *id;
	/* When it happened, when the database had it: since 1970; 0 when it was owed later, by
	 * a replay, which is no measure of haste. */
	int64_t occurred_us, recorded_us;
};

struct delivery {
	struct delivery *next;
	struct endpoint *endpoint;
	char *id;                      /* webhook-id: the event's, or the batch's */
	struct delivery_event *events; /* one; of a batch in their order: the first leads it (waybill.deliveries) */
	size_t event_count;
	bool batch;
	int attempt;            /* this one, from 1 */
	int try;                /* the same, counted from the last replay */
	int64_t start_until_ms; /* on the monotonic clock: no attempt may begin later, the lease would end under it */
	struct buffer body;

	enum delivery_state state;
	int64_t started_us; /* since 1970 */
	int64_t duration_ms;
	int status; /* of HTTP; 0: none */
	int64_t retry_after_ms;
	char *error; /* why there was none, or why an answer was cut short; NULL */
	struct buffer answer;

	/* The judgement: what is to be written about it. */
	const char *outcome; /* its next state in waybill.deliveries */
	int64_t wait_ms;     /* until the next attempt, of "due" */
	int64_t pause_ms;    /* for the whole endpoint, which asked for it; 0 */
	bool ok, gone;       /* 2xx; 410: the endpoint is to be disabled */
};

/* Of one event. */
struct delivery *delivery_new(struct endpoint *endpoint, struct text event_id, int attempt);
/* Of a batch; delivery_add_event() each of its events, COUNT at most. */
struct delivery *delivery_new_batch(struct endpoint *endpoint, struct text id, size_t count, int attempt);
void delivery_add_event(struct delivery *batch, struct text event_id, int64_t occurred_us, int64_t recorded_us);
void delivery_free(struct delivery **delivery);
/* Fills the judgement from what happened (retry.h); RANDOM is any 32 random bits. */
void delivery_judge(struct delivery *delivery, uint32_t random);

/* A queue of them. Zero-initialised it is empty. */
struct delivery_list {
	struct delivery *head, *tail;
	size_t count; /* of events: what memory and records cost goes by them */
};

void delivery_list_add(struct delivery_list *list, struct delivery *delivery);
/* The first one, or NULL. */
struct delivery *delivery_list_take(struct delivery_list *list);
/* Moves everything from FROM to the end of LIST. */
void delivery_list_join(struct delivery_list *list, struct delivery_list *from);
void delivery_list_free(struct delivery_list *list);

#endif
