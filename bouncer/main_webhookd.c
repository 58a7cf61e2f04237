/* waybill-webhookd: tells customers' endpoints what happened to their mail. */

#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sysexits.h>

#include <event2/event.h>

#include "common/daemon.h"
#include "common/guard.h"
#include "common/metrics_http.h"
#include "common/seal.h"

#include "bouncer/deliver.h"
#include "bouncer/webhook_stats.h"

struct settings {
	struct daemon_settings common;
	char *postgres, *webhook_key, *ports, *allow_networks, *ca_file, *metrics;
	bool allow_http;
	int64_t concurrency, endpoint_concurrency, endpoint_held, connect_ms, timeout_ms, lease_ms, poll_ms;
	int64_t breaker_failures, keep_ms;
};

#define SECONDS 1000LL

static const struct conf_row rows[] = {
	DAEMON_ROWS(struct settings),
	{"webhookd", "postgres", CONF_STRING, offsetof(struct settings, postgres),
	 "dbname=waybill user=waybill_webhookd", 0, 0, NULL, false,
	 "The connection string of the database (libpq's form; several hosts are tried in order)."},
	{"webhookd", "webhook_key", CONF_PATH, offsetof(struct settings, webhook_key), "/etc/waybill/webhook.key", 0, 0,
	 NULL, false, "The file with the key that opens the endpoints' secrets; readable by webhookd's account alone."},
	{"webhookd", "allow_http", CONF_BOOL, offsetof(struct settings, allow_http), "no", 0, 0, NULL, false,
	 "Whether endpoints may use plain http."},
	{"webhookd", "ports", CONF_STRING, offsetof(struct settings, ports), "80, 443, 8080, 8443", 0, 0, NULL, false,
	 "The ports that endpoints may use."},
	{"webhookd", "allow_networks", CONF_STRING, offsetof(struct settings, allow_networks), "", 0, 0, NULL, false,
	 "Private networks that endpoints may be in: the installation's own. All others are refused when connecting. "
	 "The "
	 "packaged unit needs them in a drop-in as well: IPAddressAllow=, see waybill-webhookd(8)."},
	{"webhookd", "ca_file", CONF_PATH, offsetof(struct settings, ca_file), "", 0, 0, NULL, false,
	 "Certificates (PEM) trusted besides the system's, such as those of an intranet."},
	{"webhookd", "concurrency", CONF_INT, offsetof(struct settings, concurrency), "500", 1, 10000, NULL, false,
	 "POSTs under way at one time."},
	{"webhookd", "endpoint_concurrency", CONF_INT, offsetof(struct settings, endpoint_concurrency), "16", 1, 256,
	 NULL, false, "POSTs under way at one time to one endpoint."},
	{"webhookd", "endpoint_held", CONF_INT, offsetof(struct settings, endpoint_held), "512", 1, 2048, NULL, false,
	 "Deliveries of one endpoint taken from the database at one time, at most: less while it fails or many are "
	 "slow."},
	{"webhookd", "connect_timeout", CONF_DURATION, offsetof(struct settings, connect_ms), "5s", 100, 30 * SECONDS,
	 NULL, false, "How long a connection, TLS included, may take."},
	{"webhookd", "timeout", CONF_DURATION, offsetof(struct settings, timeout_ms), "15s", 500, 30 * SECONDS, NULL,
	 false, "How long a POST may take in all; waybill endpoint set --timeout gives an endpoint its own."},
	{"webhookd", "lease", CONF_DURATION, offsetof(struct settings, lease_ms), "60s", 2 * SECONDS, 600 * SECONDS,
	 NULL, false, "How long deliveries are reserved; after a crash they are posted again that much later."},
	{"webhookd", "poll", CONF_DURATION, offsetof(struct settings, poll_ms), "1s", 100, 60 * SECONDS, NULL, false,
	 "How often the database is asked when no notification comes."},
	{"webhookd", "keep", CONF_DURATION, offsetof(struct settings, keep_ms), "30d", 3600 * SECONDS,
	 365 * 86400 * SECONDS, NULL, false,
	 "How long attempts and deliveries are kept, for waybill endpoint log and replay."},
	{"webhookd", "breaker_failures", CONF_INT, offsetof(struct settings, breaker_failures), "5", 1, 1000, NULL,
	 false, "After so many failures in a row an endpoint is only probed, until a POST succeeds."},
	METRICS_ROW("webhookd", struct settings, metrics),
};

static struct settings settings;
static struct guard_policy policy;
static struct seal *seal;
static struct event_base *loop;
static struct deliver *deliver;
static struct metrics *metrics;
static struct metrics_http *metrics_http;

