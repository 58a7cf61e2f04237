/* Any body cut at any place gives the same canonical bytes, and those are a fixed point; so are canonical headers. */

#include <stdlib.h>
#include <string.h>

#include "milter/canon.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void gather(void *context, struct text bytes)
{
	buffer_text(context, bytes);
}

static struct buffer canon(struct text body, size_t chunk)
{
	struct buffer out = {0};
	struct canon_body state;
	canon_body_begin(&state, gather, &out);
	for (size_t at = 0; at < body.len; at += chunk)
		canon_body_add(&state, text_head(text_from(body, at), chunk));
	canon_body_end(&state);
	return out;
}

static void must_equal(const struct buffer *a, const struct buffer *b)
{
	if (!text_equal(buffer_view(a), buffer_view(b)))
		abort();
}

static void check_body(struct text body, size_t chunk)
{
	struct buffer whole = canon(body, body.len + 1), parts = canon(body, chunk),
		      again = canon(buffer_view(&whole), chunk);
	must_equal(&whole, &parts);
	must_equal(&whole, &again);
	buffer_free(&whole);
	buffer_free(&parts);
	buffer_free(&again);
}

static void check_header(struct text value)
{
	struct buffer once = {0}, twice = {0};
	canon_header(TEXT("Name "), value, &once);
	canon_header(TEXT("name"), text_from(buffer_view(&once), sizeof "name:" - 1), &twice);
	must_equal(&once, &twice);
	buffer_free(&once);
	buffer_free(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size)
		return 0;
	struct text rest = text_at(data + 1, size - 1);
	check_body(rest, 1U + data[0]);
	check_header(rest);
	return 0;
}
