#ifndef TESTS_ORACLE_H
#define TESTS_ORACLE_H

/* What libopendkim, which shares no code with the signer, says of a signed message. */

#include "common/text.h"

struct oracle;

/* KEYS is a file with one line "selector._domainkey.domain v=DKIM1; …" for each key: no DNS is asked. */
struct oracle *oracle_new(const char *keys);
void oracle_free(struct oracle **oracle);
/* Does MESSAGE (as on the wire, CRLF) carry exactly SIGNATURES signatures that all verify? NULL, or what is wrong. */
const char *oracle_verify(struct oracle *oracle, struct text message, int signatures);
/* Appends what libopendkim, as a signer with KEY (PEM), puts into bh= for BODY in relaxed form, given to it in parts of CHUNK
 * bytes. NULL, or what is wrong. */
const char *oracle_body_hash(struct oracle *oracle, struct text key, struct text body, size_t chunk,
			     struct buffer *out);

#endif
