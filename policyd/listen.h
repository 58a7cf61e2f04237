#ifndef POLICYD_LISTEN_H
#define POLICYD_LISTEN_H

/* The listening socket of a daemon that Postfix asks. */

#include "common/text.h"

struct listen_options {
	const char *address; /* "unix:/PATH" or "inet:HOST:PORT", HOST an IP address, an IPv6 one in brackets */
	const char *group;   /* of a unix socket; NULL: the process' own */
	int mode;            /* of a unix socket */
};

/* A non-blocking, listening descriptor; or -1 and *WHY, one line that the caller frees. A unix socket's folder is made
 * when it is missing; a socket that nobody serves any more is replaced, one that is being served is not. */
int listen_open(const struct listen_options *options, char **why);
/* Closes it, and takes a unix socket out of its folder. */
void listen_close(const struct listen_options *options, int fd);

#endif
