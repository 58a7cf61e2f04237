/* The server on real sockets: order, batches, splits, nonsense, trouble, time limits, draining. The service is a stand-in
 * by linking: it answers with the sender, at once, later ("late…") or not at all ("trouble…"). */

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <event2/event.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "policyd/listen.h"
#include "policyd/policy.h"
#include "policyd/service.h"

#define LATE_MS  5
#define ROUND_MS 20
#define PATIENCE 500 /* rounds */

static struct event_base *base;
static char folder[64], address[96];
static int largest_batch, open_questions, round_ends;

struct late {
	service_answer *answer;
	void *context;
	char action[256];
};

static void answer_late(evutil_socket_t none, short what, void *context)
{
	(void)none;
	(void)what;
	struct late *late = context;
	open_questions--;
	late->answer(late->context, text_of(late->action));
	free(late);
}

void service_ask(struct service *service, struct service_session *session, const struct request *request,
		 service_answer *answer, void *context)
{
	(void)service;
	(void)session;
	struct text sender = request->values[REQUEST_SENDER];
	struct late *late = calloc(1, sizeof *late);
	snprintf(late->action, sizeof late->action, "action=%.*s\n\n", TEXT_ARG(sender));
	late->answer = answer;
	late->context = context;
	if (text_starts(sender, TEXT("late"))) {
		struct timeval soon = {0, LATE_MS * 1000};
		open_questions++;
		event_base_once(base, -1, EV_TIMEOUT, answer_late, late, &soon);
		return;
	}
	answer(context, text_starts(sender, TEXT("trouble")) ? TEXT("") : text_of(late->action));
	free(late);
}

void service_round_end(struct service *service)
{
	(void)service;
	round_ends++;
}

struct fixture {
	struct server *server;
	struct listen_options listen;
	int fd;
};

static struct server *server_of(int fd, size_t max_connections, int64_t complete_ms, int64_t idle_ms)
{
	const struct server_listener listener = {.fd = fd, .protocol = &policy_protocol};
	return server_new(base, &(struct server_options){.listeners = &listener,
							 .listener_count = 1,
							 .max_connections = max_connections,
							 .complete_ms = complete_ms,
							 .idle_ms = idle_ms});
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);
	char *why = NULL;
	f->listen = (struct listen_options){.address = address, .mode = 0600};
	f->fd = listen_open(&f->listen, &why);
	if (f->fd < 0)
		fail_msg("%s", why);
	f->server = server_of(f->fd, 20, 60000, 60000);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;
	while (open_questions)
		event_base_loop(base, EVLOOP_ONCE);
	server_free(&f->server);
	listen_close(&f->listen, f->fd);
	free(f);
	return 0;
}

static int dial(void)
{
	struct sockaddr_un peer = {.sun_family = AF_UNIX};
	snprintf(peer.sun_path, sizeof peer.sun_path, "%s", address + strlen("unix:"));
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&peer, sizeof peer), 0);
	return fd;
}

static void turn(void)
{
	event_base_loop(base, EVLOOP_NONBLOCK);
}

static void ask_for(int fd, const char *sender)
{
	char request[256];
	int len = snprintf(request, sizeof request, "request=smtpd_access_policy\nsender=%s\n\n", sender);
	assert_int_equal(write(fd, request, (size_t)len), len);
}

/* Reads until EXPECTED has come whole, or, when it is NULL, until the server closes the connection. */
static void expect(int fd, const char *expected)
{
	char got[65536] = "";
	size_t len = 0;
	for (int rounds = 0; rounds < PATIENCE && (!expected || len < strlen(expected)); rounds++) {
		struct pollfd ready = {.fd = fd, .events = POLLIN};
		turn();
		if (poll(&ready, 1, ROUND_MS) <= 0)
			continue;
		ssize_t n = read(fd, got + len, sizeof got - 1 - len);
		if (n <= 0)
			break;
		largest_batch = n > largest_batch ? (int)n : largest_batch;
		len += (size_t)n;
		got[len] = '\0';
	}
	assert_string_equal(got, expected ? expected : "");
	if (!expected) {
		char byte;
		assert_int_equal(recv(fd, &byte, 1, MSG_DONTWAIT), 0);
	}
}

