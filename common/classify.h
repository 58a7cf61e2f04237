#ifndef COMMON_CLASSIFY_H
#define COMMON_CLASSIFY_H

/* Why a delivery failed, and about whom: category, scope, class and the rule that said so. The same words always give the
 * same verdict; no clock, nothing but the rules and the reply.
 *
 * The order of evidence is the order of the rules (bouncer/rules): Postfix's own reasons; words of providers; words that
 * mean our address, our domain or the message (they win over all that follows: "550 5.2.1 Mailbox unavailable. Your IP
 * address is blacklisted" is not about the mailbox); words about the recipient; the enhanced code (RFC 3463, RFC 5248)
 * with the stage; the reply code with the stage; else undetermined. Where words and code disagree, the milder wins. */

#include "common/bounce.h"
#include "common/rules.h"

struct reply_facts {
	struct text words;                     /* what was said, with its codes */
	uint32_t code;                         /* reply code; 0: take the one that the words begin with */
	struct text enhanced, remote_enhanced; /* the final status; the remote's own, empty: that in the words */
	struct text stage, relay;              /* "RCPT TO", …; the host that answered */
	bool own;                              /* Postfix's own words: nobody else spoke, words have no code */
	bool final;                            /* the message failed for good; else it is tried again */
	bool expired;                          /* final because Postfix gave up */
};

void classify(const struct rules *rules, const struct reply_facts *facts, struct verdict *out);

/* The same, telling VISIT of each rule whose words were there: RULE, and why it did not speak, NULL for the one that did. */
typedef void classify_visit(void *context, const char *rule, const char *place, const char *why_not);
void classify_explain(const struct rules *rules, const struct reply_facts *facts, struct verdict *out,
		      classify_visit *visit, void *context);

/* What rules are matched against (common/rules.h); appended to OUT. At most CLASSIFY_MAX_WORDS bytes of WORDS are read. */
#define CLASSIFY_MAX_WORDS 4096
void classify_normalise(struct text words, struct buffer *out);

/* The first enhanced code in WORDS, "5.1.1"; empty when there is none. */
struct text classify_enhanced(struct text words);

/* The stage that WORDS name themselves: "… (in reply to RCPT TO command)", "after end of data", ">>> DATA"; empty when they
 * do not. */
struct text classify_stage(struct text words);

/* The provider that answered, by the relay's name or its words: "google", "microsoft", …; empty when unknown. */
struct text classify_provider(struct text relay, struct text words);

#endif
