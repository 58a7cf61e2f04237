#include "bouncer/post.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <curl/curl.h>
#include <event2/event.h>

#include "common/guard.h"
#include "common/memory.h"

#include "bouncer/delivery.h"

/* The system's certificates, looked up by hash when needed: reading Debian's whole bundle for each connection would
 * cost more than the POST. */
#define CA_FOLDER "/etc/ssl/certs"

/* Of a handle's own buffers: answers are short, and there may be a thousand handles. */
#define RECEIVE_BUFFER 2048L
#define SEND_BUFFER    16384L

/* Slower than this for that long is as good as hanging. */
#define LOW_SPEED_BYTES   1L
#define LOW_SPEED_SECONDS 10L

/* A connection that never rests is still closed once in a while, so that changed names are noticed. */
#define CONNECTION_SECONDS 600L

/* What the loop watches of a socket, by its descriptor. libcurl gives a connection up after each POST and takes it up again
 * with the next one: it stays watched meanwhile, until something comes that nobody wants. Others, such as its resolver's, it
 * closes without a word: they are watched while it says so. */
struct watch {
	struct event *event; /* NULL: none yet */
	short events;
	bool connection; /* of ours: close_socket() will be called */
	bool wanted;     /* by libcurl, now */
};

struct post {
	struct post_settings settings;
	CURLM *multi;
	struct watch *watches;
	size_t watch_count;
	struct event *timer;
	struct transfer *idle, *under_way;
	bool added; /* a transfer that libcurl has not begun yet */
};

/* One POST; the easy handle is kept and used again. */
struct transfer {
	struct transfer *next, *before; /* in idle or under_way */
	struct post *post;
	CURL *easy;
	struct curl_slist *headers;
	void *user;
	struct buffer body, denied;
	size_t read, header_bytes;
	int64_t started_us;
	bool cut, dialled; /* an allowed address was tried */
	char error[CURL_ERROR_SIZE];
};