static void answers_in_order_in_one_batch(void **state)
{
	(void)state;
	int fd = dial();
	ask_for(fd, "a");
	ask_for(fd, "late-b");
	ask_for(fd, "c");
	ask_for(fd, "late-d");
	ask_for(fd, "e");
	expect(fd, "action=a\n\naction=late-b\n\naction=c\n\naction=late-d\n\naction=e\n\n");
	struct buffer many = {0};
	for (int i = 0; i < 1000; i++)
		buffer_add(&many, "request=smtpd_access_policy\nsender=x\n\n", 38);
	assert_int_equal(write(fd, many.ptr, many.len), (ssize_t)many.len);
	buffer_free(&many);
	largest_batch = 0;
	for (int i = 0; i < 10; i++)
		turn();
	char got[65536];
	size_t len = 0;
	while (len < 1000 * strlen("action=x\n\n")) {
		ssize_t n = read(fd, got + len, sizeof got - len);
		assert_true(n > 0);
		len += (size_t)n;
		largest_batch = n > largest_batch ? (int)n : largest_batch;
		turn();
	}
	assert_int_equal(len, 1000 * strlen("action=x\n\n"));
	assert_true(largest_batch > 100 * (int)strlen("action=x\n\n"));
	close(fd);
	turn();
}

static void questions_of_one_round_end_together(void **state)
{
	struct fixture *f = *state;
	int fds[3];
	for (int i = 0; i < 3; i++)
		fds[i] = dial();
	for (int i = 0; i < PATIENCE && server_connections(f->server) < 3; i++)
		turn();
	round_ends = 0;
	for (int i = 0; i < 3; i++)
		ask_for(fds[i], "a");
	turn();
	assert_int_equal(round_ends, 1);
	turn();
	assert_int_equal(round_ends, 1);
	for (int i = 0; i < 3; i++) {
		expect(fds[i], "action=a\n\n");
		close(fds[i]);
	}
}

static void takes_it_byte_by_byte(void **state)
{
	(void)state;
	static const char request[] = "request=smtpd_access_policy\nsender=slow\n\n";
	int fd = dial();
	for (size_t i = 0; i < sizeof request - 1; i++) {
		assert_int_equal(write(fd, request + i, 1), 1);
		turn();
	}
	expect(fd, "action=slow\n\n");
	close(fd);
}

static const char *const nonsense[] = {"sender=a\n\n", "\n", "request=smtpd_access_policy\nsender\n\n",
				       "GET / HTTP/1.0\r\n\r\n\n\n"};

/* The malformed one goes without a reply, what it asked before is answered, others do not notice. */
static void nonsense_closes_that_connection_only(void **state)
{
	struct fixture *f = *state;
	int good = dial();
	for (size_t i = 0; i < sizeof nonsense / sizeof *nonsense; i++) {
		int bad = dial();
		ask_for(bad, "before");
		ssize_t len = (ssize_t)strlen(nonsense[i]);
		assert_int_equal(write(bad, nonsense[i], (size_t)len), len);
		expect(bad, "action=before\n\n");
		expect(bad, NULL);
		close(bad);
		ask_for(good, "late-good");
		expect(good, "action=late-good\n\n");
	}
	assert_int_equal(server_connections(f->server), 1);
	close(good);
}

static void own_trouble_closes_without_a_reply(void **state)
{
	(void)state;
	int fd = dial();
	ask_for(fd, "first");
	ask_for(fd, "trouble");
	ask_for(fd, "never asked");
	expect(fd, "action=first\n\n");
	expect(fd, NULL);
	close(fd);
}

static void a_client_that_leaves_harms_nobody(void **state)
{
	struct fixture *f = *state;
	int fd = dial();
	ask_for(fd, "late-gone");
	turn();
	turn();
	close(fd);
	fd = dial();
	ask_for(fd, "late-next");
	expect(fd, "action=late-next\n\n");
	while (open_questions)
		event_base_loop(base, EVLOOP_ONCE);
	turn();
	assert_int_equal(server_connections(f->server), 1);
	close(fd);
}

static void further_connections_wait(void **state)
{
	struct fixture *f = *state;
	int fds[25];
	for (int i = 0; i < 25; i++) {
		fds[i] = dial();
		ask_for(fds[i], "a");
		turn();
	}
	turn();
	assert_int_equal(server_connections(f->server), 20);
	for (int i = 0; i < 20; i++) {
		expect(fds[i], "action=a\n\n");
		close(fds[i]);
	}
	for (int i = 20; i < 25; i++) {
		expect(fds[i], "action=a\n\n");
		close(fds[i]);
	}
}

