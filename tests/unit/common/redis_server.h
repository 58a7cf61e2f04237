#ifndef TESTS_REDIS_SERVER_H
#define TESTS_REDIS_SERVER_H

/* A private redis-server for a test: on a unix socket in a folder of its own, nothing written to disk. */

#include <sys/types.h>

struct redis_server {
	char folder[64];
	char socket[96];
	char password[32];
	pid_t pid;
};

/* Starts it and waits until it answers; ends the test program when it does not. PASSWORD may be "". */
void redis_server_start(struct redis_server *server, const char *password);
/* Starts it again on the same socket. */
void redis_server_restart(struct redis_server *server);
/* Stops it by its pid. The folder stays. */
void redis_server_stop(struct redis_server *server);
/* Stops it if it runs, and removes the folder. */
void redis_server_remove(struct redis_server *server);

#endif
