#ifndef POLICYD_SERVER_H
#define POLICYD_SERVER_H

/* The policy protocol on sockets (libevent): many connections, each with its requests answered in order, one write for
 * the replies of one batch. One connection never waits for another's counters. */

#include "policyd/service.h"

struct event_base;
struct server;

struct server_options {
	int fd; /* listening; stays the caller's */
	struct service *service;
	size_t max_connections; /* further ones wait in the kernel's queue */
	int64_t complete_ms;    /* a request that has begun must be whole, a reply taken, in this time */
	int64_t idle_ms;        /* between requests */
};

struct server *server_new(struct event_base *base, const struct server_options *options);
/* Accepts no more, closes idle connections, lets the others have their answers; after GRACE_MS closes those as well.
 * The loop ends (event_base_loopbreak) when none is left. */
void server_drain(struct server *server, int64_t grace_ms);
/* Closes what is open. No answer may be outstanding: free the counters first. */
void server_free(struct server **server);
size_t server_connections(const struct server *server);

#endif
