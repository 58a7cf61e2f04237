#ifndef COMMON_EVENT_ID_H
#define COMMON_EVENT_ID_H

/* Deterministic event ids: reading the same log again gives the same ids (facts on events, The event). A core: the
 * caller hashes. */

#include "common/text.h"

struct event_identity {
	struct text host, instance, queue_id, recipient, type;
	int64_t session_start_us; /* microseconds since 1970: when the queue session was first seen */
	uint32_t ordinal;         /* of this type for this recipient in this session, from 0 */
};

/* Appends the bytes whose SHA-256 identifies the event: each field with its length in front. */
void event_id_material(const struct event_identity *identity, struct buffer *out);
/* "evt_" and base32 of the first 16 bytes of DIGEST; OUT has EVENT_ID_SIZE bytes. */
#define EVENT_ID_SIZE 31
void event_id_print(const unsigned char digest[32], char out[EVENT_ID_SIZE]);

#endif
