#include "bouncer/format_internal.h"

const char *const format_names[] = {
	[FORMAT_WAYBILL] = "waybill",   [FORMAT_SENDGRID] = "sendgrid", [FORMAT_MAILGUN] = "mailgun",
	[FORMAT_POSTMARK] = "postmark", [FORMAT_SES] = "ses",           [FORMAT_MAX] = NULL,
};

static void (*const writers[FORMAT_MAX])(const struct event_row *row, struct buffer *out) = {
	[FORMAT_WAYBILL] = format_waybill,   [FORMAT_SENDGRID] = format_sendgrid, [FORMAT_MAILGUN] = format_mailgun,
	[FORMAT_POSTMARK] = format_postmark, [FORMAT_SES] = format_ses,
};

static void (*const batch_writers[FORMAT_MAX])(struct text id, const struct event_row *rows, size_t count,
					       struct buffer *out) = {
	[FORMAT_WAYBILL] = format_waybill_batch,
	[FORMAT_SENDGRID] = format_sendgrid_batch,
};

enum format format_of(struct text name)
{
	enum format format = 0;
	while (format < FORMAT_MAX && !text_equal(name, text_of(format_names[format])))
		format++;
	return format;
}

void format_body(enum format format, const struct event_row *row, struct buffer *out)
{
	writers[format](row, out);
}

bool format_has_batches(enum format format)
{
	return batch_writers[format] != NULL;
}

void format_batch(enum format format, struct text id, const struct event_row *rows, size_t count, struct buffer *out)
{
	batch_writers[format](id, rows, count, out);
}

void format_members(struct json *json, const struct event_row *row, const struct format_member *members, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const struct format_member *m = &members[i];
		if (m->raw)
			json_raw(json, m->key, row->field[m->field]);
		else
			json_string(json, m->key, row->field[m->field]);
	}
}

static const char *const kinds[KIND_OTHER] = {
	[KIND_ACCEPTED] = "message.accepted",     [KIND_DELIVERED] = "message.delivered",
	[KIND_DEFERRED] = "message.deferred",     [KIND_BOUNCED] = "message.bounced",
	[KIND_REJECTED] = "message.rejected",     [KIND_DROPPED] = "message.dropped",
	[KIND_COMPLAINED] = "message.complained", [KIND_UNSUBSCRIBED] = "recipient.unsubscribed",
};

enum format_kind format_kind(const struct event_row *row)
{
	enum format_kind kind = 0;
	while (kind < KIND_OTHER && !text_equal(row->field[EVENT_TYPE], text_of(kinds[kind])))
		kind++;
	return kind;
}

#define INVALID   "Invalid Address"
#define TECHNICAL "Technical Failure"
#define MAILBOX   "Mailbox Unavailable"
#define NONE      "Unclassified"

static const struct format_bounce bounces[] = {
	{"bad-mailbox", INVALID, "HardBounce", 1, "NoEmail"},
	{"mailbox-moved", INVALID, "AddressChange", 128, "NoEmail"},
	{"inactive-mailbox", MAILBOX, "HardBounce", 1, "General"},
	{"quota-issues", MAILBOX, "SoftBounce", 4096, "MailboxFull"},
	{"recipient-filtered", NONE, "SoftBounce", 4096, "General"},
	{"bad-domain", INVALID, "HardBounce", 1, "NoEmail"},
	{"dns-failure", TECHNICAL, "DnsError", 256, "General"},
	{"no-answer-from-host", TECHNICAL, "DnsError", 256, "General"},
	{"bad-connection", TECHNICAL, "DnsError", 256, "General"},
	{"expired", TECHNICAL, "SoftBounce", 4096, "General"},
	{"greylisted", NONE, "Transient", 2, "General"},
	{"rate-limited", "Frequency or Volume Too High", "Transient", 2, "General"},
	{"ip-blocked", "Reputation", "Blocked", 100006, "General"},
	{"sender-domain-blocked", "Reputation", "Blocked", 100006, "General"},
	{"no-ptr", "Reputation", "Blocked", 100006, "General"},
	{"auth-failed", "Reputation", "DMARCPolicy", 100009, "General"},
	{"bad-sender", TECHNICAL, "Blocked", 100006, "General"},
	{"spam-content", "Content", "SpamNotification", 512, "ContentRejected"},
	{"virus", "Content", "VirusNotification", 8192, "AttachmentRejected"},
	{"content-related", "Content", "Blocked", 100006, "ContentRejected"},
	{"message-too-big", "Content", "SoftBounce", 4096, "MessageTooLarge"},
	{"policy-related", "Reputation", "Blocked", 100006, "General"},
	{"relaying-issues", TECHNICAL, "Blocked", 100006, "General"},
	{"routing-loop", TECHNICAL, "DnsError", 256, "General"},
	{"tls-required", TECHNICAL, "SoftBounce", 4096, "General"},
	{"protocol-errors", TECHNICAL, "SoftBounce", 4096, "General"},
	{"auto-reply", NONE, "AutoResponder", 64, "General"},
	{NULL, NONE, "Unknown", 2048, "Undetermined"},
};

const struct format_bounce *format_bounce(const struct event_row *row)
{
	const struct format_bounce *bounce = bounces;
	while (bounce->category && !text_equal(row->field[EVENT_BOUNCE_CATEGORY], text_of(bounce->category)))
		bounce++;
	return bounce;
}

bool format_permanent(const struct event_row *row)
{
	return text_equal(row->field[EVENT_BOUNCE_CLASS], TEXT("hard"));
}

bool format_blocked(const struct event_row *row)
{
	struct text scope = row->field[EVENT_BOUNCE_SCOPE];
	return !text_equal(scope, TEXT("recipient")) && !text_equal(scope, TEXT("recipient_domain"));
}

struct text format_text(const struct event_row *row, enum event_field field)
{
	return row->field[field].ptr ? row->field[field] : TEXT("");
}

struct text format_reason(const struct event_row *row)
{
	return event_row_has(row, EVENT_RESPONSE) ? row->field[EVENT_RESPONSE] : format_text(row, EVENT_REASON);
}

void format_message_id(const struct event_row *row, struct buffer *out)
{
	buffer_char(out, '<');
	buffer_text(out, row->field[EVENT_MESSAGE_ID]);
	buffer_char(out, '>');
}
