#ifndef BOUNCER_CLASSIFY_H
#define BOUNCER_CLASSIFY_H

/* Why a delivery failed, and about whom: category, scope, class and the rule that said so. A core: an event in, a verdict
 * out; the same words always give the same verdict.
 *
 * The evidence in its order: Postfix's own reasons; words that mean our address, our domain or the message (they win
 * over everything that follows: "550 5.2.1 Mailbox unavailable. Your IP address is blacklisted" is not about the
 * mailbox); the text of a provider or of a common server; the enhanced code in the remote's reply (RFC 3463, RFC 5248)
 * together with the stage; the reply code together with the stage; else undetermined. */

#include "bouncer/event.h"

/* Fills *OUT for an event of type DEFERRED or BOUNCED; for any other type everything is none. */
void classify(const struct event *event, struct verdict *out);

/* What a rule is matched against: the words in lower case, lines of one reply joined without their codes, white space
 * as one blank. Appended to OUT. */
void classify_normalise(struct text words, struct buffer *out);

/* The provider that answered, by the relay's name or its words: "google", "microsoft", …; empty when unknown. */
struct text classify_provider(struct text remote_mx, struct text response);

#endif
