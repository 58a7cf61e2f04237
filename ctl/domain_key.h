#ifndef CTL_DOMAIN_KEY_H
#define CTL_DOMAIN_KEY_H

/* The keys of a domain in Postgres: making, sealing, activating. Each returns 0, or an exit status after
 * printing why. */

#include "common/directory_record.h"

struct ctl;
struct seal;

/* The seal under [ctl] seal_key; NULL after printing why, with *STATUS. The caller closes it. */
struct seal *domain_seal_open(struct ctl *ctl, int *status);
/* Makes a key for DOMAIN in state pending, sealed, under the next free selector (or slot, in mode cname). */
int domain_key_add(struct ctl *ctl, const char *domain, enum directory_key_algorithm algorithm, bool cname);
/* Seals SECRET and inserts it as a key in STATE. */
int domain_key_insert(struct ctl *ctl, const struct seal *seal, const char *domain, const char *selector,
		      enum directory_key_algorithm algorithm, const char *state, struct text secret,
		      struct text public_key);
/* Makes the pending key the signing one; the former begins to retire. DNS is the caller's to have asked. */
int domain_key_activate(struct ctl *ctl, const char *domain, const char *selector);

#endif
