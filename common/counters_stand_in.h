#ifndef COMMON_COUNTERS_STAND_IN_H
#define COMMON_COUNTERS_STAND_IN_H

/* What counts while Redis is away, by the rule of each limit's scope. */

#include "common/counters_local.h"

/* Answers in place of Redis. UNAVAILABLE, with its rule, when mail under one of the limits is to wait, when none of them
 * is counted here, or when LOCAL (NULL: none) cannot count. Else as counters_local_charge() over those limits that are
 * counted here; the others have room and stay at 0; the result says that it stood in. RULES by scope, LIMIT_SCOPE_MAX of them. */
void counters_stand_in(struct counters_local *local, const enum counters_unavailable *rules,
		       const struct counters_request *request, struct counters_result *result);

#endif
