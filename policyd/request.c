/* The policy protocol: see request.h. */

#include <string.h>

#include "policyd/request.h"

#define NUMBER_MAX UINT64_C(1000000000000) /* the largest cost that a limit counts, common/limit.h */

/* Postfix' names, src/smtpd/smtpd_check.c. */
static const struct text attribute_names[REQUEST_ATTRIBUTE_MAX] = {
	[REQUEST_REQUEST] = {"request", 7},
	[REQUEST_STATE] = {"protocol_state", 14},
	[REQUEST_QUEUE_ID] = {"queue_id", 8},
	[REQUEST_INSTANCE] = {"instance", 8},
	[REQUEST_SENDER] = {"sender", 6},
	[REQUEST_RECIPIENT] = {"recipient", 9},
	[REQUEST_RECIPIENT_COUNT] = {"recipient_count", 15},
	[REQUEST_SIZE] = {"size", 4},
	[REQUEST_CLIENT_ADDRESS] = {"client_address", 14},
	[REQUEST_LOGIN] = {"sasl_username", 13},
	[REQUEST_ENCRYPTION] = {"encryption_protocol", 19},
	[REQUEST_CONTEXT] = {"policy_context", 14},
};

static const struct text state_names[REQUEST_AT_MAX] = {
	[REQUEST_AT_OTHER] = {"", 0},    [REQUEST_AT_MAIL] = {"MAIL", 4},           [REQUEST_AT_RCPT] = {"RCPT", 4},
	[REQUEST_AT_DATA] = {"DATA", 4}, [REQUEST_AT_END] = {"END-OF-MESSAGE", 14},
};

/* Where the first empty line from FROM on begins, or SIZE_MAX. */
static size_t find_empty_line(struct text bytes, size_t from)
{
	for (const char *at = bytes.ptr + from, *end = bytes.ptr + bytes.len; at < end; at++) {
		at = memchr(at, '\n', (size_t)(end - at));
		if (!at || at + 1 == end)
			break;
		if (at[1] == '\n')
			return (size_t)(at - bytes.ptr);
	}
	return SIZE_MAX;
}

const char *request_scan(struct request_scan *scan, struct text bytes, size_t *len)
{
	*len = 0;
	if (bytes.len && bytes.ptr[0] == '\n')
		return "an empty request";
	/* The last byte seen may have been the first half of the empty line. */
	size_t from = scan->seen ? scan->seen - 1 : 0;
	size_t at = find_empty_line(bytes, from);
	scan->seen = bytes.len;
	if (at != SIZE_MAX)
		*len = at + 2;
	if (*len > REQUEST_MAX_BYTES || (!*len && bytes.len >= REQUEST_MAX_BYTES))
		return "a request longer than 65536 bytes";
	return NULL;
}

static void keep(struct request *out, struct text name, struct text value, bool *taken)
{
	for (int i = 0; i < REQUEST_ATTRIBUTE_MAX; i++)
		if (attribute_names[i].len == name.len && attribute_names[i].ptr[0] == name.ptr[0] &&
		    memcmp(attribute_names[i].ptr, name.ptr, name.len) == 0) {
			if (!taken[i])
				out->values[i] = value;
			taken[i] = true;
			return;
		}
}

static enum request_state state_of(struct text name)
{
	for (int i = REQUEST_AT_MAIL; i < REQUEST_AT_MAX; i++)
		if (text_equal(state_names[i], name))
			return (enum request_state)i;
	return REQUEST_AT_OTHER;
}

const char *request_parse(struct text bytes, struct request *out)
{
	bool taken[REQUEST_ATTRIBUTE_MAX] = {false};
	int attributes = 0;
	*out = (struct request){0};
	if (text_find(bytes, '\0') != SIZE_MAX)
		return "a NUL byte";
	for (struct text line; text_take(&bytes, '\n', &line) && line.len;) {
		size_t equals = text_find(line, '=');
		if (equals == SIZE_MAX || equals == 0)
			return "a line without name=value";
		if (++attributes > REQUEST_MAX_ATTRIBUTES)
			return "more than 256 attributes";
		keep(out, text_head(line, equals), text_from(line, equals + 1), taken);
	}
	if (!taken[REQUEST_REQUEST])
		return "no request= attribute";
	if (!text_equal(out->values[REQUEST_REQUEST], TEXT("smtpd_access_policy")))
		return "a request other than smtpd_access_policy";
	out->state = state_of(out->values[REQUEST_STATE]);
	return NULL;
}

int64_t request_number(const struct request *request, enum request_attribute attribute)
{
	uint64_t value;
	return text_uint(request->values[attribute], NUMBER_MAX, &value) ? 0 : (int64_t)value;
}