static int64_t microseconds(void)
{
	struct timespec t;
	clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static bool network_of(const struct curl_sockaddr *address, struct network *out)
{
	*out = (struct network){.prefix = 128};
	if (address->family == AF_INET) {
		struct sockaddr_in in;
		memcpy(&in, &address->addr, sizeof(in));
		out->address[10] = out->address[11] = 0xff;
		memcpy(out->address + 12, &in.sin_addr, 4);
		return true;
	}
	if (address->family == AF_INET6) {
		struct sockaddr_in6 in6;
		memcpy(&in6, &address->addr, sizeof(in6));
		memcpy(out->address, &in6.sin6_addr, 16);
		return true;
	}
	return false;
}

static struct watch *watch_of(struct post *post, curl_socket_t fd)
{
	size_t old = post->watch_count;
	if ((size_t)fd >= old) {
		post->watch_count = (size_t)fd * 2 + 64;
		post->watches = memory_resize(post->watches, post->watch_count, sizeof(*post->watches));
		memset(post->watches + old, 0, (post->watch_count - old) * sizeof(*post->watches));
	}
	return &post->watches[fd];
}

/* libcurl asks for a socket to this very address: the one place that no spelling and no resolver gets around. */
static curl_socket_t open_socket(void *cookie, curlsocktype purpose, struct curl_sockaddr *address)
{
	struct transfer *transfer = cookie;
	struct network network;
	char written[NETWORK_TEXT_MAX];
	if (purpose != CURLSOCKTYPE_IPCXN || !network_of(address, &network))
		return CURL_SOCKET_BAD;
	const char *why = guard_address(&network, transfer->post->settings.policy);
	if (why) {
		network_print(&network, written);
		transfer->denied.len = 0;
		buffer_format(&transfer->denied, "%s is not allowed: %s", written, why);
		return CURL_SOCKET_BAD;
	}
	transfer->dialled = true;
	int fd = socket(address->family, address->socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, address->protocol);
	if (fd < 0)
		return CURL_SOCKET_BAD;
	watch_of(transfer->post, fd)->connection = true;
	return fd;
}

static void unwatch(struct watch *watch)
{
	if (watch->event)
		event_free(watch->event);
	watch->event = NULL;
	watch->events = 0;
}

/* Closed by libcurl: CURLOPT_CLOSESOCKETFUNCTION. */
static int close_socket(void *cookie, curl_socket_t fd)
{
	struct post *post = cookie;
	struct watch *watch = watch_of(post, fd);
	unwatch(watch);
	watch->connection = false;
	return close(fd);
}

static size_t take_body(char *bytes, size_t size, size_t count, void *cookie)
{
	struct transfer *transfer = cookie;
	size_t len = size * count;
	size_t keep = DELIVERY_ANSWER_MAX - transfer->body.len;
	buffer_text(&transfer->body, text_head(text_at(bytes, len), keep));
	transfer->read += len;
	transfer->cut = transfer->read > POST_ANSWER_READ_MAX;
	return transfer->cut ? 0 : len;
}

static size_t take_header(char *bytes, size_t size, size_t count, void *cookie)
{
	struct transfer *transfer = cookie;
	(void)bytes;
	transfer->header_bytes += size * count;
	return transfer->header_bytes > POST_ANSWER_HEADER_MAX ? 0 : size * count;
}

static void set_doors(CURL *easy)
{
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https"); /* guard_url_check() knows whether http */
	curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(easy, CURLOPT_PROXY, "");
	curl_easy_setopt(easy, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
	curl_easy_setopt(easy, CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
	curl_easy_setopt(easy, CURLOPT_HTTP_CONTENT_DECODING, 0L);
	curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
	curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	curl_easy_setopt(easy, CURLOPT_CAPATH, CA_FOLDER);
	curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, LOW_SPEED_BYTES);
	curl_easy_setopt(easy, CURLOPT_MAXLIFETIME_CONN, CONNECTION_SECONDS);
	/* Connections are kept, names are for the system's resolver to remember: libcurl would look through all of its own
	 * memory of them after each POST. */
	curl_easy_setopt(easy, CURLOPT_DNS_CACHE_TIMEOUT, 0L);
	/* A POST that ends before its name is resolved leaves the resolver's thread behind: to wait for it would stop the loop,
	 * and every other POST with it. */
	curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
	curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, RECEIVE_BUFFER);
	curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, SEND_BUFFER);
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_USERAGENT, "waybill/" WAYBILL_VERSION);
}

static struct transfer *transfer_new(struct post *post)
{
	struct transfer *transfer = memory_zero(1, sizeof(*transfer));
	CURL *easy = curl_easy_init();
	if (!easy)
		abort(); /* out of memory: see common/memory.h */
	transfer->post = post;
	transfer->easy = easy;
	set_doors(easy);
	curl_easy_setopt(easy, CURLOPT_CAINFO, post->settings.ca_file);
	curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)post->settings.connect_ms);
	curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, open_socket);
	curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, transfer);
	curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, close_socket);
	curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, post);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_body);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, transfer);
	curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, take_header);
	curl_easy_setopt(easy, CURLOPT_HEADERDATA, transfer);
	curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, transfer->error);
	curl_easy_setopt(easy, CURLOPT_PRIVATE, transfer);
	return transfer;
}

static void transfer_free(struct transfer *transfer)
{
	curl_easy_cleanup(transfer->easy);
	curl_slist_free_all(transfer->headers);
	buffer_free(&transfer->body);
	buffer_free(&transfer->denied);
	free(transfer);
}

static void link_first(struct transfer **list, struct transfer *transfer)
{
	transfer->before = NULL;
	transfer->next = *list;
	if (*list)
		(*list)->before = transfer;
	*list = transfer;
}

static void unlink_from(struct transfer **list, struct transfer *transfer)
{
	*(transfer->before ? &transfer->before->next : list) = transfer->next;
	if (transfer->next)
		transfer->next->before = transfer->before;
}

