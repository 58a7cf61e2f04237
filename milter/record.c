#include "common/json_check.h"
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
	if (!json_check_object(value, RECORD_MAX_DEPTH))
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

static void add_head(struct json *json, const char *type, const struct record_context *context)
{
	const struct spool_line line = {.type = type,
					.now_s = context->now_s,
					.node = context->node,
					.customer = context->customer,
					.login = context->login,
					.queue_id = context->queue_id};
	spool_line_begin(&line, json);
}

void record_refusal(const struct record_context *context, const char *id, enum reply_reason reason,
		    const struct session *session, const struct reply *reply, const struct counters_request *request,
		    const struct counters_result *result, struct buffer *out)
{
	struct json json = {.out = out};
	add_head(&json, "policy.refused", context);
	spool_line_text(&json, "id", text_of(id));
	spool_line_text(&json, "action", reply_is_permanent(reason) ? TEXT("reject") : TEXT("defer"));
	spool_line_text(&json, "reason", text_of(reply_id(reason)));
	spool_line_text(&json, "detail", text_of(reply->text));
	spool_line_text(&json, "sender", buffer_view(&session->sender));
	spool_line_text(&json, "from", context->from);
	json_int(&json, "recipients", session->recipients);
	json_int(&json, "size", session_size(session));
	if (request && result)
		spool_line_limits(&json, request->items, result->usage,
				  result->count < request->count ? result->count : request->count);
	json_close(&json, '}');
}

void record_annotated(const struct record_context *context, const struct record_annotation *annotation,
		      struct text sender, struct buffer *out)
{
	struct json json = {.out = out};
	add_head(&json, "message.annotated", context);
	if (sender.len)
		spool_line_text(&json, "sender", sender);
	if (annotation->tag.len)
		spool_line_text(&json, "tag", annotation->tag);
	if (annotation->metadata.len)
		json_raw(&json, "metadata", buffer_view(&annotation->metadata));
	json_close(&json, '}');
}
