#ifndef BOUNCER_REPORT_H
#define BOUNCER_REPORT_H

/* What a mail that came back says: a bounce (RFC 3464, and the usual forms that are older or know nothing of it), a
 * complaint (RFC 5965, RFC 9477), an automatic reply (RFC 3834), somebody who unsubscribes (RFC 2369), or something else.
 * A core. It believes the mail: whether it may be believed is told by its envelope (report_origin.h), and whom it may be
 * about by the message that it answers (report_claim_settle()). */

#include "bouncer/report_mail.h"

enum report_kind {
	REPORT_OTHER,       /* nothing of this */
	REPORT_BOUNCE,      /* failed for good, for those of its recipients that say so */
	REPORT_PROGRESS,    /* a delivery status without a failure: delayed, delivered, relayed */
	REPORT_COMPLAINT,   /* the recipient calls it spam */
	REPORT_FEEDBACK,    /* a feedback report that is no complaint: not-spam, auth-failure */
	REPORT_AUTOREPLY,   /* a machine answered: away, received, … */
	REPORT_UNSUBSCRIBE, /* the recipient wants no more */
	REPORT_KIND_MAX
};
extern const char *const report_kind_words[REPORT_KIND_MAX];

struct report_recipient {
	struct text address, original; /* as the report has them; empty: not said */
	struct text status;            /* enhanced code, "5.1.1"; empty: none */
	struct text said;              /* what the server said, at most REPORT_MAX_SAID bytes */
	struct text relay;             /* the host that said it */
	struct text stage;             /* "RCPT TO"; empty: not known */
	uint32_t code;                 /* reply code; 0: none */
	bool failed;                   /* for good */
	bool expired;                  /* given up after its time */
};

/* A message of ours goes to no more recipients at one server; what is beyond is counted only. */
#define REPORT_MAX_RECIPIENTS 128
#define REPORT_MAX_SAID       2000
/* Bytes of a notice for people that are read. */
#define REPORT_MAX_NOTICE 65536

struct report {
	enum report_kind kind;
	struct report_recipient recipient[REPORT_MAX_RECIPIENTS];
	size_t count, left_out;
	struct text from, subject;  /* of the mail */
	struct text message_id;     /* of the message it is about, without brackets */
	struct text feedback_type;  /* "abuse", … */
	struct text reporter;       /* Reporting-MTA, or User-Agent of a feedback report */
	struct buffer words, plain; /* of the notice; and of its HTML, where it has nothing else */
};

/* Fills *OUT with views into MAIL, which must live as long. UNSUBSCRIBES: it came to an address that is for nothing else,
 * so that any mail there which is no bounce or complaint unsubscribes. report_free() it. */
void report_read(const struct report_mail *mail, bool unsubscribes, struct report *out);
void report_free(struct report *report);

/* Whom of a message's recipients a report is about: CLAIM is what the report says, MATCH the recipient of the message that
 * is or was called so (empty: none), ONLY the message's recipient when it has one alone. A report cannot name anybody whom
 * the message did not go to; a message to one recipient comes back because of that one, whatever it was forwarded to. */
struct text report_settle(struct text match_of_original, struct text match_of_address, struct text only);

#endif