static void add_header(struct transfer *transfer, const char *header)
{
	struct curl_slist *list = curl_slist_append(transfer->headers, header);
	if (!list)
		abort();
	transfer->headers = list;
}

/* A handle is used again: one without a certificate must forget the last one's. */
static void set_certificate(CURL *easy, struct text pem)
{
	struct curl_blob blob = {.data = (void *)(uintptr_t)pem.ptr, .len = pem.len, .flags = CURL_BLOB_COPY};
	curl_easy_setopt(easy, CURLOPT_SSLCERT_BLOB, pem.len ? &blob : NULL);
	curl_easy_setopt(easy, CURLOPT_SSLKEY_BLOB, pem.len ? &blob : NULL);
}

void post_start(struct post *post, const struct post_request *request)
{
	struct transfer *transfer = post->idle;
	if (transfer)
		unlink_from(&post->idle, transfer);
	else
		transfer = transfer_new(post);
	link_first(&post->under_way, transfer);

	transfer->user = request->user;
	for (size_t i = 0; i < request->header_count; i++)
		add_header(transfer, request->headers[i]);
	add_header(transfer, "Expect:");
	curl_easy_setopt(transfer->easy, CURLOPT_URL, request->url);
	curl_easy_setopt(transfer->easy, CURLOPT_HTTPHEADER, transfer->headers);
	curl_easy_setopt(transfer->easy, CURLOPT_POSTFIELDS, request->body.ptr);
	curl_easy_setopt(transfer->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body.len);
	curl_easy_setopt(transfer->easy, CURLOPT_TIMEOUT_MS, (long)request->total_ms);
	curl_easy_setopt(transfer->easy, CURLOPT_LOW_SPEED_TIME, request->patient ? 0L : LOW_SPEED_SECONDS);
	set_certificate(transfer->easy, request->certificate);
	transfer->started_us = microseconds();
	curl_multi_add_handle(post->multi, transfer->easy);
	post->added = true;
}

static void describe(struct transfer *transfer, CURLcode result, struct post_answer *answer)
{
	long status = 0;
	curl_off_t retry_after_s = 0;
	curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_getinfo(transfer->easy, CURLINFO_RETRY_AFTER, &retry_after_s);
	if (retry_after_s > 24 * 3600)
		retry_after_s = 24 * 3600;
	*answer = (struct post_answer){
		.retry_after_ms = retry_after_s * 1000,
		.body = buffer_view(&transfer->body),
		.started_us = transfer->started_us,
		.duration_ms = (microseconds() - transfer->started_us) / 1000,
	};
	if (result == CURLE_OK || transfer->cut)
		answer->status = (int)status;
	else if (transfer->denied.len && !transfer->dialled)
		answer->error = buffer_string(&transfer->denied);
	else if (transfer->header_bytes > POST_ANSWER_HEADER_MAX)
		answer->error = "the answer's header is longer than 16 KiB";
	else
		answer->error = transfer->error[0] ? transfer->error : curl_easy_strerror(result);
}

static void transfer_finish(struct transfer *transfer, CURLcode result)
{
	struct post *post = transfer->post;
	struct post_answer answer;
	curl_multi_remove_handle(post->multi, transfer->easy);
	describe(transfer, result, &answer);
	unlink_from(&post->under_way, transfer);
	post->settings.done(post->settings.cookie, transfer->user, &answer);

	curl_slist_free_all(transfer->headers);
	transfer->headers = NULL;
	transfer->body.len = transfer->denied.len = 0;
	transfer->read = transfer->header_bytes = 0;
	transfer->cut = transfer->dialled = false;
	transfer->error[0] = '\0';
	link_first(&post->idle, transfer);
}

static void take_finished(struct post *post)
{
	int left;
	for (CURLMsg *message; (message = curl_multi_info_read(post->multi, &left));) {
		struct transfer *transfer;
		if (message->msg != CURLMSG_DONE)
			continue;
		CURLcode result = message->data.result;
		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &transfer);
		transfer_finish(transfer, result);
	}
}

/* What finished makes room for others. They begin at once and not by libcurl's timer, in the next turn of the loop: the
 * socket that one gave up is most often the one that the next takes up. */