static int complain(const char *key, const char *value, struct text at, const char *why)
{
	log_error("[webhookd] %s = %s: \"%.*s\": %s", key, value ? value : "", TEXT_ARG(at), why);
	return EX_CONFIG;
}

static int take_policy(void)
{
	struct text at;
	const char *why = guard_ports_parse(text_of(settings.ports), &policy, &at);
	if (why)
		return complain("ports", settings.ports, at, why);
	why = guard_allow_parse(text_of(settings.allow_networks), &policy, &at);
	if (why)
		return complain("allow_networks", settings.allow_networks, at, why);
	policy.allow_http = settings.allow_http;
	return 0;
}

static int prepare(void)
{
	char *error;
	int status = take_policy();
	if (status != 0)
		return status;
	if (settings.lease_ms < settings.timeout_ms + OUTBOX_MARGIN_MS) {
		log_error("[webhookd] lease must be at least 1.5 s longer than timeout");
		return EX_CONFIG;
	}
	seal = seal_open(settings.webhook_key, &error);
	if (!seal) {
		log_error("[webhookd] webhook_key: %s", error);
		free(error);
		return EX_CONFIG;
	}
	return 0;
}

static void on_signal(evutil_socket_t fd, short what, void *cookie)
{
	(void)fd;
	(void)what;
	(void)cookie;
	for (int number; (number = daemon_take_signal());) {
		if (number == SIGHUP)
			daemon_reload();
		else
			deliver_stop(deliver);
	}
}

static struct clerk_settings clerk_settings(void)
{
	return (struct clerk_settings){
		.outbox =
			{
				.postgres = settings.postgres,
				.seal = seal,
				.lease_ms = settings.lease_ms,
				.timeout_ms = settings.timeout_ms,
				.breaker_failures = (int)settings.breaker_failures,
			},
		.concurrency = (size_t)settings.concurrency,
		.endpoint_concurrency = (size_t)settings.endpoint_concurrency,
		.endpoint_held = (size_t)settings.endpoint_held,
		.poll_ms = settings.poll_ms,
		.keep_ms = settings.keep_ms,
	};
}

/* A descriptor for each POST, for each connection that is kept, and some. */
static void raise_descriptor_limit(void)
{
	struct rlimit limit;
	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	if (limit.rlim_cur < (rlim_t)settings.concurrency * 2 + 64)
		log_warning("only %llu file descriptors: [webhookd] concurrency = %lld asks for more (LimitNOFILE=)",
			    (unsigned long long)limit.rlim_cur, (long long)settings.concurrency);
}

static int start_metrics(void)
{
	char *why = NULL;
	metrics = webhook_stats_new();
	if (!settings.metrics)
		return 0;
	metrics_http = metrics_http_start(settings.metrics, metrics, &why);
	if (metrics_http)
		return 0;
	log_error("[webhookd] metrics: %s", why);
	free(why);
	return EX_CONFIG;
}

/* Bodies are made on one thread and freed on the other: without some room at the top of both heaps they would grow and shrink
 * by system calls with every batch. */
static void keep_memory(void)
{
	mallopt(M_TOP_PAD, 256 << 10);
	mallopt(M_TRIM_THRESHOLD, 1 << 20);
}

static int run(void)
{
	int status = start_metrics();
	if (status) {
		metrics_free(&metrics);
		seal_close(&seal);
		return status;
	}
	raise_descriptor_limit();
	keep_memory();
	loop = event_base_new();
	struct event *signals = event_new(loop, daemon_signal_fd(), EV_READ | EV_PERSIST, on_signal, NULL);
	deliver = deliver_new(&(struct deliver_settings){.loop = loop,
							 .policy = &policy,
							 .ca_file = settings.ca_file,
							 .connect_ms = settings.connect_ms,
							 .metrics = metrics,
							 .clerk = clerk_settings()});
	event_add(signals, NULL);
	daemon_ready();
	event_base_dispatch(loop);
	deliver_free(&deliver);
	event_free(signals);
	event_base_free(loop);
	metrics_http_stop(&metrics_http);
	metrics_free(&metrics);
	seal_close(&seal);
	return 0;
}

int main(int argc, char **argv)
{
	return daemon_main(argc, argv,
			   &(struct daemon_program){
				   .name = "webhookd",
				   .summary = "tells customers' endpoints what happened to their mail",
				   .rows = rows,
				   .row_count = sizeof(rows) / sizeof(rows[0]),
				   .conf = &settings,
				   .conf_size = sizeof(settings),
				   .prepare = prepare,
				   .run = run,
			   });
}
