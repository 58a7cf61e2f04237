#ifndef BOUNCER_FORMAT_INTERNAL_H
#define BOUNCER_FORMAT_INTERNAL_H

#include "bouncer/format.h"
#include "bouncer/json.h"

/* A JSON member that is a field of the event. */
struct format_member {
	const char *key;
	enum event_field field;
	bool raw; /* number, boolean or JSON: goes in without quotes */
};

/* The members one after another. */
void format_members(struct json *json, const struct event_row *row, const struct format_member *members, size_t count);

void format_waybill(const struct event_row *row, struct buffer *out);

#endif
