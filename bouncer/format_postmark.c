/* Postmark, "Webhooks": Delivery, Bounce, Spam complaint, Subscription change. */

#include "bouncer/format_internal.h"

static const struct format_bounce complaint = {NULL, NULL, "SpamComplaint", 100001, NULL};
static const struct format_bounce manual = {NULL, NULL, "ManuallyDeactivated", 100002, NULL};
static const struct format_bounce transient = {NULL, NULL, "Transient", 2, NULL};
static const struct format_bounce refused = {NULL, NULL, "SMTPApiError", 100007, NULL};

static void add_common(struct json *json, const struct event_row *row, struct text record, const char *recipient_key,
		       const char *time_key)
{
	json_string(json, "RecordType", record);
	json_string(json, "MessageID", format_text(row, EVENT_MESSAGE_ID));
	json_string(json, recipient_key, format_text(row, EVENT_RECIPIENT));
	json_string(json, time_key, row->field[EVENT_TIME]);
	json_string(json, "Tag", format_text(row, EVENT_TAG));
	json_raw(json, "Metadata", event_row_has(row, EVENT_METADATA) ? row->field[EVENT_METADATA] : TEXT("{}"));
	json_int(json, "ServerID", 0);
	json_string(json, "MessageStream", TEXT("outbound"));
}

static const struct format_bounce *words(const struct event_row *row, enum format_kind kind)
{
	switch (kind) {
	case KIND_COMPLAINED: return &complaint;
	case KIND_DROPPED: return &manual;
	case KIND_DEFERRED: return &transient;
	case KIND_REJECTED: return &refused;
	case KIND_ACCEPTED:
	case KIND_DELIVERED:
	case KIND_BOUNCED:
	case KIND_UNSUBSCRIBED:
	case KIND_OTHER:
	case KIND_MAX: break;
	}
	return format_bounce(row);
}

static void add_bounce(struct json *json, const struct event_row *row, enum format_kind kind)
{
	const struct format_bounce *bounce = words(row, kind);
	bool inactive = event_row_has(row, EVENT_SUPPRESSION) || kind == KIND_DROPPED;
	add_common(json, row, kind == KIND_COMPLAINED ? TEXT("SpamComplaint") : TEXT("Bounce"), "Email", "BouncedAt");
	json_raw(json, "ID", row->field[EVENT_SEQ]);
	json_string(json, "Type", text_of(bounce->postmark));
	json_int(json, "TypeCode", bounce->postmark_code);
	json_string(json, "Name", text_of(bounce->postmark));
	json_string(json, "Description", format_text(row, EVENT_BOUNCE_CATEGORY));
	json_string(json, "Details", format_reason(row));
	json_string(json, "From", format_text(row, EVENT_SENDER));
	json_bool(json, "DumpAvailable", false);
	json_bool(json, "Inactive", inactive);
	json_bool(json, "CanActivate", inactive);
	json_string(json, "Subject", TEXT("")); /* never kept */
}

static void add_unsubscribe(struct json *json, const struct event_row *row)
{
	add_common(json, row, TEXT("SubscriptionChange"), "Recipient", "ChangedAt");
	json_string(json, "Origin", TEXT("Recipient"));
	json_bool(json, "SuppressSending", true);
	json_string(json, "SuppressionReason", TEXT("ManualSuppression"));
}

void format_postmark(const struct event_row *row, struct buffer *out)
{
	struct json json = {.out = out};
	enum format_kind kind = format_kind(row);
	json_open(&json, NULL, '{');
	switch (kind) {
	case KIND_DELIVERED:
		add_common(&json, row, TEXT("Delivery"), "Recipient", "DeliveredAt");
		json_string(&json, "Details", format_reason(row));
		break;
	case KIND_DEFERRED:
	case KIND_BOUNCED:
	case KIND_REJECTED:
	case KIND_DROPPED:
	case KIND_COMPLAINED: add_bounce(&json, row, kind); break;
	case KIND_UNSUBSCRIBED: add_unsubscribe(&json, row); break;
	case KIND_ACCEPTED:
	case KIND_OTHER:
	case KIND_MAX: add_common(&json, row, row->field[EVENT_TYPE], "Recipient", "ReceivedAt"); break;
	}
	json_close(&json, '}');
}
