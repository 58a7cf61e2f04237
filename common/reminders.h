#ifndef COMMON_REMINDERS_H
#define COMMON_REMINDERS_H

/* What has been told of lately, so that it is not told again at once. A core: a table of fixed size, in which a newer entry
 * may push an older one out, whose matter is then told of once more. Not thread-safe. */

#include "common/text.h"

#define REMINDERS_MAX 4096

/* Zero-initialised it is empty. */
struct reminders {
	struct {
		uint64_t what;
		int64_t until_s;
	} slots[REMINDERS_MAX];
};

/* A name for what is told of: PART and NUMBER added to the name so far, 0 at first. */
uint64_t reminders_name(uint64_t name, struct text part, int64_t number);
/* Is WHAT due at NOW_S? Then it is not again before UNTIL_S. */
bool reminders_due(struct reminders *reminders, uint64_t what, int64_t now_s, int64_t until_s);

#endif
