#ifndef BOUNCER_REPLY_H
#define BOUNCER_REPLY_H

/* Postfix's words about a delivery attempt, taken apart: what the remote host said, and when. A core. */

#include "common/text.h"

struct reply {
	struct text host, ip; /* who said it */
	uint32_t code;        /* 0: nobody said anything */
	struct text dsn;      /* the enhanced code in the reply's own words; empty: none */
	struct text response; /* all that was said, lines joined by a space as Postfix does */
	struct text stage;    /* "RCPT TO", "end of DATA", "connect", …; empty: not known */
};

/* REASON is what stands between the parentheses of a delivery line: "host NAME[IP] said: … (in reply to RCPT TO
 * command)", "host NAME[IP] refused to talk to me: …", "lost connection with … while …", "connect to …", a bare "250 …"
 * of a delivery, or words of Postfix's own. Fills *OUT with views into it. */
void reply_parse(struct text reason, struct reply *out);

/* An SMTP reply alone, "550-5.7.1 … 550 5.7.1 …": code, dsn and response of *OUT. */
void reply_text(struct text response, struct reply *out);

/* "NAME[IP]:PORT", "NAME[IP]", "NAME[private/lmtp]", "local", "none" of relay=. Not known: empty, 0. */
void reply_relay(struct text relay, struct text *host, struct text *ip, uint32_t *port);

#endif
