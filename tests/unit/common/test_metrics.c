/* Metrics: the text that Prometheus reads, counted by threads, and asked for over HTTP. */

#include <arpa/inet.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/metrics.h"
#include "common/metrics_http.h"

enum { REQUESTS, OPEN, SECONDS, BARE, METRICS };
static const char *const actions[] = {"dunno", "defer", NULL};
static const int64_t bounds_us[] = {500, 5000, 1000000, 0};

static const struct metric rows[METRICS] = {
	[REQUESTS] = {"policyd_requests_total", "Requests by action.", METRIC_COUNTER, "action", actions, NULL},
	[OPEN] = {"policyd_connections", "Open connections.", METRIC_GAUGE, NULL, NULL, NULL},
	[SECONDS] = {"policyd_request_seconds", "Time for an answer.", METRIC_HISTOGRAM, "action", actions, bounds_us},
	[BARE] = {"redis_seconds", "Time in Redis.", METRIC_HISTOGRAM, NULL, NULL, bounds_us},
};

static void prints(void **state)
{
	struct metrics *m = metrics_new(rows, METRICS);
	struct buffer out = {0};
	(void)state;
	metrics_add(m, REQUESTS, 1, 3);
	metrics_add(m, REQUESTS, 1, 1);
	metrics_add(m, OPEN, 0, 5);
	metrics_add(m, OPEN, 0, -7);
	metrics_observe(m, SECONDS, 0, 500); /* a bound is inside */
	metrics_observe(m, SECONDS, 0, 501);
	metrics_observe(m, SECONDS, 0, 60000000);
	metrics_observe(m, BARE, 0, 0);
	metrics_print(m, &out);
	assert_string_equal(buffer_string(&out),
			    "# HELP waybill_policyd_requests_total Requests by action.\n"
			    "# TYPE waybill_policyd_requests_total counter\n"
			    "waybill_policyd_requests_total{action=\"dunno\"} 0\n"
			    "waybill_policyd_requests_total{action=\"defer\"} 4\n"
			    "# HELP waybill_policyd_connections Open connections.\n"
			    "# TYPE waybill_policyd_connections gauge\n"
			    "waybill_policyd_connections -2\n"
			    "# HELP waybill_policyd_request_seconds Time for an answer.\n"
			    "# TYPE waybill_policyd_request_seconds histogram\n"
			    "waybill_policyd_request_seconds_bucket{action=\"dunno\",le=\"0.0005\"} 1\n"
			    "waybill_policyd_request_seconds_bucket{action=\"dunno\",le=\"0.005\"} 2\n"
			    "waybill_policyd_request_seconds_bucket{action=\"dunno\",le=\"1\"} 2\n"
			    "waybill_policyd_request_seconds_bucket{action=\"dunno\",le=\"+Inf\"} 3\n"
			    "waybill_policyd_request_seconds_sum{action=\"dunno\"} 60.001001\n"
			    "waybill_policyd_request_seconds_count{action=\"dunno\"} 3\n"
			    "waybill_policyd_request_seconds_bucket{action=\"defer\",le=\"0.0005\"} 0\n"
			    "waybill_policyd_request_seconds_bucket{action=\"defer\",le=\"0.005\"} 0\n"
			    "waybill_policyd_request_seconds_bucket{action=\"defer\",le=\"1\"} 0\n"
			    "waybill_policyd_request_seconds_bucket{action=\"defer\",le=\"+Inf\"} 0\n"
			    "waybill_policyd_request_seconds_sum{action=\"defer\"} 0\n"
			    "waybill_policyd_request_seconds_count{action=\"defer\"} 0\n"
			    "# HELP waybill_redis_seconds Time in Redis.\n"
			    "# TYPE waybill_redis_seconds histogram\n"
			    "waybill_redis_seconds_bucket{le=\"0.0005\"} 1\n"
			    "waybill_redis_seconds_bucket{le=\"0.005\"} 1\n"
			    "waybill_redis_seconds_bucket{le=\"1\"} 1\n"
			    "waybill_redis_seconds_bucket{le=\"+Inf\"} 1\n"
			    "waybill_redis_seconds_sum 0\n"
			    "waybill_redis_seconds_count 1\n");
	buffer_free(&out);
	metrics_free(&m);
	metrics_free(&m);
}

static void forgives(void **state)
{
	struct metrics *m = metrics_new(rows, METRICS);
	struct buffer before = {0}, after = {0};
	(void)state;
	metrics_add(NULL, REQUESTS, 0, 1);
	metrics_set(NULL, OPEN, 0, 1);
	metrics_observe(NULL, SECONDS, 0, 1);
	metrics_print(m, &before);
	metrics_add(m, METRICS, 0, 1);
	metrics_add(m, REQUESTS, 2, 1);
	metrics_observe(m, OPEN, 0, 1);
	metrics_set(m, OPEN, 1, 1);
	metrics_print(m, &after);
	assert_true(text_equal(buffer_view(&before), buffer_view(&after)));
	metrics_set(m, OPEN, 0, 42);
	after.len = 0;
	metrics_print(m, &after);
	assert_non_null(strstr(buffer_string(&after), "waybill_policyd_connections 42\n"));
	buffer_free(&before);
	buffer_free(&after);
	metrics_free(&m);
}

