#include <string.h>

#include "common/encode.h"
#include "common/event_id.h"
#include "common/text.h"

#define EVENT_ID_HASH_BYTES 16

static void add_number(struct buffer *out, uint64_t value, size_t bytes)
{
	while (bytes--)
		buffer_char(out, (char)(value >> (8 * bytes)));
}

static void add_field(struct buffer *out, struct text field)
{
	add_number(out, field.len, 4);
	buffer_text(out, field);
}

void event_id_material(const struct event_identity *identity, struct buffer *out)
{
	add_field(out, identity->host);
	add_field(out, identity->instance);
	add_number(out, (uint64_t)identity->session_start_us, 8);
	add_field(out, identity->queue_id);
	add_field(out, identity->recipient);
	add_number(out, identity->ordinal, 4);
	add_field(out, identity->type);
}

void event_id_print(const unsigned char digest[32], char out[EVENT_ID_SIZE])
{
	struct buffer text = {0};
	buffer_text(&text, TEXT("evt_"));
	encode_base32(text_at(digest, EVENT_ID_HASH_BYTES), &text);
	text_put(buffer_view(&text), out, EVENT_ID_SIZE);
	buffer_free(&text);
}
