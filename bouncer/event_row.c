#include "bouncer/event_row.h"

#define RFC3339(COLUMN) "to_char(" COLUMN " AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"
#define BOOLEAN(COLUMN) "CASE WHEN " COLUMN " THEN 'true' ELSE 'false' END"

const char *const event_row_sql[EVENT_FIELD_MAX] = {
	[EVENT_CUSTOMER] = "customer",
	[EVENT_ID] = "event_id",
	[EVENT_SEQ] = "seq",
	[EVENT_TYPE] = "type",
	[EVENT_TIME] = RFC3339("occurred_at"),
	[EVENT_SECONDS] = "floor(extract(epoch FROM occurred_at))::bigint",
	[EVENT_HOST] = "host",
	[EVENT_INSTANCE] = "instance",
	[EVENT_QUEUE_ID] = "queue_id",
	[EVENT_ORIG_QUEUE_ID] = "orig_queue_id",
	[EVENT_MESSAGE_ID] = "message_id",
	[EVENT_SENDER] = "sender",
	[EVENT_RECIPIENT] = "recipient",
	[EVENT_ORIG_RECIPIENT] = "orig_recipient",
	[EVENT_RECIPIENT_DOMAIN] = "recipient_domain",
	[EVENT_SASL_USERNAME] = "sasl_username",
	[EVENT_CLIENT_IP] = "host(client_ip)",
	[EVENT_SIZE] = "size",
	[EVENT_ATTEMPT] = "attempt",
	[EVENT_TAG] = "tag",
	[EVENT_METADATA] = "coalesce(metadata, '{}')",
	[EVENT_SMTP_CODE] = "smtp_code",
	[EVENT_ENHANCED_CODE] = "enhanced_code",
	[EVENT_REMOTE_ENHANCED_CODE] = "remote_enhanced_code",
	[EVENT_STAGE] = "stage",
	[EVENT_RESPONSE] = "response",
	[EVENT_REMOTE_MX] = "remote_mx",
	[EVENT_REMOTE_IP] = "host(remote_ip)",
	[EVENT_REMOTE_PORT] = "remote_port",
	[EVENT_REMOTE_TLS] = "remote_tls",
	[EVENT_PROVIDER] = "provider",
	[EVENT_DELAY_TOTAL] = "delay_total",
	[EVENT_DELAY_QUEUE] = "delay_queue",
	[EVENT_DELAY_ACTIVE] = "delay_active",
	[EVENT_DELAY_CONNECT] = "delay_connect",
	[EVENT_DELAY_TRANSMIT] = "delay_transmit",
	[EVENT_BOUNCE_CLASS] = "bounce_class",
	[EVENT_BOUNCE_CATEGORY] = "bounce_category",
	[EVENT_BOUNCE_SCOPE] = "bounce_scope",
	[EVENT_BOUNCE_ASYNC] = BOOLEAN("bounce_async"),
	[EVENT_BOUNCE_RULE] = "bounce_rule",
	[EVENT_REASON] = "reason",
	[EVENT_TRUNCATED] = BOOLEAN("truncated"),
	[EVENT_SUPPRESSION] = "suppression",
	[EVENT_SUPPRESSION_EXPIRES] = RFC3339("suppression_expires"),
	[EVENT_SOURCE_KIND] = "source_kind",
	[EVENT_PARTIAL] = BOOLEAN("partial"),
	[EVENT_DETAIL] = "detail",
};

bool event_row_has(const struct event_row *row, enum event_field field)
{
	return row->field[field].len > 0;
}
