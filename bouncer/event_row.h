#ifndef BOUNCER_EVENT_ROW_H
#define BOUNCER_EVENT_ROW_H

/* A row of waybill.events as the webhook formats see it: texts, as Postgres writes them. A core. */

#include "common/text.h"

enum event_field {
	EVENT_CUSTOMER,
	EVENT_ID,
	EVENT_SEQ,
	EVENT_TYPE,
	EVENT_TIME,    /* occurred_at, RFC 3339 in UTC with microseconds */
	EVENT_SECONDS, /* occurred_at, whole seconds since 1970 */
	EVENT_HOST,
	EVENT_INSTANCE,
	EVENT_QUEUE_ID,
	EVENT_ORIG_QUEUE_ID, /* the message's first one, where it had another */
	EVENT_MESSAGE_ID,
	EVENT_SENDER,
	EVENT_RECIPIENT,
	EVENT_ORIG_RECIPIENT,
	EVENT_RECIPIENT_DOMAIN,
	EVENT_SASL_USERNAME,
	EVENT_CLIENT_IP,
	EVENT_SIZE,
	EVENT_ATTEMPT,
	EVENT_TAG,
	EVENT_METADATA, /* JSON */
	EVENT_SMTP_CODE,
	EVENT_ENHANCED_CODE,
	EVENT_REMOTE_ENHANCED_CODE,
	EVENT_STAGE,
	EVENT_RESPONSE,
	EVENT_REMOTE_MX,
	EVENT_REMOTE_IP,
	EVENT_REMOTE_PORT,
	EVENT_REMOTE_TLS,
	EVENT_PROVIDER,
	EVENT_DELAY_TOTAL,
	EVENT_DELAY_QUEUE,
	EVENT_DELAY_ACTIVE,
	EVENT_DELAY_CONNECT,
	EVENT_DELAY_TRANSMIT,
	EVENT_BOUNCE_CLASS,
	EVENT_BOUNCE_CATEGORY,
	EVENT_BOUNCE_SCOPE,
	EVENT_BOUNCE_ASYNC, /* true | false */
	EVENT_BOUNCE_RULE,
	EVENT_REASON,
	EVENT_TRUNCATED, /* true | false */
	EVENT_SUPPRESSION,
	EVENT_SUPPRESSION_EXPIRES, /* as EVENT_TIME */
	EVENT_SOURCE_KIND,
	EVENT_PARTIAL, /* true | false */
	EVENT_DETAIL,  /* JSON */
	EVENT_FIELD_MAX
};

struct event_row {
	struct text field[EVENT_FIELD_MAX]; /* ptr NULL: SQL's NULL */
};

/* The SQL expression over waybill.events that gives each field as text. */
extern const char *const event_row_sql[EVENT_FIELD_MAX];

/* Is the field neither NULL nor empty? */
bool event_row_has(const struct event_row *row, enum event_field field);

#endif
