/* waybill-policyd: answers Postfix's check_policy_service. */

#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include <event2/event.h>

#include "common/counters_async.h"
#include "common/counters_conf.h"
#include "common/daemon.h"
#include "common/directory.h"
#include "common/metrics_http.h"
#include "common/spool.h"
#include "common/takeover_conf.h"

#include "policyd/listen.h"
#include "policyd/policy.h"
#include "policyd/sendermap.h"
#include "policyd/service.h"
#include "policyd/stats.h"

#define SOCKETMAP         "socketmap" /* the setting, and the name of systemd's socket */
#define SPARE_DESCRIPTORS 64          /* besides one for each connection */
#define DRAIN_MS          5000        /* Postfix' own patience with a policy service is 5 s in our master.cf */

static struct {
	struct daemon_settings common;
	struct counters_settings redis;
	struct takeover_settings takeover;
	char *listen, *socketmap, *socket_group, *metrics;
	int socket_mode;
	int64_t max_connections, complete_ms, idle_ms;
} conf;

#define CONF __typeof__(conf)

static const struct conf_row rows[] = {
	DAEMON_ROWS(CONF),
	COUNTERS_ROWS(CONF),
	{"policyd", "listen", CONF_STRING, offsetof(CONF, listen), "unix:/var/spool/postfix/waybill/policyd", 0, 0,
	 NULL, false,
	 "Where Postfix asks: unix:/PATH, inside Postfix's chroot, or inet:ADDRESS:PORT; systemd's socket comes "
	 "first."},
	{"policyd", "socketmap", CONF_STRING, offsetof(CONF, socketmap), "", 0, 0, NULL, false,
	 "Where Postfix's socketmap: tables ask (waybill-policyd(8)), written as listen is; empty: nowhere. A socket "
	 "of systemd that is called \"socketmap\" comes first, and is the way under the units that come with waybill."},
	{"policyd", "socket_group", CONF_STRING, offsetof(CONF, socket_group), "postfix", 0, 0, NULL, false,
	 "The group of the unix sockets: Postfix's."},
	{"policyd", "socket_mode", CONF_MODE, offsetof(CONF, socket_mode), "0660", 0, 0777, NULL, false,
	 "The mode of the unix sockets, in octal."},
	METRICS_ROW("policyd", CONF, metrics),
	{"policyd", "max_connections", CONF_INT, offsetof(CONF, max_connections), "10000", 1, 1000000, NULL, false,
	 "How many connections are served at a time; further ones wait."},
	{"policyd", "complete_timeout", CONF_DURATION, offsetof(CONF, complete_ms), "10s", 100, 600000, NULL, false,
	 "How long a request may take to arrive whole, and its answer to be taken."},
	{"policyd", "idle_timeout", CONF_DURATION, offsetof(CONF, idle_ms), "310s", 1000, 86400000, NULL, false,
	 "How long a connection may be silent; longer than Postfix's own 300 s."},
	TAKEOVER_ROWS(CONF, CONF_OWN),
};

struct entrance {
	int fd; /* -1: none */
	bool inherited;
};

static struct {
	struct entrance policy, socketmap;
	struct event_base *base;
	struct service *service;
	struct sendermap *sendermap;
	struct server *server;
	struct metrics *metrics;
	struct metrics_http *http;
} state = {.policy.fd = -1, .socketmap.fd = -1};

static struct listen_options options_of(const char *address)
{
	return (struct listen_options){.address = address, .group = conf.socket_group, .mode = conf.socket_mode};
}

static int enter(struct entrance *entrance, const char *key, const char *address, int inherited)
{
	char *why;
	struct listen_options options = options_of(address);
	entrance->inherited = inherited >= 0;
	entrance->fd = entrance->inherited ? inherited : listen_open(&options, &why);
	if (entrance->fd >= 0)
		return 0;
	log_error("[policyd] %s: %s", key, why);
	free(why);
	return EX_UNAVAILABLE;
}

static void leave(const struct entrance *entrance, const char *address)
{
	struct listen_options options = options_of(address);
	if (entrance->fd >= 0 && !entrance->inherited)
		listen_close(&options, entrance->fd);
}

static void allow_descriptors(void)
{
	rlim_t wanted = (rlim_t)conf.max_connections + SPARE_DESCRIPTORS;
	struct rlimit limit;
	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted)
		return;
	limit.rlim_cur = wanted;
	if (limit.rlim_max < wanted)
		limit.rlim_max = wanted;
	if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
		log_warning("descriptors for %lld connections are not allowed (LimitNOFILE)",
			    (long long)conf.max_connections);
}

