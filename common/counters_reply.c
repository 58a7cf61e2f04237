#include <hiredis/hiredis.h>

#include "common/counters_reply.h"

const char *counters_reply_read(const struct redisReply *reply, const struct counters_expected *expected,
				struct counters_result *out)
{
	int64_t values[COUNTERS_SCRIPT_VALUES];
	size_t count = 0, elements = reply->type == REDIS_REPLY_ARRAY ? reply->elements : 0;
	struct text facts = TEXT("");
	for (size_t i = 0; i < elements && count < sizeof values / sizeof *values; i++) {
		const redisReply *element = reply->element[i];
		if (element->type == REDIS_REPLY_STRING)
			facts = text_at(element->str, element->len);
		else
			values[count++] = element->integer;
	}
	return counters_script_result(expected, values, count, facts, out);
}
