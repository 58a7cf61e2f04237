#include "policyd/policy.h"
#include "policyd/request.h"
#include "policyd/service.h"

struct state {
	struct request_scan scan;
	struct service_session session;
};

static const char *ask(void *service, void *connection, struct text bytes, size_t *len, server_answer *answer,
		       void *context)
{
	struct state *state = connection;
	struct request request;
	const char *why = request_take(&state->scan, bytes, len, &request);
	if (why || !*len)
		return why;
	state->scan = (struct request_scan){0};
	service_ask(service, &state->session, &request, answer, context);
	return NULL;
}

static void round_end(void *service)
{
	service_round_end(service);
}

const struct server_protocol policy_protocol = {.state_size = sizeof(struct state), .ask = ask, .round_end = round_end};
