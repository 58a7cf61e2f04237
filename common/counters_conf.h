#ifndef COMMON_COUNTERS_CONF_H
#define COMMON_COUNTERS_CONF_H

/* The rows of section [redis], shared by policyd and the milter; those by which it is reached, also by the bouncer and the
 * command line. */

#include "common/conf.h"
#include "common/counters.h"

/* What [redis] says; a member named redis of a daemon's configuration struct. */
struct counters_settings {
	char *socket, *host, *password, *local;
	int64_t port, timeout_ms, nodes;
	int store, unavailable, unavailable_of[LIMIT_SCOPE_MAX];
};

/* Where limits are counted. */
enum counters_store { COUNTERS_IN_REDIS, COUNTERS_IN_LOCAL, COUNTERS_STORE_MAX };
static const char *const counters_store_names[] = {"redis", "local", NULL};
static const char *const counters_unavailable_names[] = {"local", "defer", "accept", NULL};
/* Of one scope: COUNTERS_FALL_MAX stands for what unavailable says. */
static const char *const counters_fall_names[] = {"local", "defer", "accept", "as-others", NULL};

#define COUNTERS_FALL_ROW(STRUCT, NAME, SCOPE, TEXT_OF_IT)                                                           \
	{                                                                                                            \
		"redis", "unavailable_" NAME, CONF_ENUM, offsetof(STRUCT, redis.unavailable_of[SCOPE]), "as-others", \
			0, 0, counters_fall_names, false,                                                            \
			"The same for limits of " TEXT_OF_IT " alone: local, defer, accept or as-others."            \
	}

/* clang-format off */
/* How the counters are reached; SAYS is CONF_OWN or CONF_OTHERS. */
#define COUNTERS_REACH_ROWS(STRUCT, SAYS)                                                                                   \
	{"redis", "socket", CONF_PATH, offsetof(STRUCT, redis.socket), "", 0, 0, NULL, false,                               \
	 SAYS("The unix socket of Redis, which holds the counters (waybill-policyd(8), Redis); empty: host and port.")},    \
	{"redis", "host", CONF_STRING, offsetof(STRUCT, redis.host), "127.0.0.1", 0, 0, NULL, false,                        \
	 SAYS("The IP address of Redis, used when socket is empty; a name would ask DNS, which mail must not wait for.")},  \
	{"redis", "port", CONF_INT, offsetof(STRUCT, redis.port), "6379", 1, 65535, NULL, false,                            \
	 SAYS("The TCP port of Redis, used when socket is empty.")},                                                        \
	{"redis", "password", CONF_STRING, offsetof(STRUCT, redis.password), "", 0, 0, NULL, false,                         \
	 SAYS("The password of Redis (requirepass); empty: none is asked for.")},                                           \
	{"redis", "timeout", CONF_DURATION, offsetof(STRUCT, redis.timeout_ms), "15ms", 1, 20, NULL, false,                 \
	 SAYS("How long one question to Redis may take, at most 20ms: mail waits for it.")},                                \
	{"redis", "counters", CONF_ENUM, offsetof(STRUCT, redis.store), "redis", 0, 0, counters_store_names, false,         \
	 SAYS("Where limits are counted: redis, or local for a single machine that runs no Redis.")},                       \
	{"redis", "local", CONF_PATH, offsetof(STRUCT, redis.local), "/var/lib/waybill/counters.mdb", 0, 0, NULL, false,    \
	 SAYS("The file that counts on this host; the daemons' group must be able to write it and its folder.")}

#define COUNTERS_ROWS(STRUCT)                                                                                               \
	COUNTERS_REACH_ROWS(STRUCT, CONF_OWN),                                                                              \
	{"redis", "unavailable", CONF_ENUM, offsetof(STRUCT, redis.unavailable), "local", 0, 0, counters_unavailable_names, \
	 false,                                                                                                             \
	 "While Redis is away: count on this host (local), each limit at limit / nodes * 1.2, defer mail under a limit, "   \
	 "or accept it uncounted."},                                                                                        \
	COUNTERS_FALL_ROW(STRUCT, "login", LIMIT_LOGIN, "a login"),                                                         \
	COUNTERS_FALL_ROW(STRUCT, "network", LIMIT_NETWORK, "a login's network"),                                           \
	COUNTERS_FALL_ROW(STRUCT, "customer", LIMIT_CUSTOMER, "a customer"),                                                \
	COUNTERS_FALL_ROW(STRUCT, "domain", LIMIT_DOMAIN, "a sending domain"),                                              \
	COUNTERS_FALL_ROW(STRUCT, "destination", LIMIT_DESTINATION, "a destination"),                                       \
	COUNTERS_FALL_ROW(STRUCT, "relay", LIMIT_RELAY, "the relay"),                                                       \
	{"redis", "nodes", CONF_INT, offsetof(STRUCT, redis.nodes), "1", 1, 1000, NULL, false,                              \
	 "How many hosts share the limits: each one's part while Redis is away."}
/* clang-format on */

static inline struct counters_options counters_options_of(const struct counters_settings *settings)
{
	bool only_local = settings->store == COUNTERS_IN_LOCAL, local = only_local;
	struct counters_options options = {
		.socket = settings->socket,
		.host = settings->host ? settings->host : "127.0.0.1",
		.port = (int)settings->port,
		.password = settings->password,
		.timeout_ms = (int)settings->timeout_ms,
		.only_local = only_local,
		.nodes = (int)settings->nodes,
	};
	for (int i = 0; i < LIMIT_SCOPE_MAX; i++) {
		int own = settings->unavailable_of[i];
		int rule = own == COUNTERS_FALL_MAX ? settings->unavailable : own;
		options.unavailable[i] = (enum counters_unavailable)rule;
		local = local || rule == COUNTERS_FALL_LOCAL;
	}
	options.local_path = local ? settings->local : NULL;
	return options;
}

#endif
