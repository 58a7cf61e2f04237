#ifndef BOUNCER_EVENT_ASCII_H
#define BOUNCER_EVENT_ASCII_H

#include "bouncer/event.h"

/* Internationalised recipients (SMTPUTF8, RFC 6531) as the directory has them: suppressions and dead domains stand under
 * A-labels, and policyd looks these up. A shell: libidn2. */

/* ADDRESS with its domain as A-labels in OUT, where it may stand already; ADDRESS itself when its domain is ASCII, refused by
 * IDNA, or too long. */
struct text event_address_ascii(struct text address, char out[EVENT_ADDRESS_SIZE]);
/* event_row_of(), the recipient by event_address_ascii(). */
void event_row_ascii(const struct event *event, struct event_texts *texts, struct event_row *row);

#endif
