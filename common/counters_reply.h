#ifndef COMMON_COUNTERS_REPLY_H
#define COMMON_COUNTERS_REPLY_H

/* What Redis answers to the script of common/counters_charge.lua, as hiredis gives it. */

#include "common/counters_script.h"

struct redisReply; /* of hiredis */

/* REPLY, which stays the caller's, as a result. NULL; or why it is none, and *OUT is UNAVAILABLE. */
const char *counters_reply_read(const struct redisReply *reply, const struct counters_expected *expected,
				struct counters_result *out);

#endif
