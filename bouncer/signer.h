#ifndef BOUNCER_SIGNER_H
#define BOUNCER_SIGNER_H

/* An endpoint's keys, ready to sign: preparing them costs more than a signature. Made with the endpoint's first attempt
 * and kept in it; for the thread that posts. */

#include "bouncer/delivery.h"

struct signer;

/* ENDPOINT's own. It goes with the endpoint. */
struct signer *signer_of(struct endpoint *endpoint);
/* Appends the value of webhook-signature: of each kind two while the secret rotates. */
void signer_sign(struct signer *signer, struct text id, int64_t timestamp, struct text body, struct buffer *out);
/* The key of SendGrid's signature; NULL: the endpoint's format has none. */
const struct webhook_key *signer_p256(const struct signer *signer);

#endif
