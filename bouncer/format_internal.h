#ifndef BOUNCER_FORMAT_INTERNAL_H
#define BOUNCER_FORMAT_INTERNAL_H

#include "common/json.h"

#include "bouncer/format.h"

/* A JSON member that is a field of the event. */
struct format_member {
	const char *key;
	enum event_field field;
	bool raw; /* number, boolean or JSON: goes in without quotes */
};

/* The members one after another. */
void format_members(struct json *json, const struct event_row *row, const struct format_member *members, size_t count);

/* What the event is, for formats that have other words for it. */
enum format_kind {
	KIND_ACCEPTED,
	KIND_DELIVERED,
	KIND_DEFERRED,
	KIND_BOUNCED,
	KIND_REJECTED,
	KIND_DROPPED,
	KIND_COMPLAINED,
	KIND_UNSUBSCRIBED,
	KIND_OTHER,
	KIND_MAX
};

enum format_kind format_kind(const struct event_row *row);

/* The providers' words for a bounce, by our category (facts on bounces: PowerMTA, SendGrid, Sisimai side by side). */
struct format_bounce {
	const char *category;
	const char *sendgrid; /* bounce_classification */
	const char *postmark; /* Type, and its TypeCode */
	int postmark_code;
	const char *ses; /* bounceSubType */
};

/* Never NULL: the last row is for what is not in the table. */
const struct format_bounce *format_bounce(const struct event_row *row);
/* A final failure that says nothing about the recipient: SendGrid's and Postmark's "blocked". */
bool format_blocked(const struct event_row *row);
/* Is the failure final, by its class? */
bool format_permanent(const struct event_row *row);
/* The field, or the empty text instead of NULL. */
struct text format_text(const struct event_row *row, enum event_field field);
/* What there is to say about the failure: the remote's reply, else Postfix's own words. */
struct text format_reason(const struct event_row *row);
/* The message id in angle brackets, as SendGrid and SES write it; appended to OUT. */
void format_message_id(const struct event_row *row, struct buffer *out);

void format_waybill(const struct event_row *row, struct buffer *out);
void format_waybill_batch(struct text id, const struct event_row *rows, size_t count, struct buffer *out);
void format_sendgrid(const struct event_row *row, struct buffer *out);
void format_sendgrid_batch(struct text id, const struct event_row *rows, size_t count, struct buffer *out);
void format_mailgun(const struct event_row *row, struct buffer *out);
void format_postmark(const struct event_row *row, struct buffer *out);
void format_ses(const struct event_row *row, struct buffer *out);

#endif
