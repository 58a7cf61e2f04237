#include <string.h>

#include "common/spool_line.h"

#include "milter/record.h"

void record_id_print(const unsigned char random[5], char out[RECORD_ID_SIZE])
{
	uint64_t bits = 0;
	for (int i = 0; i < 5; i++)
		bits = bits << 8 | random[i];
	for (int i = 0; i < RECORD_ID_SIZE - 1; i++, bits >>= 5)
		out[i] = "abcdefghijklmnopqrstuvwxyz234567"[bits & 31];
	out[RECORD_ID_SIZE - 1] = '\0';
}

/* ---- JSON in: is it one object? Recursive descent over RFC 8259; each function takes what it is called for. */

struct json {
	struct text rest;
	int depth;
};

static bool json_value(struct json *json);

static char json_peek(struct json *json)
{
	while (json->rest.len && memchr(" \t\r\n", json->rest.ptr[0], 4))
		json->rest = text_from(json->rest, 1);
	return json->rest.len ? json->rest.ptr[0] : '\0';
}

static bool json_take(struct json *json, char c)
{
	if (json_peek(json) != c)
		return false;
	json->rest = text_from(json->rest, 1);
	return true;
}

/* Behind a backslash: how many bytes the escape has, 0 when it is none. */
static size_t json_escape(struct text rest)
{
	if (!rest.len || !memchr("\"\\/bfnrtu", rest.ptr[0], 9))
		return 0;
	if (rest.ptr[0] != 'u')
		return 1;
	for (size_t i = 1; i <= 4; i++)
		if (i >= rest.len || !memchr("0123456789abcdefABCDEF", rest.ptr[i], 22))
			return 0;
	return 5;
}

static bool json_string(struct json *json)
{
	if (!json_take(json, '"'))
		return false;
	while (json->rest.len) {
		unsigned char c = (unsigned char)json->rest.ptr[0];
		json->rest = text_from(json->rest, 1);
		if (c == '"')
			return true;
		if (c < 0x20 || c > 0x7e)
			return false;
		size_t escape = c == '\\' ? json_escape(json->rest) : 0;
		if (c == '\\' && !escape)
			return false;
		json->rest = text_from(json->rest, escape);
	}
	return false;
}

static size_t json_digits(struct json *json)
{
	size_t count = 0;
	for (; json->rest.len && json->rest.ptr[0] >= '0' && json->rest.ptr[0] <= '9'; count++)
		json->rest = text_from(json->rest, 1);
	return count;
}

static bool json_number(struct json *json)
{
	json_take(json, '-');
	bool zero = json->rest.len && json->rest.ptr[0] == '0';
	size_t digits = json_digits(json);
	if (!digits || (zero && digits > 1))
		return false;
	if (text_starts(json->rest, TEXT("."))) {
		json->rest = text_from(json->rest, 1);
		if (!json_digits(json))
			return false;
	}
	if (!text_starts_fold(json->rest, TEXT("e")))
		return true;
	json->rest = text_from(json->rest, 1);
	if (text_starts(json->rest, TEXT("+")) || text_starts(json->rest, TEXT("-")))
		json->rest = text_from(json->rest, 1);
	return json_digits(json) > 0;
}

/* An object or array, between OPEN and CLOSE. */
static bool json_group(struct json *json, char open, char close)
{
	if (!json_take(json, open) || ++json->depth > RECORD_MAX_DEPTH)
		return false;
	json->depth -= json_peek(json) == close;
	if (json_take(json, close))
		return true;
	do {
		if (open == '{' && (!json_string(json) || !json_take(json, ':')))
			return false;
		if (!json_value(json))
			return false;
	} while (json_take(json, ','));
	json->depth--;
	return json_take(json, close);
}

static bool json_word(struct json *json, struct text word)
{
	if (!text_starts(json->rest, word))
		return false;
	json->rest = text_from(json->rest, word.len);
	return true;
}

static bool json_value(struct json *json)
{
	switch (json_peek(json)) {
	case '{': return json_group(json, '{', '}');
	case '[': return json_group(json, '[', ']');
	case '"': return json_string(json);
	case 't': return json_word(json, TEXT("true"));
	case 'f': return json_word(json, TEXT("false"));
	case 'n': return json_word(json, TEXT("null"));
	}
	return json_number(json);
}

