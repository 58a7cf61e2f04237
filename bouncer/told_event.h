#ifndef BOUNCER_TOLD_EVENT_H
#define BOUNCER_TOLD_EVENT_H

/* An event as waybill.told_event of Postgres (schema/0002_events.sql), and an array of them, in the binary form that
 * record_recv() and array_recv() of Postgres take: numbers in network order, each value behind its type and length. A
 * core. */

#include "bouncer/event_row.h"

/* Appends ROW to OUT as an element of an array. TIME_US, microseconds since 1970, is the one value that is no text. NUL and
 * what is not UTF-8 become U+FFFD: Postgres takes neither. */
void told_event_add(const struct event_row *row, int64_t time_us, struct buffer *out);
/* The element that begins at BYTES, as views into it; EVENT_TIME stands in TIME. */
void told_event_read(const char *bytes, char time[40], struct event_row *row);
/* Appends the array of COUNT elements to OUT. TYPE is the oid of waybill.told_event in this database. */
void told_event_array(uint32_t type, struct text elements, size_t count, struct buffer *out);

#endif
