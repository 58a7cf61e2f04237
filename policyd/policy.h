#ifndef POLICYD_POLICY_H
#define POLICYD_POLICY_H

/* The policy protocol (request.h) on the server's connections: bytes become questions to a struct service. */

#include "policyd/server.h"

/* Its service is a struct service. */
extern const struct server_protocol policy_protocol;

#endif
