#include <string.h>

#include "common/idn.h"

#include "bouncer/event_ascii.h"

static bool is_ascii(struct text t)
{
	for (size_t i = 0; i < t.len; i++)
		if ((unsigned char)t.ptr[i] >= 0x80)
			return false;
	return true;
}

struct text event_address_ascii(struct text address, char out[EVENT_ADDRESS_SIZE])
{
	char ascii[EVENT_DOMAIN_SIZE];
	size_t at = text_rfind(address, '@');
	struct text domain = at == SIZE_MAX ? (struct text){0} : text_from(address, at + 1);
	if (is_ascii(domain) || idn_to_ascii(domain, ascii, sizeof ascii) ||
	    at + 1 + strlen(ascii) > EVENT_ADDRESS_SIZE)
		return address;
	memmove(out, address.ptr, at + 1);
	memcpy(out + at + 1, ascii, strlen(ascii));
	return text_at(out, at + 1 + strlen(ascii));
}

void event_row_ascii(const struct event *event, struct event_texts *texts, struct event_row *row)
{
	event_row_of(event, texts, row);
	if (is_ascii(row->field[EVENT_RECIPIENT_DOMAIN]))
		return;
	struct text recipient = event_address_ascii(row->field[EVENT_RECIPIENT], texts->recipient);
	row->field[EVENT_RECIPIENT] = recipient;
	row->field[EVENT_RECIPIENT_DOMAIN] = text_at(texts->domain, event_domain(recipient, texts->domain));
}
