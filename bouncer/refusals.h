#ifndef BOUNCER_REFUSALS_H
#define BOUNCER_REFUSALS_H

/* Whose refusal was it? Before version 3.10 Postfix logs a refused recipient without the login; policyd's line in the event
 * spool has it, and both carry the refusal's id: "[sender-not-owned] id=k2x4pqmn". A core: remembers the last ids. */

#include "common/text.h"

struct refusals;

struct refusals *refusals_new(void);
void refusals_free(struct refusals **refusals);

/* Takes note of a line of policyd's spool; other lines are passed over. */
void refusals_add(struct refusals *refusals, struct text spool_line);

/* The id at the end of a refusal's words; empty: it is not one of policyd's. */
struct text refusals_id(struct text reason);

/* The login of refusal ID, a view until the next refusals_add(); empty: not known (any more), or there was none. */
struct text refusals_login(const struct refusals *refusals, struct text id);

#endif