static void draining_answers_what_was_asked(void **state)
{
	struct fixture *f = *state;
	int idle = dial(), busy = dial();
	ask_for(idle, "idle");
	expect(idle, "action=idle\n\n");
	ask_for(busy, "late-busy");
	turn();
	turn();
	server_drain(f->server, 60000);
	expect(idle, NULL);
	event_base_dispatch(base);
	assert_int_equal(server_connections(f->server), 0);
	expect(busy, "action=late-busy\n\n");
	expect(busy, NULL);
	close(idle);
	close(busy);
}

static void slow_and_silent_clients_are_closed(void **state)
{
	struct fixture *f = *state;
	struct server *server = server_of(f->fd, 20, 1, 3600000);
	server_free(&f->server);
	f->server = server;
	int slow = dial(), silent = dial();
	assert_int_equal(write(slow, "request=", 8), 8);
	ask_for(silent, "silent");
	expect(silent, "action=silent\n\n");
	expect(slow, NULL);
	assert_int_equal(server_connections(f->server), 1);
	close(slow);
	server_free(&f->server);
	f->server = server_of(f->fd, 20, 3600000, 1);
	close(silent);
	silent = dial();
	slow = dial();
	assert_int_equal(write(slow, "request=", 8), 8);
	expect(silent, NULL);
	assert_int_equal(server_connections(f->server), 1);
	close(slow);
	close(silent);
}

static void a_stale_socket_is_replaced_a_served_one_is_not(void **state)
{
	struct fixture *f = *state;
	char *why = NULL, path[128];
	struct stat status;
	assert_int_equal(listen_open(&f->listen, &why), -1);
	assert_non_null(strstr(why, "another process serves it already"));
	free(why);
	snprintf(path, sizeof path, "unix:%s/stale/socket", folder);
	struct listen_options stale = {.address = path, .mode = 0620};
	int fd = listen_open(&stale, &why);
	close(fd);
	fd = listen_open(&stale, &why);
	assert_true(fd >= 0);
	assert_int_equal(stat(path + strlen("unix:"), &status), 0);
	assert_int_equal(status.st_mode & 0777, 0620);
	listen_close(&stale, fd);
	assert_int_equal(stat(path + strlen("unix:"), &status), -1);
	*strrchr(path, '/') = '\0';
	rmdir(path + strlen("unix:"));
}

static const char *const bad_addresses[] = {
	"", "tcp:1", "unix:relative", "inet:localhost:1", "inet:127.0.0.1", "inet:1.2.3:x", "inet:127.0.0.1:65536"};

static void addresses_are_checked(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof bad_addresses / sizeof *bad_addresses; i++) {
		char *why = NULL;
		struct listen_options options = {.address = bad_addresses[i], .mode = 0600};
		assert_int_equal(listen_open(&options, &why), -1);
		assert_non_null(why);
		free(why);
	}
	static const char *const good[] = {"inet:127.0.0.1:0", "inet:[::1]:0"};
	for (size_t i = 0; i < 2; i++) {
		char *why = NULL;
		struct listen_options options = {.address = good[i], .mode = 0600};
		int fd = listen_open(&options, &why);
		assert_true(fd >= 0);
		listen_close(&options, fd);
	}
}

static int start(void **state)
{
	(void)state;
	base = event_base_new();
	snprintf(folder, sizeof folder, "/tmp/waybill-server-XXXXXX");
	if (!base || !mkdtemp(folder))
		return -1;
	snprintf(address, sizeof address, "unix:%s/socket", folder);
	return 0;
}

static int stop(void **state)
{
	(void)state;
	event_base_free(base);
	libevent_global_shutdown();
	return rmdir(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(answers_in_order_in_one_batch, set_up, tear_down),
		cmocka_unit_test_setup_teardown(questions_of_one_round_end_together, set_up, tear_down),
		cmocka_unit_test_setup_teardown(takes_it_byte_by_byte, set_up, tear_down),
		cmocka_unit_test_setup_teardown(nonsense_closes_that_connection_only, set_up, tear_down),
		cmocka_unit_test_setup_teardown(own_trouble_closes_without_a_reply, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_client_that_leaves_harms_nobody, set_up, tear_down),
		cmocka_unit_test_setup_teardown(further_connections_wait, set_up, tear_down),
		cmocka_unit_test_setup_teardown(draining_answers_what_was_asked, set_up, tear_down),
		cmocka_unit_test_setup_teardown(slow_and_silent_clients_are_closed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_stale_socket_is_replaced_a_served_one_is_not, set_up, tear_down),
		cmocka_unit_test(addresses_are_checked),
	};
	return cmocka_run_group_tests(tests, start, stop);
}
