#include "common/reminders.h"

#define FNV_OFFSET UINT64_C(0xcbf29ce484222325) /* FNV-1a of 64 bits, draft-eastlake-fnv */
#define FNV_PRIME  UINT64_C(0x100000001b3)

uint64_t reminders_name(uint64_t name, struct text part, int64_t number)
{
	uint64_t hash = name ? name : FNV_OFFSET;
	for (size_t i = 0; i < part.len; i++)
		hash = (hash ^ (unsigned char)part.ptr[i]) * FNV_PRIME;
	for (unsigned shift = 0; shift < 64; shift += 8)
		hash = (hash ^ ((uint64_t)number >> shift & 0xff)) * FNV_PRIME;
	return hash;
}

bool reminders_due(struct reminders *reminders, uint64_t what, int64_t now_s, int64_t until_s)
{
	size_t slot = what % REMINDERS_MAX;
	if (reminders->slots[slot].what == what && reminders->slots[slot].until_s > now_s)
		return false;
	reminders->slots[slot].what = what;
	reminders->slots[slot].until_s = until_s;
	return true;
}
