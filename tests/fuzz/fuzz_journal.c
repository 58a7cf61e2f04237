/* Any stream: it gives the same entries in one piece and in pieces (the first byte says how large), none longer than it may
 * be, and their lines hold no line end. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "bouncer/journal_entry.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_all(struct text stream, size_t piece, struct buffer *out)
{
	struct journal_entry entry = {0};
	while (stream.len) {
		struct text part = text_head(stream, piece);
		stream = text_from(stream, part.len);
		while (journal_entry_next(&entry, &part)) {
			size_t start = out->len;
			bool postfix = journal_entry_line(&entry, TEXT("postfix"), out);
			if ((!postfix && out->len != start) ||
			    text_find(text_from(buffer_view(out), start), '\n') != SIZE_MAX)
				abort();
			for (size_t i = 0; i < JOURNAL_FIELD_MAX; i++)
				if (entry.field[i].len > JOURNAL_FIELD_BYTES)
					abort();
			buffer_char(out, '\n');
		}
	}
	journal_entry_free(&entry);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buffer whole = {0}, pieces = {0};
	if (!size)
		return 0;
	read_all(text_at(data + 1, size - 1), size, &whole);
	read_all(text_at(data + 1, size - 1), 1 + data[0] % 64, &pieces);
	if (!text_equal(buffer_view(&whole), buffer_view(&pieces)))
		abort();
	buffer_free(&whole);
	buffer_free(&pieces);
	return 0;
}
