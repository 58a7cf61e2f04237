/* Connections: see server.h.
 *
 * A connection handles one question at a time: the next one is looked at when the answer stands in its output, so that
 * answers keep the order of the questions. While an answer is awaited nothing is read, since the question is a view into
 * the input. A connection closed meanwhile lives on, without its socket, until its answer has come. */

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <event2/event.h>
#include <event2/listener.h>

#include "common/log.h"
#include "common/memory.h"

#include "policyd/server.h"

#define READ_MAX   (64 * 1024) /* bytes of one read */
#define OUTPUT_MAX (64 * 1024) /* a client that does not read its replies is not asked for more questions */
#define KEEP_MAX   (8 * 1024)  /* an idle connection keeps no larger buffer */
#define TICK_MS    1000        /* how often time limits are looked at */
#define ACCEPT_MS  1000        /* pause after accept(2) failed, for want of descriptors */

struct listener {
	struct server *server;
	struct server_listener options;
	struct evconnlistener *accepting;
	bool asked; /* in this round of the loop */
};

struct connection {
	struct server *server;
	struct listener *listener;
	int fd; /* -1: closed, but an answer is outstanding */
	struct event *readable, *writable;
	struct buffer in, out;
	size_t used;      /* of in: questions that have been asked */
	int64_t since_ms; /* when the present question, answer or idle time began */
	bool paused;      /* readable is not waited for */
	bool partial;     /* a question has begun, or an answer is not taken */
	bool asked;       /* an answer is outstanding */
	bool working;     /* within work(): an answer needs not call it */
	bool finished;    /* close when the output is written */
	struct connection *previous, *next;
	max_align_t state[]; /* the protocol's */
};

struct server {
	struct event_base *base;
	struct server_options options;
	struct listener listeners[SERVER_MAX_LISTENERS];
	struct event *tick, *round_end;
	struct connection *first;
	size_t count;
	bool round; /* round_end will come */
	bool full, draining;
	bool said_full; /* logged once, until there is room again */
	int64_t drain_until_ms;
	char scratch[READ_MAX];
};

static int64_t now_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void accept_more(struct server *server, bool more)
{
	for (size_t i = 0; i < server->options.listener_count; i++)
		(more ? evconnlistener_enable : evconnlistener_disable)(server->listeners[i].accepting);
}

static void unlink_connection(struct connection *c)
{
	struct server *server = c->server;
	*(c->previous ? &c->previous->next : &server->first) = c->next;
	if (c->next)
		c->next->previous = c->previous;
	server->count--;
	if (server->full && !server->draining) {
		server->full = false;
		accept_more(server, true);
	}
	if (server->draining && !server->count)
		event_base_loopbreak(server->base);
}

static void connection_close(struct connection *c)
{
	if (c->fd >= 0) {
		event_free(c->readable);
		event_free(c->writable);
		close(c->fd);
		c->fd = -1;
	}
	if (c->asked || c->working)
		return;
	unlink_connection(c);
	buffer_free(&c->in);
	buffer_free(&c->out);
	free(c);
}

/* Own trouble or a malformed request: what was answered before is still sent. */
static void finish(struct connection *c)
{
	c->finished = true;
	event_del(c->readable);
}

static void refuse(struct connection *c, const char *why)
{
	log_warning("closing a connection: %s", why);
	finish(c);
}

static void answered(void *context, struct text answer);

static void on_round_end(evutil_socket_t none, short what, void *context)
{
	(void)none;
	(void)what;
	struct server *server = context;
	server->round = false;
	for (size_t i = 0; i < server->options.listener_count; i++) {
		struct listener *listener = &server->listeners[i];
		if (listener->asked && listener->options.protocol->round_end)
			listener->options.protocol->round_end(listener->options.service);
		listener->asked = false;
	}
	log_flush();
}

/* An event made active by hand stands behind all those that the loop has found, and comes before it waits again. */
static void expect_round_end(struct listener *listener)
{
	struct server *server = listener->server;
	listener->asked = true;
	if (!server->round)
		event_active(server->round_end, EV_TIMEOUT, 0);
	log_gather();
	server->round = true;
}

/* Asks the next whole question; false when there is none. */
static bool ask_next(struct connection *c)
{
	struct server_listener *options = &c->listener->options;
	struct text rest = text_from(buffer_view(&c->in), c->used);
	size_t len = 0;
	if (!rest.len)
		return false;
	c->asked = true;
	const char *why = options->protocol->ask(options->service, c->state, rest, &len, answered, c);
	if (why || !len)
		c->asked = false;
	if (why)
		refuse(c, why);
	if (why || !len)
		return false;
	c->used += len;
	expect_round_end(c->listener);
	return true;
}

/* Writes what there is; false when the connection is gone. */
static bool flush(struct connection *c)
{
	if (c->out.len) {
		ssize_t sent = send(c->fd, c->out.ptr, c->out.len, MSG_NOSIGNAL);
		if (sent < 0 && errno != EAGAIN && errno != EINTR)
			return false;
		buffer_drop(&c->out, sent > 0 ? (size_t)sent : 0);
	}
	if (c->out.len)
		event_add(c->writable, NULL);
	else if (c->finished || (c->server->draining && !c->asked))
		return false;
	return true;
}

static void give_back_memory(struct buffer *b)
{
	if (!b->len && b->cap > KEEP_MAX)
		buffer_free(b);
}

/* Drops what has been asked, and notes since when the connection is in its present state. */
static void settle(struct connection *c)
{
	if (!c->asked) {
		buffer_drop(&c->in, c->used);
		c->used = 0;
	}
	give_back_memory(&c->in);
	give_back_memory(&c->out);
	bool partial = c->in.len > c->used || c->out.len > 0;
	if (!partial || !c->partial)
		c->since_ms = now_ms();
	c->partial = partial;
}

