#ifndef MILTER_SUBMITTERS_H
#define MILTER_SUBMITTERS_H

/* Whose mail it is that comes without a login, by where it comes from: "NETWORK=LOGIN, …, LOGIN". The first network that
 * holds the client's address decides; a login by itself stands for the rest. A core. */

#include "common/text.h"

/* NULL, or what is wrong with LIST. */
const char *submitters_check(struct text list);
/* A view of LIST, which submitters_check() has found right; empty: nobody. CLIENT may be no address, or empty. */
struct text submitters_find(struct text list, struct text client);

#endif