static bool is_json_object(struct text t)
{
	struct json json = {t, 0};
	return json_group(&json, '{', '}') && json_peek(&json) == '\0' && !json.rest.len;
}

/* ---- what the application says */

static const char *take_tag(const struct fields *fields, struct text *tag)
{
	size_t at = 0, count = fields_find(fields, TEXT("x-waybill-tag"), &at);
	*tag = count ? text_trim(fields_value(fields, at)) : TEXT("");
	if (count > 1)
		return "several X-Waybill-Tag fields";
	if (tag->len > RECORD_MAX_TAG)
		return "an X-Waybill-Tag of more than 128 bytes";
	for (size_t i = 0; i < tag->len; i++)
		if (tag->ptr[i] < 0x20 || tag->ptr[i] > 0x7e)
			return "an X-Waybill-Tag that is not printable ASCII";
	return NULL;
}

static const char *take_metadata(const struct fields *fields, struct buffer *out)
{
	size_t at = 0, count = fields_find(fields, TEXT("x-waybill-metadata"), &at);
	if (!count)
		return NULL;
	struct text value = text_trim(fields_value(fields, at));
	if (count > 1)
		return "several X-Waybill-Metadata fields";
	if (value.len > RECORD_MAX_METADATA)
		return "an X-Waybill-Metadata of more than 2048 bytes";
	if (!is_json_object(value))
		return "an X-Waybill-Metadata that is no JSON object of ASCII";
	for (size_t i = 0; i < value.len; i++)
		if (value.ptr[i] != '\r' && value.ptr[i] != '\n')
			buffer_char(out, value.ptr[i]);
	return NULL;
}

const char *record_annotation(const struct fields *fields, struct record_annotation *out)
{
	const char *why = take_tag(fields, &out->tag);
	return why ? why : take_metadata(fields, &out->metadata);
}

/* ---- JSON out */

static void add_head(struct buffer *out, const char *type, const struct record_context *context)
{
	const struct spool_line line = {.type = type,
					.now_s = context->now_s,
					.node = context->node,
					.customer = context->customer,
					.login = context->login,
					.queue_id = context->queue_id};
	spool_line_begin(&line, out);
}

static void add_limits(struct buffer *out, const struct counters_request *request, const struct counters_result *result)
{
	buffer_text(out, TEXT(",\"limits\":["));
	for (size_t i = 0; i < result->count && i < request->count; i++) {
		if (i)
			buffer_char(out, ',');
		spool_line_limit(out, &request->items[i], &result->usage[i]);
	}
	buffer_char(out, ']');
}

void record_refusal(const struct record_context *context, const char *id, enum reply_reason reason,
		    const struct session *session, const struct reply *reply, const struct counters_request *request,
		    const struct counters_result *result, struct buffer *out)
{
	add_head(out, "policy.refused", context);
	spool_line_text(out, "id", text_of(id));
	spool_line_text(out, "action", reply_is_permanent(reason) ? TEXT("reject") : TEXT("defer"));
	spool_line_text(out, "reason", text_of(reply_id(reason)));
	spool_line_text(out, "detail", text_of(reply->text));
	spool_line_text(out, "sender", buffer_view(&session->sender));
	spool_line_text(out, "from", context->from);
	spool_line_number(out, "recipients", session->recipients);
	spool_line_number(out, "size", session_size(session));
	if (request && result)
		add_limits(out, request, result);
	buffer_char(out, '}');
}

void record_annotated(const struct record_context *context, const struct record_annotation *annotation,
		      struct text sender, struct buffer *out)
{
	add_head(out, "message.annotated", context);
	if (sender.len)
		spool_line_text(out, "sender", sender);
	if (annotation->tag.len)
		spool_line_text(out, "tag", annotation->tag);
	if (annotation->metadata.len)
		buffer_format(out, ",\"metadata\":%.*s", TEXT_ARG(annotation->metadata));
	buffer_char(out, '}');
}
