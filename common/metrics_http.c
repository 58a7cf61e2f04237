#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/http.h>

#include "common/memory.h"
#include "common/metrics_http.h"

#define METRICS_TIMEOUT_S   10
#define METRICS_MAX_HEADERS 8192
#define METRICS_SOCKET_MODE 0660
#define METRICS_BACKLOG     16

struct metrics_http {
	const struct metrics *metrics;
	struct event_base *base;
	struct evhttp *http;
	struct event *stop;
	pthread_t thread;
	int stop_fd, port;
	char *path; /* of a unix socket */
};

static const char *listen_unix(const char *path, int *fd)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct stat st;

	if (!text_put(text_of(path), address.sun_path, sizeof address.sun_path))
		return "the path is too long for a unix socket";
	if (lstat(path, &st) == 0 && S_ISSOCK(st.st_mode))
		unlink(path);
	*fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (*fd < 0 || bind(*fd, (const struct sockaddr *)&address, sizeof address) != 0 ||
	    chmod(path, METRICS_SOCKET_MODE) != 0 || listen(*fd, METRICS_BACKLOG) != 0)
		return strerror(errno);
	return NULL;
}

static const char *bind_tcp(const struct addrinfo *address, int *fd)
{
	const int on = 1;
	*fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (*fd < 0 || setsockopt(*fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
	    bind(*fd, address->ai_addr, address->ai_addrlen) != 0 || listen(*fd, METRICS_BACKLOG) != 0)
		return strerror(errno);
	return NULL;
}

/* ADDRESS:PORT, an IPv6 address in brackets; names would ask DNS. */
static const char *listen_tcp(const char *where, int *fd)
{
	const struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
	char host[64];
	struct addrinfo *addresses;
	uint64_t port;
	size_t colon = text_rfind(text_of(where), ':');
	struct text address = text_head(text_of(where), colon);

	if (text_starts(address, TEXT("[")) && text_ends(address, TEXT("]")))
		address = text_head(text_from(address, 1), address.len - 2);
	if (colon == SIZE_MAX || text_uint(text_from(text_of(where), colon + 1), UINT16_MAX, &port) || !address.len ||
	    !text_put(address, host, sizeof host) || getaddrinfo(host, where + colon + 1, &hints, &addresses) != 0)
		return "neither ADDRESS:PORT nor an absolute path";
	const char *why = bind_tcp(addresses, fd);
	freeaddrinfo(addresses);
	return why;
}

static int port_of(int fd)
{
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
		struct sockaddr_storage room;
	} address = {0};
	socklen_t len = sizeof address;
	if (getsockname(fd, &address.any, &len) != 0)
		return 0;
	if (address.any.sa_family == AF_INET6)
		return ntohs(address.v6.sin6_port);
	return address.any.sa_family == AF_INET ? ntohs(address.v4.sin_port) : 0;
}

static void answer(struct evhttp_request *request, void *context)
{
	const struct metrics_http *http = context;
	struct buffer text = {0};

	metrics_print(http->metrics, &text);
	evbuffer_add(evhttp_request_get_output_buffer(request), text.ptr, text.len);
	evhttp_add_header(evhttp_request_get_output_headers(request), "Content-Type", "text/plain; version=0.0.4");
	evhttp_send_reply(request, HTTP_OK, "OK", NULL);
	buffer_free(&text);
}

static void stop_loop(evutil_socket_t fd, short what, void *context)
{
	struct metrics_http *http = context;
	(void)fd;
	(void)what;
	event_base_loopbreak(http->base);
}

static void *serve(void *context)
{
	struct metrics_http *http = context;
	event_base_dispatch(http->base);
	return NULL;
}

static int prepare(struct metrics_http *http, int fd)
{
	http->base = event_base_new();
	http->stop_fd = eventfd(0, EFD_CLOEXEC);
	if (!http->base || http->stop_fd < 0)
		return -1;
	http->http = evhttp_new(http->base);
	http->stop = event_new(http->base, http->stop_fd, EV_READ, stop_loop, http);
	if (!http->http || !http->stop || event_add(http->stop, NULL) != 0)
		return -1;
	evhttp_set_allowed_methods(http->http, EVHTTP_REQ_GET | EVHTTP_REQ_HEAD);
	evhttp_set_timeout(http->http, METRICS_TIMEOUT_S);
	evhttp_set_max_headers_size(http->http, METRICS_MAX_HEADERS);
	evhttp_set_max_body_size(http->http, 0);
	if (evhttp_set_cb(http->http, "/metrics", answer, http) != 0)
		return -1;
	return evhttp_accept_socket(http->http, fd);
}

static int start_thread(struct metrics_http *http)
{
	sigset_t all, before;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int status = pthread_create(&http->thread, NULL, serve, http);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return status ? -1 : 0;
}

static void destroy(struct metrics_http *http)
{
	if (http->http)
		evhttp_free(http->http);
	if (http->stop)
		event_free(http->stop);
	if (http->base)
		event_base_free(http->base);
	if (http->stop_fd >= 0)
		close(http->stop_fd);
	if (http->path)
		unlink(http->path);
	free(http->path);
	free(http);
}

static struct metrics_http *fail(char **error, const char *where, const char *why)
{
	struct buffer text = {0};
	buffer_format(&text, "metrics: %s: %s", where, why);
	*error = text_copy(buffer_view(&text));
	buffer_free(&text);
	return NULL;
}

struct metrics_http *metrics_http_start(const char *where, const struct metrics *metrics, char **error)
{
	int fd = -1;
	bool local = *where == '/';
	const char *why = local ? listen_unix(where, &fd) : listen_tcp(where, &fd);
	if (why) {
		if (fd >= 0)
			close(fd);
		return fail(error, where, why);
	}
	struct metrics_http *http = memory_zero(1, sizeof *http);
	http->metrics = metrics;
	http->stop_fd = -1;
	http->port = port_of(fd);
	http->path = local ? text_copy(text_of(where)) : NULL;
	if (prepare(http, fd) != 0) {
		close(fd);
		destroy(http);
		return fail(error, where, "libevent does not start");
	}
	if (start_thread(http) != 0) {
		destroy(http);
		return fail(error, where, "no thread can be started");
	}
	return http;
}

int metrics_http_port(const struct metrics_http *http)
{
	return http->port;
}

void metrics_http_stop(struct metrics_http **http)
{
	const uint64_t one = 1;
	if (!*http)
		return;
	if (write((*http)->stop_fd, &one, sizeof one) != sizeof one)
		abort(); /* an eventfd takes it, always */
	pthread_join((*http)->thread, NULL);
	destroy(*http);
	*http = NULL;
}
