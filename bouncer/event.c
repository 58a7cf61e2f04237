#include <stdio.h>
#include <string.h>

#include "common/addr.h"

#include "bouncer/event.h"

const char *const event_type_words[EVENT_TYPE_MAX + 1] = {
	[TYPE_ACCEPTED] = "message.accepted", [TYPE_DELIVERED] = "message.delivered",
	[TYPE_DEFERRED] = "message.deferred", [TYPE_BOUNCED] = "message.bounced",
	[TYPE_REJECTED] = "message.rejected", [TYPE_DROPPED] = "message.dropped",
	[TYPE_HELD] = "message.held",         [TYPE_RELEASED] = "message.released",
	[TYPE_LOG_GAP] = "log.gap",
};

bool event_suppresses(const struct event *event)
{
	enum bounce_consequence what = bounce_consequence(&event->verdict);
	return event->type == TYPE_BOUNCED && (what == CONSEQUENCE_PERMANENT || what == CONSEQUENCE_TEMPORARY);
}

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

size_t event_domain(struct text address, char out[EVENT_DOMAIN_SIZE])
{
	size_t at = text_rfind(address, '@');
	struct text domain = at == SIZE_MAX ? (struct text){0} : text_from(address, at + 1);
	if (domain.len >= EVENT_DOMAIN_SIZE)
		domain.len = 0;
	for (size_t i = 0; i < domain.len; i++)
		out[i] = lower(domain.ptr[i]);
	out[domain.len] = '\0';
	return domain.len;
}

struct text event_address(struct text address, char out[EVENT_ADDRESS_SIZE])
{
	size_t at = text_rfind(address, '@');
	if (at == SIZE_MAX || address.len >= EVENT_ADDRESS_SIZE)
		return address;
	memcpy(out, address.ptr, at);
	for (size_t i = at; i < address.len; i++)
		out[i] = lower(address.ptr[i]);
	return text_at(out, address.len);
}

/* Writes VALUE in WIDTH digits at least, backwards from END; the first digit. */
static char *digits(char *end, uint64_t value, int width)
{
	do {
		*--end = (char)('0' + value % 10);
		value /= 10;
	} while (--width > 0 || value);
	return end;
}

/* Civil date from days since 1970-01-01 (proleptic Gregorian). */
static void civil(int64_t days, int64_t *year, unsigned *month, unsigned *day)
{
	days += 719468;
	int64_t era = (days >= 0 ? days : days - 146096) / 146097;
	int64_t of_era = days - era * 146097;
	int64_t years = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
	int64_t of_year = of_era - (365 * years + years / 4 - years / 100);
	int64_t shifted = (5 * of_year + 2) / 153;
	*day = (unsigned)(of_year - (153 * shifted + 2) / 5 + 1);
	*month = (unsigned)(shifted < 10 ? shifted + 3 : shifted - 9);
	*year = years + era * 400 + (*month <= 2);
}

void event_time(int64_t us, char out[40])
{
	int64_t seconds = us / 1000000 - (us % 1000000 < 0), days = seconds / 86400 - (seconds % 86400 < 0), year;
	uint64_t fraction = (uint64_t)(us - seconds * 1000000), of_day = (uint64_t)(seconds - days * 86400);
	unsigned month, day;
	civil(days, &year, &month, &day);
	memcpy(out, "0000-00-00T00:00:00.000000Z", 28);
	digits(out + 4, (uint64_t)(year < 0 ? 0 : year % 10000), 4);
	digits(out + 7, month, 2);
	digits(out + 10, day, 2);
	digits(out + 13, of_day / 3600, 2);
	digits(out + 16, of_day / 60 % 60, 2);
	digits(out + 19, of_day % 60, 2);
	digits(out + 26, fraction, 6);
}

/* The number at the end of the SIZE bytes at ROOM; NULL's text for UNKNOWN. */
static struct text number(char *room, size_t size, uint64_t value, bool known)
{
	if (!known)
		return (struct text){0};
	char *start = digits(room + size, value, 1);
	return text_at(start, (size_t)(room + size - start));
}

/* Seconds with up to three decimals, as short as they can be. */
static struct text seconds(char room[24], double value)
{
	if (!(value >= 0) || value > 1e9)
		return (struct text){0};
	uint64_t thousandths = (uint64_t)(value * 1000 + 0.5);
	char *end = room + 24, *start = digits(end, thousandths % 1000, 3);
	*--start = '.';
	start = digits(start, thousandths / 1000, 1);
	while (end[-1] == '0')
		end--;
	if (end[-1] == '.')
		end--;
	return text_at(start, (size_t)(end - start));
}

