/* Policy requests: whatever arrives, and however it is split, the same requests are found in it. */

#include <stdlib.h>

#include "policyd/request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Takes every request out of BYTES, which arrive STEP bytes at a time; the number of good ones, and *END where it stopped. */
static int take_all(struct text bytes, size_t step, size_t *end)
{
	int good = 0;
	size_t done = 0;
	struct request_scan scan = {0};
	for (size_t have = 0; have <= bytes.len; have += step) {
		struct request request;
		size_t len;
		while (!request_take(&scan, text_from(text_head(bytes, have), done), &len, &request) && len) {
			good++;
			for (int i = 0; i < REQUEST_ATTRIBUTE_MAX; i++)
				if (request.values[i].len > len)
					abort();
			done += len;
			scan = (struct request_scan){0};
		}
		if (have < bytes.len && have + step > bytes.len)
			have = bytes.len - step;
	}
	*end = done;
	return good;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1 || size > 4096)
		return 0;
	size_t end_whole, end_split, step = data[0] % 16 + 1;
	struct text bytes = text_at(data + 1, size - 1);
	if (bytes.len < step)
		return 0;
	if (take_all(bytes, bytes.len, &end_whole) != take_all(bytes, step, &end_split) || end_whole != end_split)
		abort();
	return 0;
}
