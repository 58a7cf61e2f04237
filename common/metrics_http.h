#ifndef COMMON_METRICS_HTTP_H
#define COMMON_METRICS_HTTP_H

/* GET /metrics for Prometheus, on a thread of its own (libevent's evhttp), so that a slow reader is nobody's delay. It
 * knows no account: keep it on loopback, on a unix socket, or behind a firewall. Numbers and fixed words are all it tells. */

#include "common/conf.h"
#include "common/metrics.h"

/* The row of SECTION for it; FIELD is a char * of STRUCT. */
/* clang-format off */
#define METRICS_ROW(SECTION, STRUCT, FIELD)                                                                            \
	{SECTION, "metrics", CONF_STRING, offsetof(STRUCT, FIELD), "", 0, 0, NULL, false,                              \
	 "Where Prometheus finds /metrics: ADDRESS:PORT, [ADDRESS]:PORT or the path of a unix socket; empty: nowhere."}
/* clang-format on */

struct metrics_http;

/* Listens at WHERE ("127.0.0.1:9154", "[::1]:9154", "/run/waybill/metrics"; a stale socket is replaced, port 0 picks one)
 * and serves METRICS until metrics_http_stop(). NULL and one line in *ERROR (free it) when it cannot. Every signal is
 * blocked in its thread. */
struct metrics_http *metrics_http_start(const char *where, const struct metrics *metrics, char **error);
/* The TCP port, 0 for a unix socket. */
int metrics_http_port(const struct metrics_http *http);
/* Ends the thread; removes the unix socket. */
void metrics_http_stop(struct metrics_http **http);

#endif
