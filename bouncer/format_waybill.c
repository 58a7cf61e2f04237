/* The native format: the envelope of Standard Webhooks 1.0 (type, timestamp, data) around the event. What the keys mean
 * is the customers' contract, doc/webhooks.md: keys may be added inside schema 1, none changes its meaning or goes. Every
 * key is always there, so that receivers in typed languages can declare it; what is unknown is null. */

#include "bouncer/format_internal.h"

#define SCHEMA 1

static const struct format_member message[] = {
	{"message_id", EVENT_MESSAGE_ID, false},
	{"queue_id", EVENT_QUEUE_ID, false},
	{"host", EVENT_HOST, false},
	{"instance", EVENT_INSTANCE, false},
	{"sender", EVENT_SENDER, false},
	{"recipient", EVENT_RECIPIENT, false},
	{"orig_recipient", EVENT_ORIG_RECIPIENT, false},
	{"recipient_domain", EVENT_RECIPIENT_DOMAIN, false},
	{"sasl_username", EVENT_SASL_USERNAME, false},
	{"client_ip", EVENT_CLIENT_IP, false},
	{"size", EVENT_SIZE, true},
	{"attempt", EVENT_ATTEMPT, true},
	{"tag", EVENT_TAG, false},
	{"metadata", EVENT_METADATA, true},
};

static const struct format_member smtp[] = {
	{"code", EVENT_SMTP_CODE, true},
	{"enhanced_code", EVENT_ENHANCED_CODE, false},
	{"remote_enhanced_code", EVENT_REMOTE_ENHANCED_CODE, false},
	{"stage", EVENT_STAGE, false},
	{"response", EVENT_RESPONSE, false},
};

static const struct format_member remote[] = {
	{"mx", EVENT_REMOTE_MX, false},   {"ip", EVENT_REMOTE_IP, false},      {"port", EVENT_REMOTE_PORT, true},
	{"tls", EVENT_REMOTE_TLS, false}, {"provider", EVENT_PROVIDER, false},
};

static const struct format_member delays[] = {
	{"total", EVENT_DELAY_TOTAL, true},       {"queue", EVENT_DELAY_QUEUE, true},
	{"active", EVENT_DELAY_ACTIVE, true},     {"connect", EVENT_DELAY_CONNECT, true},
	{"transmit", EVENT_DELAY_TRANSMIT, true},
};

static const struct format_member bounce[] = {
	{"class", EVENT_BOUNCE_CLASS, false}, {"category", EVENT_BOUNCE_CATEGORY, false},
	{"scope", EVENT_BOUNCE_SCOPE, false}, {"async", EVENT_BOUNCE_ASYNC, true},
	{"reason", EVENT_REASON, false},      {"rule", EVENT_BOUNCE_RULE, false},
	{"truncated", EVENT_TRUNCATED, true},
};

static const struct format_member suppression[] = {
	{"action", EVENT_SUPPRESSION, false},
	{"expires_at", EVENT_SUPPRESSION_EXPIRES, false},
};

static const struct format_member source[] = {
	{"kind", EVENT_SOURCE_KIND, false},
	{"partial", EVENT_PARTIAL, true},
};

/* Objects inside data; each is null as a whole when the event has nothing for it. */
static const struct section {
	const char *key;
	const struct format_member *members;
	size_t count;
	enum event_field when[6]; /* written when one of these is there; ends with EVENT_FIELD_MAX */
} sections[] = {
#define MEMBERS(TABLE) TABLE, sizeof(TABLE) / sizeof((TABLE)[0])
	{"smtp", MEMBERS(smtp), {EVENT_SMTP_CODE, EVENT_ENHANCED_CODE, EVENT_RESPONSE, EVENT_STAGE, EVENT_FIELD_MAX}},
	{"remote", MEMBERS(remote), {EVENT_REMOTE_MX, EVENT_REMOTE_IP, EVENT_PROVIDER, EVENT_FIELD_MAX}},
	{"delays", MEMBERS(delays), {EVENT_DELAY_TOTAL, EVENT_FIELD_MAX}},
	{"bounce", MEMBERS(bounce), {EVENT_BOUNCE_CLASS, EVENT_BOUNCE_CATEGORY, EVENT_FIELD_MAX}},
	{"suppression", MEMBERS(suppression), {EVENT_SUPPRESSION, EVENT_FIELD_MAX}},
	{"source", MEMBERS(source), {EVENT_SOURCE_KIND, EVENT_FIELD_MAX}},
};

static bool has_section(const struct event_row *row, const struct section *section)
{
	for (const enum event_field *field = section->when; *field != EVENT_FIELD_MAX; field++)
		if (event_row_has(row, *field))
			return true;
	return false;
}

static void add_section(struct json *json, const struct event_row *row, const struct section *section)
{
	if (!has_section(row, section)) {
		json_raw(json, section->key, (struct text){0});
		return;
	}
	json_open(json, section->key, '{');
	format_members(json, row, section->members, section->count);
	json_close(json, '}');
}

void format_waybill(const struct event_row *row, struct buffer *out)
{
	struct json json = {.out = out};
	json_open(&json, NULL, '{');
	json_string(&json, "type", row->field[EVENT_TYPE]);
	json_string(&json, "timestamp", row->field[EVENT_TIME]);
	json_open(&json, "data", '{');
	json_string(&json, "event_id", row->field[EVENT_ID]);
	json_int(&json, "schema", SCHEMA);
	json_string(&json, "customer", row->field[EVENT_CUSTOMER]);
	json_raw(&json, "seq", row->field[EVENT_SEQ]);
	format_members(&json, row, message, sizeof(message) / sizeof(message[0]));
	for (size_t i = 0; i < sizeof(sections) / sizeof(sections[0]); i++)
		add_section(&json, row, &sections[i]);
	json_raw(&json, "detail", row->field[EVENT_DETAIL]);
	json_close(&json, '}');
	json_close(&json, '}');
}

void format_waybill_batch(struct text id, const struct event_row *rows, size_t count, struct buffer *out)
{
	struct json json = {.out = out};
	json_open(&json, NULL, '{');
	json_string(&json, "type", TEXT("batch"));
	json_string(&json, "timestamp", rows[count - 1].field[EVENT_TIME]);
	json_open(&json, "data", '{');
	json_string(&json, "batch_id", id);
	json_int(&json, "schema", SCHEMA);
	json_string(&json, "customer", rows[0].field[EVENT_CUSTOMER]);
	json_int(&json, "count", (int64_t)count);
	json_open(&json, "events", '[');
	for (size_t i = 0; i < count; i++) {
		struct buffer event = {0};
		format_waybill(&rows[i], &event);
		json_raw(&json, NULL, buffer_view(&event));
		buffer_free(&event);
	}
	json_close(&json, ']');
	json_close(&json, '}');
	json_close(&json, '}');
}