static void act(struct post *post, curl_socket_t fd, int action)
{
	int running;
	post->added = false;
	curl_multi_socket_action(post->multi, fd, action, &running);
	take_finished(post);
	while (post->added) {
		post->added = false;
		curl_multi_socket_action(post->multi, CURL_SOCKET_TIMEOUT, 0, &running);
		take_finished(post);
	}
}

static void on_socket(evutil_socket_t fd, short what, void *cookie)
{
	struct post *post = cookie;
	if (!post->watches[fd].wanted) {
		event_del(post->watches[fd].event); /* the other side has closed; libcurl sees it when it takes it up */
		post->watches[fd].events = 0;
		return;
	}
	act(post, fd, (what & EV_READ ? CURL_CSELECT_IN : 0) | (what & EV_WRITE ? CURL_CSELECT_OUT : 0));
}

static void on_timer(evutil_socket_t fd, short what, void *cookie)
{
	(void)fd;
	(void)what;
	act(cookie, CURL_SOCKET_TIMEOUT, 0);
}

/* libcurl says what it waits for on a socket: CURLMOPT_SOCKETFUNCTION. */
static int watch_socket(CURL *easy, curl_socket_t fd, int what, void *cookie, void *socket_cookie)
{
	struct post *post = cookie;
	struct watch *watch = watch_of(post, fd);
	short events = EV_PERSIST | (what & CURL_POLL_IN ? EV_READ : 0) | (what & CURL_POLL_OUT ? EV_WRITE : 0);
	(void)easy;
	(void)socket_cookie;
	watch->wanted = what != CURL_POLL_REMOVE;
	if (watch->wanted ? watch->events == events : watch->connection)
		return 0;
	unwatch(watch);
	if (!watch->wanted)
		return 0;
	watch->event = event_new(post->settings.loop, fd, events, on_socket, post);
	watch->events = events;
	event_add(watch->event, NULL);
	return 0;
}

/* … and when it wants to be called at the latest: CURLMOPT_TIMERFUNCTION. */
static int watch_timer(CURLM *multi, long timeout_ms, void *cookie)
{
	struct post *post = cookie;
	struct timeval wait = {.tv_sec = timeout_ms / 1000, .tv_usec = timeout_ms % 1000 * 1000};
	(void)multi;
	if (timeout_ms < 0)
		evtimer_del(post->timer);
	else
		evtimer_add(post->timer, &wait);
	return 0;
}

struct post *post_new(const struct post_settings *settings)
{
	struct post *post = memory_zero(1, sizeof(*post));
	post->settings = *settings;
	curl_global_init(CURL_GLOBAL_DEFAULT);
	post->multi = curl_multi_init();
	post->timer = evtimer_new(settings->loop, on_timer, post);
	if (!post->multi || !post->timer)
		abort();
	curl_multi_setopt(post->multi, CURLMOPT_SOCKETFUNCTION, watch_socket);
	curl_multi_setopt(post->multi, CURLMOPT_SOCKETDATA, post);
	curl_multi_setopt(post->multi, CURLMOPT_TIMERFUNCTION, watch_timer);
	curl_multi_setopt(post->multi, CURLMOPT_TIMERDATA, post);
	curl_multi_setopt(post->multi, CURLMOPT_MAXCONNECTS, (long)settings->connections);
	return post;
}

static void free_list(struct post *post, struct transfer *list)
{
	for (struct transfer *next; list; list = next) {
		next = list->next;
		curl_multi_remove_handle(post->multi, list->easy);
		transfer_free(list);
	}
}

void post_free(struct post **post)
{
	struct post *p = *post;
	*post = NULL;
	if (!p)
		return;
	free_list(p, p->under_way);
	free_list(p, p->idle);
	curl_multi_cleanup(p->multi);
	for (size_t i = 0; i < p->watch_count; i++)
		unwatch(&p->watches[i]);
	free(p->watches);
	event_free(p->timer);
	free(p);
	curl_global_cleanup();
}
