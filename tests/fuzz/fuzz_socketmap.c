/* Questions to the socketmap service: whatever arrives, and however it is split, the same ones are found in it. */

#include <stdlib.h>

#include "policyd/socketmap.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* How many questions stand in BYTES, which arrive STEP at a time, before the end or a mistake; *END where they end. */
static int take_all(struct text bytes, size_t step, size_t *end)
{
	int found = 0;
	size_t done = 0;
	for (size_t have = step; done < bytes.len; have += step) {
		struct socketmap_question question;
		size_t len;
		struct text rest = text_from(text_head(bytes, have), done);
		const char *why;
		while (!(why = socketmap_take(rest, &len, &question)) && len) {
			if (question.map.len + question.key.len > len)
				abort();
			found++;
			done += len;
			rest = text_from(rest, len);
		}
		if (why || have >= bytes.len)
			break;
	}
	*end = done;
	return found;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2)
		return 0;
	size_t end_whole, end_split;
	struct text bytes = text_at(data + 1, size - 1);
	if (take_all(bytes, bytes.len, &end_whole) != take_all(bytes, data[0] % 16 + 1, &end_split) ||
	    end_whole != end_split)
		abort();
	return 0;
}
