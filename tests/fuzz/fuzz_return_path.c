/* Any local part: no crash; what is accepted is ours, and made again it is the same but for the case of its letters. */

#include <stdlib.h>
#include <string.h>

#include "common/return_path.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct text keys[] = {{"first", 5}, {"second", 6}};
	struct return_path found;
	char local[RETURN_PATH_LOCAL_SIZE];
	unsigned char named[RETURN_PATH_CUSTOMER];
	struct text given = text_at(data, size);
	bool names = return_path_names(given, named);
	if (return_path_verify(keys, 2, given, &found) == NULL &&
	    (!found.queue_id[0] || strlen(found.queue_id) > RETURN_PATH_MAX_QUEUE_ID || !names ||
	     memcmp(named, found.customer, sizeof named) != 0))
		abort();
	/* The input as a queue id: made, it must verify. */
	if (return_path_make(keys[1], TEXT("acme"), TEXT("mx1"), given, local))
		return 0;
	if (return_path_verify(keys, 2, text_of(local), &found) || !text_equal(text_of(found.queue_id), given))
		abort();
	return 0;
}
