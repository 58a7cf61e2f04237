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

/* The attributes by the length of their names, each plus one, up to a zero: most of Postfix' thirty are none of ours, and
 * their length says so. */
#define NAME_MAX_LEN 19
static const unsigned char by_length[NAME_MAX_LEN + 1][4] = {
	[4] = {1 + REQUEST_SIZE},
	[6] = {1 + REQUEST_SENDER},
	[7] = {1 + REQUEST_REQUEST},
	[8] = {1 + REQUEST_QUEUE_ID, 1 + REQUEST_INSTANCE},
	[9] = {1 + REQUEST_RECIPIENT},
	[13] = {1 + REQUEST_LOGIN},
	[14] = {1 + REQUEST_STATE, 1 + REQUEST_CLIENT_ADDRESS, 1 + REQUEST_CONTEXT},
	[15] = {1 + REQUEST_RECIPIENT_COUNT},
	[19] = {1 + REQUEST_ENCRYPTION},
};

/* Is there an empty line in BYTES? Mostly a read brings one request to its last byte. */
static bool is_whole(struct request_scan *scan, struct text bytes)
{
	const struct text empty_line = TEXT("\n\n");
	if (text_ends(bytes, empty_line))
		return true;
	/* The last byte seen may have been the first half of the empty line. */
	size_t from = scan->seen ? scan->seen - 1 : 0;
	scan->seen = bytes.len;
	return text_search(text_from(bytes, from), empty_line) != SIZE_MAX;
}

static void keep(struct request *out, struct text name, struct text value, bool *taken)
{
	if (name.len > NAME_MAX_LEN)
		return;
	for (const unsigned char *next = by_length[name.len]; *next; next++) {
		int i = *next - 1;
		if (attribute_names[i].ptr[0] != name.ptr[0] || !text_equal(attribute_names[i], name))
			continue;
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

/* Takes the lines up to the empty one, which is there, from *REST. */
static const char *take_lines(struct text *rest, struct request *out, bool *taken)
{
	int attributes = 0;
	const char *at = rest->ptr, *end = at + rest->len;
	for (const char *newline; (newline = memchr(at, '\n', (size_t)(end - at))) != at; at = newline + 1) {
		const char *equals = memchr(at, '=', (size_t)(newline - at));
		if (!equals || equals == at)
			return "a line without name=value";
		if (++attributes > REQUEST_MAX_ATTRIBUTES)
			return "more than 256 attributes";
		keep(out, text_at(at, (size_t)(equals - at)), text_at(equals + 1, (size_t)(newline - equals - 1)),
		     taken);
	}
	*rest = text_at(at + 1, (size_t)(end - at - 1));
	return NULL;
}

static const char *parse(struct text bytes, size_t *len, struct request *out)
{
	bool taken[REQUEST_ATTRIBUTE_MAX] = {false};
	struct text rest = bytes;
	*out = (struct request){0};
	const char *why = take_lines(&rest, out, taken);
	if (why)
		return why;
	*len = bytes.len - rest.len;
	if (*len > REQUEST_MAX_BYTES)
		return "a request longer than 65536 bytes";
	if (text_find(text_head(bytes, *len), '\0') != SIZE_MAX)
		return "a NUL byte";
	if (!taken[REQUEST_REQUEST])
		return "no request= attribute";
	if (!text_equal(out->values[REQUEST_REQUEST], TEXT("smtpd_access_policy")))
		return "a request other than smtpd_access_policy";
	out->state = state_of(out->values[REQUEST_STATE]);
	return NULL;
}

const char *request_take(struct request_scan *scan, struct text bytes, size_t *len, struct request *out)
{
	*len = 0;
	if (bytes.len && bytes.ptr[0] == '\n')
		return "an empty request";
	if (is_whole(scan, bytes))
		return parse(bytes, len, out);
	return bytes.len >= REQUEST_MAX_BYTES ? "a request longer than 65536 bytes" : NULL;
}

int64_t request_number(const struct request *request, enum request_attribute attribute)
{
	uint64_t value;
	return text_uint(request->values[attribute], NUMBER_MAX, &value) ? 0 : (int64_t)value;
}