static struct text word(const char *value)
{
	return value && *value ? text_of(value) : (struct text){0};
}

/* Of a column that is never NULL: a log.gap has no queue id. */
static struct text there(struct text t)
{
	return t.ptr ? t : TEXT("");
}

static struct text some(struct text t)
{
	return t.len ? t : (struct text){0};
}

static void who(const struct event *e, struct event_texts *t, struct event_row *row)
{
	row->field[EVENT_MESSAGE_ID] = some(e->message_id);
	row->field[EVENT_SENDER] = e->has_sender ? event_address(e->sender, t->sender) : (struct text){0};
	if (e->has_sender && !e->sender.len)
		row->field[EVENT_SENDER] = TEXT("");
	row->field[EVENT_RECIPIENT] = some(event_address(e->recipient, t->recipient));
	row->field[EVENT_ORIG_RECIPIENT] = some(event_address(e->orig_recipient, t->orig));
	row->field[EVENT_RECIPIENT_DOMAIN] = some(text_at(t->domain, event_domain(e->recipient, t->domain)));
	row->field[EVENT_SASL_USERNAME] = some(e->login);
	row->field[EVENT_CLIENT_IP] = some(e->client_ip);
	row->field[EVENT_SIZE] = number(t->size, sizeof t->size, e->size, e->size != 0);
	row->field[EVENT_ATTEMPT] = number(t->attempt, sizeof t->attempt, e->attempt, e->attempt != 0);
}

static void attempt(const struct event *e, struct event_texts *t, struct event_row *row)
{
	row->field[EVENT_SMTP_CODE] = number(t->code, sizeof t->code, e->code, e->code != 0);
	row->field[EVENT_ENHANCED_CODE] = some(e->dsn);
	row->field[EVENT_REMOTE_ENHANCED_CODE] = some(e->remote_dsn);
	row->field[EVENT_STAGE] = some(e->stage);
	row->field[EVENT_RESPONSE] = some(e->response);
	row->field[EVENT_REMOTE_MX] = some(e->remote_mx);
	row->field[EVENT_REMOTE_IP] = some(e->remote_ip);
	row->field[EVENT_REMOTE_PORT] = number(t->port, sizeof t->port, e->remote_port, e->remote_port != 0);
	row->field[EVENT_REMOTE_TLS] = some(e->tls);
	row->field[EVENT_PROVIDER] = some(e->provider);
	row->field[EVENT_DELAY_TOTAL] = seconds(t->delay[0], e->delay);
	for (size_t i = 0; i < EVENT_DELAYS; i++)
		row->field[EVENT_DELAY_QUEUE + i] = seconds(t->delay[1 + i], e->delays[i]);
	row->field[EVENT_REASON] = some(e->reason);
	row->field[EVENT_TRUNCATED] = e->truncated ? TEXT("true") : TEXT("false");
}

static void judgement(const struct event *e, struct event_row *row)
{
	row->field[EVENT_BOUNCE_CLASS] = word(bounce_class_words[e->verdict.class]);
	row->field[EVENT_BOUNCE_CATEGORY] = word(bounce_category_words[e->verdict.category]);
	row->field[EVENT_BOUNCE_SCOPE] = word(bounce_scope_words[e->verdict.scope]);
	row->field[EVENT_BOUNCE_RULE] = word(e->verdict.rule);
	row->field[EVENT_BOUNCE_ASYNC] = e->verdict.class ? TEXT("false") : (struct text){0};
}

void event_row_of(const struct event *e, struct event_texts *t, struct event_row *row)
{
	*row = (struct event_row){0};
	event_time(e->time_us, t->time);
	row->field[EVENT_ID] = word(e->id);
	row->field[EVENT_TYPE] = text_of(event_type_words[e->type]);
	row->field[EVENT_TIME] = text_of(t->time);
	row->field[EVENT_SECONDS] =
		number(t->seconds, sizeof t->seconds, (uint64_t)(e->time_us / 1000000), e->time_us >= 0);
	row->field[EVENT_HOST] = there(e->host);
	row->field[EVENT_INSTANCE] = there(e->instance);
	row->field[EVENT_QUEUE_ID] = there(e->queue_id);
	row->field[EVENT_ORIG_QUEUE_ID] = some(e->orig_queue_id);
	who(e, t, row);
	attempt(e, t, row);
	judgement(e, row);
	row->field[EVENT_SOURCE_KIND] = TEXT("log");
	row->field[EVENT_PARTIAL] = e->partial ? TEXT("true") : TEXT("false");
	row->field[EVENT_DETAIL] = some(e->detail);
}
