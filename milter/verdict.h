#ifndef MILTER_VERDICT_H
#define MILTER_VERDICT_H

/* The end of a message: everything that is known of it meets the directory, the keys and the counters, and comes out as
 * what to do. Knows no libmilter: whoever speaks the protocol carries the verdict out. */

#include <stdatomic.h>

#include "common/text.h"

#include "milter/complete.h"
#include "milter/reply.h"
#include "milter/session.h"
#include "milter/signer.h"

struct alarms;
struct counters;
struct directory;
struct keys;
struct metrics;
struct sampler;
struct spool;

/* What all sessions share; its parts are thread-safe. */
struct engine {
	struct directory *directory;
	struct counters *counters;
	struct keys *keys;
	struct metrics *metrics;   /* of stats.h; NULL: nothing is counted */
	struct sampler *sampler;   /* NULL: no message is checked */
	struct spool *spool;       /* of events; NULL: none is kept */
	struct alarms *alarms;     /* of keys and signatures */
	struct warnings *warnings; /* of limits; NULL: none is given */
	const char *node;
	_Atomic int64_t signature_lifetime_s; /* x= is t= plus this; 0: no x= */
	_Atomic int unsafe;                   /* enum verdict_unsafe */
	struct complete_options complete;
	/* Whose mail it is that comes without a login: empty: nobody's, it is left as it is. */
	struct text submitters;       /* submitters.h */
	struct text return_path_host; /* of the envelope senders of customers with return_path; empty: none changes */
	struct text return_path_key;  /* common/return_path.h; empty: there are no tokens */
	struct text relay_domain;     /* signs as well, with the keys it has in the directory; empty: it does not */
};

/* What happens to a message that mail servers will change on its way (survival.h). */
enum verdict_unsafe { VERDICT_UNSAFE_IGNORE, VERDICT_UNSAFE_REPORT, VERDICT_UNSAFE_REFUSE };

enum verdict_action {
	VERDICT_IGNORE, /* mail without a login: left as it is, but for fields that are ours */
	VERDICT_ACCEPT, /* signed, or of a domain without a key */
	VERDICT_HOLD,   /* as ACCEPT, into Postfix's hold queue */
	VERDICT_REFUSE, /* with reply */
	VERDICT_MAX
};

/* Each algorithm for the author's domain, and for the relay's. */
#define VERDICT_MAX_SIGNATURES 4

struct verdict {
	enum verdict_action action;
	struct text login; /* whose message it is, a view of the session or the engine; empty: nobody's */
	struct reply reply;
	struct buffer signatures[VERDICT_MAX_SIGNATURES]; /* values of DKIM-Signature fields, topmost last */
	size_t signature_count;
	struct buffer sender; /* the envelope sender instead of the application's, in brackets; empty: it stays */
	struct fields added;  /* to add at the end of the header; the signatures cover them */
	char hold_reason[128];
	struct buffer log; /* "customer=…, login=…, action=…", without the queue id */
};

/* Decides about the message in SESSION with queue id QUEUE_ID, whose canonical body hashes to BODY_HASH, at NOW_S.
 * Charges its limits, or gives back what policyd charged. Fields that the message lacks go into SESSION too. *OUT is zero before; free it with verdict_free(). */
void verdict_reach(struct engine *engine, struct session *session, struct text queue_id,
		   const unsigned char body_hash[SIGNER_HASH_SIZE], int64_t now_s, struct verdict *out);
/* The message in SESSION with QUEUE_ID comes to its end with LOGIN, another than the SMTP session's before: defers it, and
 * gives back what policyd charged. *OUT as above. */
void verdict_refuse_login(struct engine *engine, struct session *session, struct text login, struct text queue_id,
			  int64_t now_s, struct verdict *out);
/* The message with QUEUE_ID of LOGIN ends otherwise: gives back what it was charged here and by policyd. */
void verdict_abandon(struct engine *engine, struct text login, struct text queue_id);
void verdict_free(struct verdict *verdict);

#endif
