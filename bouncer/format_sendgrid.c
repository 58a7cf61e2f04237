/* Twilio SendGrid, "Event Webhook Reference": an array, of one event if not of a batch. */

#include "bouncer/format_internal.h"

static const char *const names[KIND_OTHER] = {
	[KIND_ACCEPTED] = "processed",    [KIND_DELIVERED] = "delivered",      [KIND_DEFERRED] = "deferred",
	[KIND_BOUNCED] = "bounce",        [KIND_REJECTED] = "dropped",         [KIND_DROPPED] = "dropped",
	[KIND_COMPLAINED] = "spamreport", [KIND_UNSUBSCRIBED] = "unsubscribe",
};

static void add_common(struct json *json, const struct event_row *row, enum format_kind kind)
{
	struct buffer id = {0};
	json_string(json, "email", format_text(row, EVENT_RECIPIENT));
	json_raw(json, "timestamp", row->field[EVENT_SECONDS]);
	json_string(json, "event", kind == KIND_OTHER ? row->field[EVENT_TYPE] : text_of(names[kind]));
	if (event_row_has(row, EVENT_MESSAGE_ID)) {
		format_message_id(row, &id);
		json_string(json, "smtp-id", buffer_view(&id));
	}
	json_string(json, "sg_event_id", row->field[EVENT_ID]);
	json_string(json, "sg_message_id", format_text(row, EVENT_QUEUE_ID));
	if (event_row_has(row, EVENT_TAG)) {
		json_open(json, "category", '[');
		json_string(json, NULL, row->field[EVENT_TAG]);
		json_close(json, ']');
	}
	buffer_free(&id);
}

static void add_delivery(struct json *json, const struct event_row *row)
{
	json_string(json, "response", format_reason(row));
	if (event_row_has(row, EVENT_REMOTE_IP))
		json_string(json, "ip", row->field[EVENT_REMOTE_IP]);
	json_int(json, "tls", event_row_has(row, EVENT_REMOTE_TLS));
	if (event_row_has(row, EVENT_ATTEMPT))
		json_string(json, "attempt", row->field[EVENT_ATTEMPT]);
}

static void add_failure(struct json *json, const struct event_row *row, enum format_kind kind)
{
	json_string(json, "reason", format_reason(row));
	json_string(json, "status", format_text(row, EVENT_ENHANCED_CODE));
	if (kind != KIND_BOUNCED)
		return;
	json_string(json, "type", format_blocked(row) ? TEXT("blocked") : TEXT("bounce"));
	json_string(json, "bounce_classification", text_of(format_bounce(row)->sendgrid));
}

static void add_event(struct json *json, const struct event_row *row)
{
	enum format_kind kind = format_kind(row);
	json_open(json, NULL, '{');
	add_common(json, row, kind);
	if (kind == KIND_DELIVERED || kind == KIND_DEFERRED || kind == KIND_BOUNCED)
		add_delivery(json, row);
	if (kind == KIND_BOUNCED || kind == KIND_REJECTED || kind == KIND_DROPPED)
		add_failure(json, row, kind);
	json_close(json, '}');
}

void format_sendgrid_batch(struct text id, const struct event_row *rows, size_t count, struct buffer *out)
{
	struct json json = {.out = out};
	(void)id; /* SendGrid's have none */
	json_open(&json, NULL, '[');
	for (size_t i = 0; i < count; i++)
		add_event(&json, &rows[i]);
	json_close(&json, ']');
}

void format_sendgrid(const struct event_row *row, struct buffer *out)
{
	format_sendgrid_batch((struct text){0}, row, 1, out);
}
