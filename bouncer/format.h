#ifndef BOUNCER_FORMAT_H
#define BOUNCER_FORMAT_H

/* An event as the body of a webhook, in the endpoint's format. A core.
 *
 * A body is a function of the event's row, which nothing changes but waybill.erase_address, so a body stays the same between
 * attempts and nobody has to store it. What is erased is not posted any more either: then the next attempt has the same id and
 * a body without it. The formats of other providers let a customer move here by changing a URL: their names for things, their
 * types of values, what a receiver written for them reads. What they have no word for keeps our type's name. */

#include "bouncer/event_row.h"

enum format {
	FORMAT_WAYBILL,  /* the native one: Standard Webhooks 1.0 around the event */
	FORMAT_SENDGRID, /* Twilio SendGrid's Event Webhook: an array, of one event if not of a batch */
	FORMAT_MAILGUN,  /* Mailgun's event-data; envelope.h puts the signature beside it */
	FORMAT_POSTMARK, /* Postmark's Delivery, Bounce, SpamComplaint and SubscriptionChange webhooks */
	FORMAT_SES,      /* Amazon SES's event publishing: the inner JSON, without the SNS envelope */
	FORMAT_MAX
};

/* As in waybill.endpoints.format; NULL-terminated. */
extern const char *const format_names[];
/* FORMAT_MAX when there is none of that NAME. */
enum format format_of(struct text name);

/* Appends the body to OUT. */
void format_body(enum format format, const struct event_row *row, struct buffer *out);

/* Can several events be one body? */
bool format_has_batches(enum format format);
/* Appends the body of a batch called ID, of COUNT events (one at least): SendGrid's array, or the native envelope around
 * the native bodies, with the time of the last. */
void format_batch(enum format format, struct text id, const struct event_row *rows, size_t count, struct buffer *out);

#endif
