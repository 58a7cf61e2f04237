/* Any From field: no crash, and an accepted address is a fixed point that the address parser takes. */

#include <stdlib.h>
#include <string.h>

#include "milter/from.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char first[FROM_ADDRESS_SIZE], again[FROM_ADDRESS_SIZE];
	struct addr address;
	if (from_parse(text_at(data, size), first) != NULL)
		return 0;
	if (addr_parse(text_of(first), &address) != NULL)
		abort();
	if (from_parse(text_of(first), again) != NULL || strcmp(first, again) != 0)
		abort();
	return 0;
}