/* An extra: without it the mail that asks its tables waits, all other mail need not. */
static void enter_socketmap(int inherited)
{
	if ((conf.socketmap || inherited >= 0) && enter(&state.socketmap, SOCKETMAP, conf.socketmap, inherited) != 0)
		log_error(
			"socketmap tables are not answered, mail that asks them waits; under systemd: systemctl enable "
			"--now waybill-policyd-socketmap.socket, and restart waybill-policyd");
}

static int prepare(void)
{
	allow_descriptors();
	int status = enter(&state.policy, "listen", conf.listen, daemon_inherited_socket(SOCKETMAP, false));
	if (status == 0)
		enter_socketmap(daemon_inherited_socket(SOCKETMAP, true));
	return status;
}

static void on_signal(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	(void)context;
	for (int signal; (signal = daemon_take_signal());) {
		if (signal == SIGHUP)
			daemon_reload();
		else
			server_drain(state.server, DRAIN_MS);
	}
}

static int64_t now_us(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static int64_t now_s(void)
{
	return time(NULL);
}

/* Unlike that of any process before, and of other hosts' most likely. */
static uint64_t first_id(void)
{
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec + (uint64_t)getpid();
}

static void loop(void)
{
	struct event *signals = event_new(state.base, daemon_signal_fd(), EV_READ | EV_PERSIST, on_signal, NULL);
	event_add(signals, NULL);
	daemon_ready();
	event_base_dispatch(state.base);
	event_free(signals);
}

static struct server *start_server(void)
{
	const struct server_listener listeners[] = {{state.policy.fd, &policy_protocol, state.service},
						    {state.socketmap.fd, &sendermap_protocol, state.sendermap}};
	return server_new(state.base, &(struct server_options){
					      .listeners = listeners,
					      .listener_count = state.socketmap.fd >= 0 ? 2 : 1,
					      .max_connections = (size_t)conf.max_connections,
					      .complete_ms = conf.complete_ms,
					      .idle_ms = conf.idle_ms,
				      });
}

static void start_services(struct directory *directory, struct counters_async *counters, struct spool *spool)
{
	state.service = service_new(&(struct service_options){
		.directory = directory,
		.counters = counters,
		.node = conf.common.node,
		.now_s = now_s,
		.now_us = now_us,
		.metrics = state.metrics,
		.spool = spool,
		.takeover = takeover_marks_of(&conf.takeover),
		.first_id = first_id(),
	});
	state.sendermap = sendermap_new(&(struct sendermap_options){directory, now_s, state.metrics});
}

/* Questions still open end with the counters, before the server and the service that would take their answers. */
static void serve(void)
{
	struct counters_options redis = counters_options_of(&conf.redis);
	struct directory *directory = directory_new(conf.common.directory);
	struct counters_async *counters = counters_async_new(state.base, &redis);
	struct spool *spool = conf.common.spool ? spool_open(conf.common.spool, "policyd") : NULL;
	start_services(directory, counters, spool);
	state.server = start_server();
	loop();
	counters_async_free(&counters);
	server_free(&state.server);
	service_free(&state.service);
	sendermap_free(&state.sendermap);
	spool_close(&spool);
	directory_free(&directory);
}

static int start_metrics(void)
{
	char *why = NULL;
	state.metrics = stats_new();
	if (!conf.metrics)
		return 0;
	state.http = metrics_http_start(conf.metrics, state.metrics, &why);
	if (state.http)
		return 0;
	log_error("[policyd] metrics: %s", why);
	free(why);
	return EX_UNAVAILABLE;
}

/* hiredis wants to know when its socket takes more, and mostly no more a moment later: the kernel need not hear of that. */
static struct event_base *base_new(void)
{
	struct event_config *config = event_config_new();
	struct event_base *base = NULL;
	if (config && event_config_set_flag(config, EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST) == 0)
		base = event_base_new_with_config(config);
	if (config)
		event_config_free(config);
	return base;
}

static int run(void)
{
	state.base = base_new();
	int status = state.base ? start_metrics() : EX_OSERR;
	if (status == 0)
		serve();
	metrics_http_stop(&state.http);
	metrics_free(&state.metrics);
	if (state.base)
		event_base_free(state.base);
	leave(&state.policy, conf.listen);
	leave(&state.socketmap, conf.socketmap);
	return status;
}

int main(int argc, char **argv)
{
	static const struct daemon_program program = {
		.name = "policyd",
		.summary = "Answers Postfix's check_policy_service: sending rights at RCPT, limits at DATA.",
		.rows = rows,
		.row_count = sizeof rows / sizeof *rows,
		.conf = &conf,
		.conf_size = sizeof conf,
		.prepare = prepare,
		.run = run,
	};
	return daemon_main(argc, argv, &program);
}