/* Asks as long as answers come at once, then writes them all. */
static void work(struct connection *c)
{
	c->working = true;
	while (c->fd >= 0 && !c->asked && !c->finished && c->out.len < OUTPUT_MAX && ask_next(c))
		continue;
	c->working = false;
	if (c->fd < 0 || !flush(c)) {
		connection_close(c);
		return;
	}
	settle(c);
	if (c->paused && !c->asked && !c->finished && c->out.len < OUTPUT_MAX) {
		event_add(c->readable, NULL);
		c->paused = false;
	}
}

static void answered(void *context, struct text answer)
{
	struct connection *c = context;
	expect_round_end(c->listener);
	c->asked = false;
	if (answer.len)
		buffer_text(&c->out, answer);
	else if (c->fd >= 0)
		finish(c);
	c->partial = false;
	if (!c->working)
		work(c);
}

static void on_readable(evutil_socket_t fd, short what, void *context)
{
	(void)what;
	struct connection *c = context;
	/* The question under way points into the input: it must not move. */
	if (c->asked || c->out.len >= OUTPUT_MAX) {
		event_del(c->readable);
		c->paused = true;
		return;
	}
	ssize_t got = recv(fd, c->server->scratch, READ_MAX, 0);
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got <= 0) {
		connection_close(c);
		return;
	}
	buffer_add(&c->in, c->server->scratch, (size_t)got);
	work(c);
}

static void on_writable(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	work(context);
}

static struct connection *connection_new(struct listener *listener, int fd)
{
	struct server *server = listener->server;
	struct connection *c = memory_zero(1, sizeof *c + listener->options.protocol->state_size);
	c->server = server;
	c->listener = listener;
	c->fd = fd;
	c->since_ms = now_ms();
	c->readable = event_new(server->base, fd, EV_READ | EV_PERSIST, on_readable, c);
	c->writable = event_new(server->base, fd, EV_WRITE, on_writable, c);
	if (!c->readable || !c->writable)
		abort();
	c->next = server->first;
	if (c->next)
		c->next->previous = c;
	server->first = c;
	server->count++;
	return c;
}

static void on_accept(struct evconnlistener *accepting, evutil_socket_t fd, struct sockaddr *address, int len,
		      void *context)
{
	(void)accepting;
	(void)address;
	(void)len;
	struct listener *listener = context;
	struct server *server = listener->server;
	event_add(connection_new(listener, fd)->readable, NULL);
	if (server->count < server->options.max_connections)
		return;
	if (!server->said_full)
		log_warning("%zu connections are open: further ones wait (max_connections)", server->count);
	server->full = server->said_full = true;
	accept_more(server, false);
}

static void on_accept_error(struct evconnlistener *accepting, void *context)
{
	(void)accepting;
	struct listener *listener = context;
	log_error("accept: %s; trying again in a second", strerror(errno));
	listener->server->full = true;
	accept_more(listener->server, false);
}

static bool is_overdue(const struct connection *c, int64_t now)
{
	if (c->asked)
		return false;
	return now - c->since_ms > (c->partial ? c->server->options.complete_ms : c->server->options.idle_ms);
}

static void on_tick(evutil_socket_t none, short what, void *context)
{
	(void)none;
	(void)what;
	struct server *server = context;
	int64_t now = now_ms();
	for (struct connection *c = server->first, *next; c; c = next) {
		next = c->next;
		bool late = server->draining && now >= server->drain_until_ms;
		if (c->fd >= 0 && (late || is_overdue(c, now)))
			connection_close(c);
	}
	server->said_full = server->said_full && server->count >= server->options.max_connections;
	if (server->full && !server->draining && server->count < server->options.max_connections) {
		server->full = false;
		accept_more(server, true);
	}
}

static void listener_start(struct listener *listener, struct server *server, const struct server_listener *options)
{
	listener->server = server;
	listener->options = *options;
	evutil_make_socket_nonblocking(options->fd); /* systemd's may block */
	listener->accepting =
		evconnlistener_new(server->base, on_accept, listener, LEV_OPT_CLOSE_ON_EXEC, 0, options->fd);
	if (!listener->accepting)
		abort();
	evconnlistener_set_error_cb(listener->accepting, on_accept_error);
}

struct server *server_new(struct event_base *base, const struct server_options *options)
{
	struct server *server = memory_zero(1, sizeof *server);
	struct timeval tick = {TICK_MS / 1000, 0};
	server->base = base;
	server->options = *options;
	server->tick = event_new(base, -1, EV_PERSIST, on_tick, server);
	server->round_end = event_new(base, -1, 0, on_round_end, server);
	if (!server->tick || !server->round_end)
		abort();
	for (size_t i = 0; i < options->listener_count; i++)
		listener_start(&server->listeners[i], server, &options->listeners[i]);
	event_add(server->tick, &tick);
	return server;
}

void server_drain(struct server *server, int64_t grace_ms)
{
	server->draining = true;
	server->drain_until_ms = now_ms() + grace_ms;
	accept_more(server, false);
	for (struct connection *c = server->first, *next; c; c = next) {
		next = c->next;
		if (!c->asked && !c->partial)
			connection_close(c);
	}
	if (!server->count)
		event_base_loopbreak(server->base);
}

void server_free(struct server **server)
{
	struct server *s = *server;
	if (!s)
		return;
	for (struct connection *c = s->first, *next; c; c = next) {
		next = c->next;
		connection_close(c);
	}
	for (size_t i = 0; i < s->options.listener_count; i++)
		evconnlistener_free(s->listeners[i].accepting);
	event_free(s->tick);
	event_free(s->round_end);
	free(s);
	*server = NULL;
}

size_t server_connections(const struct server *server)
{
	return server->count;
}
