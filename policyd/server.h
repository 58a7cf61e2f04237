#ifndef POLICYD_SERVER_H
#define POLICYD_SERVER_H

/* Sockets on which Postfix asks (libevent): many connections, each with its questions answered in order, one write for
 * the answers of one batch. What is spoken is the protocol's affair. One connection never waits for another's answer. */

#include <stdint.h>

#include "common/text.h"

struct event_base;
struct server;

/* Called exactly once for each question, perhaps before it has been asked to the end: ANSWER goes to the client; empty:
 * own trouble, the connection must be closed without a reply. */
typedef void server_answer(void *context, struct text answer);

/* What is spoken on a socket. */
struct server_protocol {
	size_t state_size; /* of what it keeps for each connection, zeroed at its begin */
	/* Asks the first question in BYTES: NULL and *LEN, its bytes, or 0 as long as it is not whole, which is all that
	 * may then happen; or why the connection must be closed. BYTES only grow while *LEN is 0, and stay until the
	 * question is answered. */
	const char *(*ask)(void *service, void *state, struct text bytes, size_t *len, server_answer *answer,
			   void *context);
	/* Before the loop waits again, when there were questions or answers. May be NULL. */
	void (*round_end)(void *service);
};

struct server_listener {
	int fd; /* listening; stays the caller's */
	const struct server_protocol *protocol;
	void *service; /* the protocol's */
};

#define SERVER_MAX_LISTENERS 2

struct server_options {
	const struct server_listener *listeners; /* copied */
	size_t listener_count;
	size_t max_connections; /* of all listeners; further ones wait in the kernel's queue */
	int64_t complete_ms;    /* a question that has begun must be whole, an answer taken, in this time */
	int64_t idle_ms;        /* between questions */
};

struct server *server_new(struct event_base *base, const struct server_options *options);
/* Accepts no more, closes idle connections, lets the others have their answers; after GRACE_MS closes those as well.
 * The loop ends (event_base_loopbreak) when none is left. */
void server_drain(struct server *server, int64_t grace_ms);
/* Closes what is open. No answer may be outstanding: free the counters first. */
void server_free(struct server **server);
size_t server_connections(const struct server *server);

#endif
