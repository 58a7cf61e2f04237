#ifndef COMMON_COUNTERS_CONF_H
#define COMMON_COUNTERS_CONF_H

/* The rows of section [redis], shared by policyd and the milter. */

#include "common/conf.h"
#include "common/counters.h"

/* What [redis] says; a member named redis of a daemon's configuration struct. */
struct counters_settings {
	char *socket, *host, *password;
	int64_t port, timeout_ms;
};

/* clang-format off */
#define COUNTERS_ROWS(STRUCT)                                                                                               \
	{"redis", "socket", CONF_PATH, offsetof(STRUCT, redis.socket), "/run/redis/redis-server.sock", 0, 0, NULL, false,   \
	 "The unix socket of Redis, which holds the counters; when empty, host and port are used."},                        \
	{"redis", "host", CONF_STRING, offsetof(STRUCT, redis.host), "127.0.0.1", 0, 0, NULL, false,                        \
	 "The IP address of Redis, used when socket is empty; a name would ask DNS, which mail must not wait for."},        \
	{"redis", "port", CONF_INT, offsetof(STRUCT, redis.port), "6379", 1, 65535, NULL, false,                            \
	 "The TCP port of Redis, used when socket is empty."},                                                              \
	{"redis", "password", CONF_STRING, offsetof(STRUCT, redis.password), "", 0, 0, NULL, false,                         \
	 "The password of Redis (requirepass); empty: none is asked for."},                                                 \
	{"redis", "timeout", CONF_DURATION, offsetof(STRUCT, redis.timeout_ms), "15ms", 1, 20, NULL, false,                 \
	 "How long one question to Redis may take, at most 20ms: mail waits for it."}
/* clang-format on */

static inline struct counters_options counters_options_of(const struct counters_settings *settings)
{
	return (struct counters_options){
		.socket = settings->socket,
		.host = settings->host ? settings->host : "127.0.0.1",
		.port = (int)settings->port,
		.password = settings->password,
		.timeout_ms = (int)settings->timeout_ms,
	};
}

#endif
