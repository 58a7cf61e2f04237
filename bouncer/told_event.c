#include <endian.h>
#include <string.h>

#include "bouncer/event.h"
#include "bouncer/told_event.h"

/* src/include/catalog/pg_type.dat */
#define OID_TEXT        25
#define OID_TIMESTAMPTZ 1184

/* Postgres counts from 2000-01-01. */
#define POSTGRES_EPOCH_US (INT64_C(946684800) * 1000000)

/* The type's columns in its order. */
static const enum event_field columns[] = {
	EVENT_ID,
	EVENT_TYPE,
	EVENT_TIME,
	EVENT_HOST,
	EVENT_INSTANCE,
	EVENT_QUEUE_ID,
	EVENT_ORIG_QUEUE_ID,
	EVENT_MESSAGE_ID,
	EVENT_SENDER,
	EVENT_RECIPIENT,
	EVENT_ORIG_RECIPIENT,
	EVENT_RECIPIENT_DOMAIN,
	EVENT_SASL_USERNAME,
	EVENT_CLIENT_IP,
	EVENT_SIZE,
	EVENT_ATTEMPT,
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
	EVENT_BOUNCE_ASYNC,
	EVENT_BOUNCE_RULE,
	EVENT_REASON,
	EVENT_TRUNCATED,
	EVENT_SOURCE_KIND,
	EVENT_PARTIAL,
	EVENT_DETAIL,
};
#define COLUMNS (sizeof columns / sizeof *columns)

static void add_int32(struct buffer *out, uint32_t value)
{
	value = htobe32(value);
	buffer_add(out, &value, sizeof value);
}

static void put_int32(struct buffer *out, size_t at, size_t value)
{
	uint32_t number = htobe32((uint32_t)value);
	memcpy(out->ptr + at, &number, sizeof number);
}

/* The length of the start of T that Postgres takes. */
static size_t clean(struct text t)
{
	size_t len = text_utf8_head(t), nul = text_find(text_head(t, len), '\0');
	return nul < len ? nul : len;
}

static void add_clean(struct buffer *out, struct text value)
{
	for (;;) {
		size_t len = clean(value);
		buffer_text(out, text_head(value, len));
		if (len == value.len)
			return;
		buffer_text(out, TEXT("\xef\xbf\xbd"));
		value = text_from(value, len + 1);
	}
}

static void add_text(struct buffer *out, struct text value)
{
	add_int32(out, OID_TEXT);
	size_t at = out->len;
	add_int32(out, UINT32_MAX); /* NULL */
	if (!value.ptr)
		return;
	add_clean(out, value);
	put_int32(out, at, out->len - at - sizeof(uint32_t));
}

static void add_time(struct buffer *out, int64_t time_us)
{
	uint64_t number = htobe64((uint64_t)(time_us - POSTGRES_EPOCH_US));
	add_int32(out, OID_TIMESTAMPTZ);
	add_int32(out, sizeof number);
	buffer_add(out, &number, sizeof number);
}

void told_event_add(const struct event_row *row, int64_t time_us, struct buffer *out)
{
	size_t at = out->len;
	add_int32(out, 0); /* the length, known below */
	add_int32(out, COLUMNS);
	for (size_t i = 0; i < COLUMNS; i++)
		if (columns[i] == EVENT_TIME)
			add_time(out, time_us);
		else
			add_text(out, row->field[columns[i]]);
	put_int32(out, at, out->len - at - sizeof(uint32_t));
}

static uint32_t take_int32(const char **at)
{
	uint32_t value;
	memcpy(&value, *at, sizeof value);
	*at += sizeof value;
	return be32toh(value);
}

static struct text take_value(const char **at)
{
	take_int32(at); /* the type */
	uint32_t len = take_int32(at);
	if (len == UINT32_MAX)
		return (struct text){0};
	struct text value = text_at(*at, len);
	*at += len;
	return value;
}

void told_event_read(const char *bytes, char time[40], struct event_row *row)
{
	*row = (struct event_row){0};
	bytes += 2 * sizeof(uint32_t); /* length and number of columns */
	for (size_t i = 0; i < COLUMNS; i++)
		row->field[columns[i]] = take_value(&bytes);
	uint64_t number;
	memcpy(&number, row->field[EVENT_TIME].ptr, sizeof number);
	event_time((int64_t)be64toh(number) + POSTGRES_EPOCH_US, time);
	row->field[EVENT_TIME] = text_of(time);
}

void told_event_array(uint32_t type, struct text elements, size_t count, struct buffer *out)
{
	add_int32(out, count > 0); /* dimensions */
	add_int32(out, 0);         /* no NULLs */
	add_int32(out, type);
	if (count) {
		add_int32(out, (uint32_t)count);
		add_int32(out, 1); /* the first one's subscript */
		buffer_text(out, elements);
	}
}
