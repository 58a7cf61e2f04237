#ifndef MILTER_CALLBACKS_H
#define MILTER_CALLBACKS_H

/* The milter protocol, spoken by libmilter: the one file that knows it. libmilter has a pool of worker threads, so the
 * callbacks of one session run on different threads, one at a time; it takes HUP, TERM and INT itself. */

#include <stdbool.h>
#include <stdint.h>

struct engine;

struct callbacks_options {
	const char *listen;  /* "unix:/path", "inet:port@host", "inet6:port@host" */
	int64_t timeout_s;   /* how long Postfix may keep a session silent */
	int64_t socket_mode; /* of a unix socket */
	bool changes_sender; /* some messages get another envelope sender */
	const char *group;   /* of a unix socket; NULL: as it comes */
};

/* Binds the socket; a stale unix socket is taken away, one that another process serves is not. NULL, or why not, in one
 * line that the caller frees. */
char *callbacks_listen(const struct callbacks_options *options);
/* Serves until TERM or INT. What is being decided then is still answered; for messages under way Postfix answers 4xx, as
 * libmilter does not wait for them. 0, or -1 when libmilter failed. ENGINE is not used after it returned. */
int callbacks_serve(struct engine *engine);

#endif
