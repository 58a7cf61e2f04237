#ifndef TESTS_SIGNING_H
#define TESTS_SIGNING_H

/* Signs whole messages in memory with the milter's own parts, as the end of a message does; and makes random ones. */

#include "milter/session.h"
#include "milter/signer.h"

/* tests/golden/milter holds these keys; they are used nowhere else. */
#define SIGNING_DOMAIN "example.com"
#define SIGNING_KEYS   "tests/golden/milter/keys"

struct signing_keys {
	struct signer_key *keys[DIRECTORY_ALGORITHM_MAX];
};
void signing_open(struct signing_keys *keys);
void signing_close(struct signing_keys *keys);

struct signing_request {
	struct text message; /* header, empty line, body; lines end with CRLF */
	enum directory_header_profile profile;
	unsigned algorithms; /* bit set of 1 << enum directory_key_algorithm */
	int64_t signed_at, expires_at;
	size_t chunk; /* how many bytes of the body are handed over at once */
};
/* Appends the signature fields, each "DKIM-Signature: …" with CRLF, as they would go over the wire. */
void signing_sign(const struct signing_keys *keys, const struct signing_request *request, struct buffer *out);

/* Appends a message made of SEED: random names, folding, blanks, 8-bit, empty bodies, now and then 200 KB of header; with
 * OBSOLETE also blanks before colons (RFC 5322 section 4.5), which dkimpy does not read. */
void signing_generate(uint64_t seed, bool obsolete, struct buffer *out);

#endif
