/* Mailgun, "Events" and "Webhooks": the object event-data. */

#include "bouncer/format_internal.h"

static const struct {
	const char *event, *level;
} names[KIND_OTHER] = {
	[KIND_ACCEPTED] = {"accepted", "info"},     [KIND_DELIVERED] = {"delivered", "info"},
	[KIND_DEFERRED] = {"failed", "warn"},       [KIND_BOUNCED] = {"failed", "error"},
	[KIND_REJECTED] = {"rejected", "warn"},     [KIND_DROPPED] = {"failed", "error"},
	[KIND_COMPLAINED] = {"complained", "warn"}, [KIND_UNSUBSCRIBED] = {"unsubscribed", "warn"},
};

/* Seconds with a fraction: the six digits of microseconds stand before the "Z". */
static void add_timestamp(struct json *json, const struct event_row *row)
{
	struct buffer number = {0};
	struct text time = row->field[EVENT_TIME];
	size_t point = text_rfind(time, '.');
	buffer_text(&number, row->field[EVENT_SECONDS]);
	if (point != SIZE_MAX)
		buffer_text(&number, text_head(text_from(time, point), sizeof(".123456") - 1));
	json_raw(json, "timestamp", buffer_view(&number));
	buffer_free(&number);
}

static void add_message(struct json *json, const struct event_row *row)
{
	json_open(json, "envelope", '{');
	json_string(json, "sender", format_text(row, EVENT_SENDER));
	json_string(json, "targets", format_text(row, EVENT_RECIPIENT));
	json_string(json, "transport", TEXT("smtp"));
	json_close(json, '}');
	json_open(json, "message", '{');
	json_open(json, "headers", '{');
	json_string(json, "message-id", format_text(row, EVENT_MESSAGE_ID));
	json_string(json, "from", format_text(row, EVENT_SENDER));
	json_string(json, "to", format_text(row, EVENT_RECIPIENT));
	json_close(json, '}');
	json_open(json, "attachments", '[');
	json_close(json, ']');
	json_raw(json, "size", event_row_has(row, EVENT_SIZE) ? row->field[EVENT_SIZE] : TEXT("0"));
	json_close(json, '}');
}

static void add_status(struct json *json, const struct event_row *row)
{
	json_open(json, "delivery-status", '{');
	json_raw(json, "attempt-no", event_row_has(row, EVENT_ATTEMPT) ? row->field[EVENT_ATTEMPT] : TEXT("1"));
	json_raw(json, "code", event_row_has(row, EVENT_SMTP_CODE) ? row->field[EVENT_SMTP_CODE] : TEXT("0"));
	json_string(json, "enhanced-code", format_text(row, EVENT_ENHANCED_CODE));
	json_string(json, "message", format_reason(row));
	json_string(json, "description", format_text(row, EVENT_REASON));
	json_string(json, "mx-host", format_text(row, EVENT_REMOTE_MX));
	json_bool(json, "tls", event_row_has(row, EVENT_REMOTE_TLS));
	if (event_row_has(row, EVENT_DELAY_TRANSMIT))
		json_raw(json, "session-seconds", row->field[EVENT_DELAY_TRANSMIT]);
	json_close(json, '}');
}

static struct text reason(const struct event_row *row, enum format_kind kind)
{
	if (kind == KIND_DROPPED)
		return TEXT("suppress-bounce");
	if (text_equal(row->field[EVENT_BOUNCE_CATEGORY], TEXT("expired")))
		return TEXT("old");
	return kind == KIND_BOUNCED && !format_blocked(row) ? TEXT("bounce") : TEXT("generic");
}

static void add_fate(struct json *json, const struct event_row *row, enum format_kind kind)
{
	if (kind == KIND_DEFERRED || kind == KIND_BOUNCED || kind == KIND_DROPPED) {
		json_string(json, "severity", kind == KIND_DEFERRED ? TEXT("temporary") : TEXT("permanent"));
		json_string(json, "reason", reason(row, kind));
	}
	if (kind == KIND_REJECTED) {
		json_open(json, "reject", '{');
		json_string(json, "reason", format_reason(row));
		json_string(json, "description", format_text(row, EVENT_REASON));
		json_close(json, '}');
	}
	if (kind == KIND_DELIVERED || kind == KIND_DEFERRED || kind == KIND_BOUNCED || kind == KIND_DROPPED)
		add_status(json, row);
}

void format_mailgun(const struct event_row *row, struct buffer *out)
{
	struct json json = {.out = out};
	enum format_kind kind = format_kind(row);
	json_open(&json, NULL, '{');
	json_string(&json, "event", kind == KIND_OTHER ? row->field[EVENT_TYPE] : text_of(names[kind].event));
	json_string(&json, "id", row->field[EVENT_ID]);
	add_timestamp(&json, row);
	json_string(&json, "log-level", text_of(kind == KIND_OTHER ? "info" : names[kind].level));
	json_string(&json, "recipient", format_text(row, EVENT_RECIPIENT));
	json_string(&json, "recipient-domain", format_text(row, EVENT_RECIPIENT_DOMAIN));
	add_fate(&json, row, kind);
	json_open(&json, "tags", '[');
	if (event_row_has(row, EVENT_TAG))
		json_string(&json, NULL, row->field[EVENT_TAG]);
	json_close(&json, ']');
	json_raw(&json, "user-variables", event_row_has(row, EVENT_METADATA) ? row->field[EVENT_METADATA] : TEXT("{}"));
	add_message(&json, row);
	json_close(&json, '}');
}