#define ROUNDS 20000

static void *count(void *metrics)
{
	for (int i = 0; i < ROUNDS; i++) {
		metrics_add(metrics, REQUESTS, 0, 1);
		metrics_observe(metrics, BARE, 0, i);
	}
	return NULL;
}

static void threads(void **state)
{
	struct metrics *m = metrics_new(rows, METRICS);
	struct buffer out = {0};
	pthread_t thread[4];
	(void)state;
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, count, m), 0);
	for (int i = 0; i < 100; i++) {
		out.len = 0;
		metrics_print(m, &out);
	}
	for (int i = 0; i < 4; i++)
		pthread_join(thread[i], NULL);
	out.len = 0;
	metrics_print(m, &out);
	assert_non_null(strstr(buffer_string(&out), "{action=\"dunno\"} 80000\n"));
	assert_non_null(strstr(buffer_string(&out), "waybill_redis_seconds_count 80000\n"));
	buffer_free(&out);
	metrics_free(&m);
}

/* All that comes back on FD, which is closed, for REQUEST. */
static char *ask(int fd, const char *request)
{
	struct buffer out = {0};
	char part[4096];
	ssize_t len;
	assert_int_equal(write(fd, request, strlen(request)), (ssize_t)strlen(request));
	while ((len = read(fd, part, sizeof part)) > 0)
		buffer_add(&out, part, (size_t)len);
	close(fd);
	char *answer = text_copy(buffer_view(&out));
	buffer_free(&out);
	return answer;
}

static int connect_tcp(int port)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(connect(fd, (const struct sockaddr *)&address, sizeof address), 0);
	return fd;
}

static void over_tcp(void **state)
{
	static const struct {
		const char *request, *answer, *body;
	} cases[] = {
		{"GET /metrics HTTP/1.0\r\n\r\n", "HTTP/1.0 200 OK\r\n", "\nwaybill_policyd_connections 9\n"},
		{"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "HTTP/1.1 200 OK\r\n",
		 "Content-Type: text/plain; version=0.0.4\r\n"},
		{"GET / HTTP/1.0\r\n\r\n", "HTTP/1.1 404 ", ""},
		{"DELETE /metrics HTTP/1.0\r\n\r\n", "HTTP/1.1 501 ", ""},
	};
	struct metrics *m = metrics_new(rows, METRICS);
	char *error = NULL;
	struct metrics_http *http = metrics_http_start("127.0.0.1:0", m, &error);
	(void)state;
	assert_non_null(http);
	metrics_set(m, OPEN, 0, 9);
	int idle = connect_tcp(metrics_http_port(http)); /* who says nothing holds nobody up */
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char *answer = ask(connect_tcp(metrics_http_port(http)), cases[i].request);
		if (strncmp(answer, cases[i].answer, strlen(cases[i].answer)) != 0)
			print_error("%s\n", answer);
		assert_int_equal(strncmp(answer, cases[i].answer, strlen(cases[i].answer)), 0);
		assert_non_null(strstr(answer, cases[i].body));
		free(answer);
	}
	close(idle);
	metrics_http_stop(&http);
	assert_null(http);
	metrics_http_stop(&http);
	metrics_free(&m);
}

static void over_unix(void **state)
{
	char folder[] = "/tmp/waybill-metrics-XXXXXX";
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct metrics *m = metrics_new(rows, METRICS);
	char *error = NULL;
	struct stat st;
	(void)state;
	assert_non_null(mkdtemp(folder));
	snprintf(address.sun_path, sizeof address.sun_path, "%s/socket", folder);
	int stale = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(stale, (const struct sockaddr *)&address, sizeof address), 0);
	close(stale);
	struct metrics_http *http = metrics_http_start(address.sun_path, m, &error);
	assert_non_null(http);
	assert_int_equal(metrics_http_port(http), 0);
	assert_int_equal(stat(address.sun_path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0660);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(fd, (const struct sockaddr *)&address, sizeof address), 0);
	char *answer = ask(fd, "GET /metrics HTTP/1.0\r\n\r\n");
	assert_non_null(strstr(answer, "waybill_redis_seconds_count 0\n"));
	free(answer);
	metrics_http_stop(&http);
	assert_int_equal(rmdir(folder), 0);
	metrics_free(&m);
}

static void cannot_listen(void **state)
{
	static const char *const bad[] = {"",
					  "127.0.0.1",
					  "localhost:9154",
					  ":9154",
					  "127.0.0.1:http",
					  "127.0.0.1:99999999",
					  "192.0.2.1:0",
					  "/nowhere/socket",
					  "/etc/passwd",
					  "::1:x"};
	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		char *error = NULL;
		struct metrics_http *http = metrics_http_start(bad[i], NULL, &error);
		if (http)
			print_error("listens at %s\n", bad[i]);
		assert_null(http);
		assert_int_equal(strncmp(error, "metrics: ", 9), 0);
		assert_non_null(strstr(error, bad[i]));
		free(error);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(prints),   cmocka_unit_test(forgives),  cmocka_unit_test(threads),
		cmocka_unit_test(over_tcp), cmocka_unit_test(over_unix), cmocka_unit_test(cannot_listen),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
