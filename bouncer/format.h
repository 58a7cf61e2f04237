#ifndef BOUNCER_FORMAT_H
#define BOUNCER_FORMAT_H

/* An event as the body of a webhook, in the endpoint's format. A core.
 *
 * A body is a function of the event's row, which never changes, so a body never changes between attempts and nobody has
 * to store it. */

#include "bouncer/event_row.h"

enum format {
	FORMAT_WAYBILL, /* the native one: Standard Webhooks 1.0 around the event */
	FORMAT_MAX
};

/* As in waybill.endpoints.format; NULL-terminated. */
extern const char *const format_names[];
/* FORMAT_MAX when there is none of that NAME. */
enum format format_of(struct text name);

/* Appends the body to OUT. */
void format_body(enum format format, const struct event_row *row, struct buffer *out);

#endif
