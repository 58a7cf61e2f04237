/* Amazon SES, "Contents of event data that Amazon SES publishes": the JSON inside the notification. */

#include "bouncer/format_internal.h"

static const struct {
	const char *type, *object;
} names[KIND_OTHER] = {
	[KIND_ACCEPTED] = {"Send", "send"},
	[KIND_DELIVERED] = {"Delivery", "delivery"},
	[KIND_DEFERRED] = {"DeliveryDelay", "deliveryDelay"},
	[KIND_BOUNCED] = {"Bounce", "bounce"},
	[KIND_REJECTED] = {"Reject", "reject"},
	[KIND_DROPPED] = {"Bounce", "bounce"},
	[KIND_COMPLAINED] = {"Complaint", "complaint"},
	[KIND_UNSUBSCRIBED] = {"Subscription", "subscription"},
};

static void add_list(struct json *json, const char *key, struct text value)
{
	json_open(json, key, '[');
	if (value.len)
		json_string(json, NULL, value);
	json_close(json, ']');
}

static void add_mail(struct json *json, const struct event_row *row)
{
	struct buffer id = {0};
	json_open(json, "mail", '{');
	json_string(json, "timestamp", row->field[EVENT_TIME]);
	json_string(json, "source", format_text(row, EVENT_SENDER));
	json_string(json, "messageId", format_text(row, EVENT_QUEUE_ID));
	add_list(json, "destination", row->field[EVENT_RECIPIENT]);
	json_bool(json, "headersTruncated", true);
	json_open(json, "headers", '[');
	json_close(json, ']');
	json_open(json, "commonHeaders", '{');
	add_list(json, "from", row->field[EVENT_SENDER]);
	add_list(json, "to", row->field[EVENT_RECIPIENT]);
	if (event_row_has(row, EVENT_MESSAGE_ID)) {
		format_message_id(row, &id);
		json_string(json, "messageId", buffer_view(&id));
	}
	json_close(json, '}');
	json_open(json, "tags", '{');
	if (event_row_has(row, EVENT_TAG))
		add_list(json, "tag", row->field[EVENT_TAG]);
	json_close(json, '}');
	json_close(json, '}');
	buffer_free(&id);
}

static void add_recipient(struct json *json, const char *key, const struct event_row *row, bool failed)
{
	json_open(json, key, '[');
	json_open(json, NULL, '{');
	json_string(json, "emailAddress", format_text(row, EVENT_RECIPIENT));
	if (failed)
		json_string(json, "action", TEXT("failed"));
	json_string(json, "status", format_text(row, EVENT_ENHANCED_CODE));
	json_string(json, "diagnosticCode", format_reason(row));
	json_close(json, '}');
	json_close(json, ']');
}

static void add_reporting(struct json *json, const struct event_row *row)
{
	struct buffer mta = {0};
	json_string(json, "timestamp", row->field[EVENT_TIME]);
	buffer_format(&mta, "dns; %.*s",
		      TEXT_ARG(row->field[event_row_has(row, EVENT_REMOTE_MX) ? EVENT_REMOTE_MX : EVENT_HOST]));
	json_string(json, "reportingMTA", buffer_view(&mta));
	buffer_free(&mta);
}

static void add_bounce(struct json *json, const struct event_row *row, enum format_kind kind)
{
	struct text type = format_permanent(row) || kind == KIND_DROPPED ? TEXT("Permanent") : TEXT("Transient");
	if (kind == KIND_BOUNCED && text_equal(row->field[EVENT_BOUNCE_CLASS], TEXT("undetermined")))
		type = TEXT("Undetermined");
	json_string(json, "bounceType", type);
	json_string(json, "bounceSubType",
		    kind == KIND_DROPPED ? TEXT("Suppressed") : text_of(format_bounce(row)->ses));
	json_string(json, "feedbackId", row->field[EVENT_ID]);
	add_recipient(json, "bouncedRecipients", row, true);
	add_reporting(json, row);
}

static void add_delivery(struct json *json, const struct event_row *row)
{
	add_reporting(json, row);
	add_list(json, "recipients", row->field[EVENT_RECIPIENT]);
	json_string(json, "smtpResponse", format_reason(row));
}

static void add_complaint(struct json *json, const struct event_row *row)
{
	json_string(json, "timestamp", row->field[EVENT_TIME]);
	json_string(json, "feedbackId", row->field[EVENT_ID]);
	json_string(json, "complaintFeedbackType", TEXT("abuse"));
	json_open(json, "complainedRecipients", '[');
	json_open(json, NULL, '{');
	json_string(json, "emailAddress", format_text(row, EVENT_RECIPIENT));
	json_close(json, '}');
	json_close(json, ']');
}

static void add_fate(struct json *json, const struct event_row *row, enum format_kind kind)
{
	switch (kind) {
	case KIND_DELIVERED: add_delivery(json, row); break;
	case KIND_DEFERRED:
		json_string(json, "delayType", text_of(format_bounce(row)->ses));
		json_string(json, "timestamp", row->field[EVENT_TIME]);
		add_recipient(json, "delayedRecipients", row, false);
		break;
	case KIND_BOUNCED:
	case KIND_DROPPED: add_bounce(json, row, kind); break;
	case KIND_REJECTED: json_string(json, "reason", format_reason(row)); break;
	case KIND_COMPLAINED: add_complaint(json, row); break;
	case KIND_UNSUBSCRIBED: json_string(json, "timestamp", row->field[EVENT_TIME]); break;
	case KIND_ACCEPTED:
	case KIND_OTHER:
	case KIND_MAX: break;
	}
}

void format_ses(const struct event_row *row, struct buffer *out)
{
	struct json json = {.out = out};
	enum format_kind kind = format_kind(row);
	json_open(&json, NULL, '{');
	json_string(&json, "eventType", kind == KIND_OTHER ? row->field[EVENT_TYPE] : text_of(names[kind].type));
	add_mail(&json, row);
	if (kind != KIND_OTHER) {
		json_open(&json, names[kind].object, '{');
		add_fate(&json, row, kind);
		json_close(&json, '}');
	}
	json_close(&json, '}');
}
