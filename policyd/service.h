#ifndef POLICYD_SERVICE_H
#define POLICYD_SERVICE_H

/* One request from question to answer: look up, decide, charge, log. It knows the directory and the counters, but no
 * socket. */

#include "common/counters_async.h"
#include "common/directory.h"

#include "policyd/request.h"

struct service;

struct service_options {
	struct directory *directory;
	struct counters_async *counters;
	const char *node;
	int64_t (*now_s)(void); /* seconds since 1970: for expiry and calendar windows */
	struct spool *spool;    /* for refusals and warnings; NULL: none, and refusals have no id */
	struct takeover_marks takeover;
	uint64_t first_id;       /* of the refusals: unlike any other process' */
	struct metrics *metrics; /* of stats.h; NULL: nothing is counted */
	int64_t (*now_us)(void); /* of a monotonic clock: for durations */
};

/* What the service remembers of one connection of Postfix, on which all questions about a message come: how many
 * recipients the present message (instance) has. Zero-initialised. */
#define SERVICE_INSTANCE_MAX 64
struct service_session {
	char instance[SERVICE_INSTANCE_MAX];
	int64_t recipients;
};

/* Called exactly once for each request, perhaps before service_ask() returns: ACTION is Postfix's answer, "action=…\n\n",
 * or empty: own trouble, the connection must be closed without a reply. */
typedef void service_answer(void *context, struct text action);

/* The options' members must outlive the service. */
struct service *service_new(const struct service_options *options);
/* No request may be open: free the counters first. */
void service_free(struct service **service);
/* REQUEST's texts must stay until ANSWER is called, *REQUEST and *SESSION need not. */
void service_ask(struct service *service, struct service_session *session, const struct request *request,
		 service_answer *answer, void *context);
/* What was asked since the last call is decided over one view of the directory, which ends here: to be called before the
 * caller waits for anything. */
void service_round_end(struct service *service);

#endif
