#ifndef POLICYD_DECIDE_H
#define POLICYD_DECIDE_H

/* What is decided about a request: rights from the directory, at every step; limits, at DATA. A core: what the directory
 * and the counters said goes in, a verdict comes out; nothing is looked up, charged or logged here. */

#include "common/addr.h"
#include "common/counters.h"
#include "common/directory_record.h"
#include "common/network.h"

#include "policyd/reply.h"
#include "policyd/request.h"

/* A client does not try longer than four days (RFC 5321 section 4.5.4.1): a quota renewed later is a refusal. */
#define DECIDE_LATE_S (4 * 86400)
/* A limit of 0 that defers is a pause made by hand: the client is asked to come again in an hour. */
#define DECIDE_PAUSE_S 3600

/* What the directory knows about a request. */
struct decide_facts {
	int64_t now_s;                             /* seconds since 1970 */
	const struct directory_login *login;       /* NULL: not in the directory */
	const struct directory_customer *customer; /* the login's; not NULL when login is not */
	struct addr sender;                        /* its domain as A-labels in lower case; empty: the null sender */
	const char *sender_trouble;                /* what is wrong with the sender, or NULL */
	bool sender_owned;                         /* sender.domain belongs to the customer */
	struct addr recipient;                     /* as sender; empty: none was given, or it is no address */
	bool recipient_owned;                      /* told only for a login with destinations */
	int64_t recipients;                        /* accepted before in this message, as far as they were seen */
	const struct directory_suppression *suppression; /* of the recipient, expired or not; NULL: none */
	const struct directory_suppression *dead_domain; /* of the recipient's domain, for every customer; the same */
};

/* What the takeover guard found. */
struct decide_takeover {
	enum takeover_outcome outcome;
	struct takeover_score score;
	struct takeover_facts facts;
	const struct takeover_marks *marks; /* NULL: it was not asked */
};

struct verdict {
	enum reply_reason reason;
	const struct counters_item *item; /* the limit behind the reason, or the fullest one; NULL: none */
	struct limit_usage usage;         /* of item, after the charge when allowed; of the customer's recipients */
	struct text detail;               /* what the reply calls {detail} */
	struct decide_takeover takeover;  /* at DATA */
};

/* Does the protocol state call for rights, for limits? MAIL, RCPT, DATA and END-OF-MESSAGE; DATA. */
bool decide_wants_rights(const struct request *request);
bool decide_wants_limits(const struct request *request);

/* Is the customer's mail refused at NOW_S? */
bool decide_is_suspended(const struct directory_customer *customer, int64_t now_s);

/* TLS, login, network, customer, sender, recipient, in this order; REPLY_ALLOWED when nothing is against it. */
struct verdict decide_rights(const struct request *request, const struct decide_facts *facts);

/* What to charge for a request that is allowed, so far. Owns what it names but queue id and instance, which are views
 * into the request. */
struct decide_plan {
	struct counters_request request;
	char customer[64], login[256], network[256 + 1 + NETWORK_TEXT_MAX];
	char ids[COUNTERS_MAX_ITEMS][LIMIT_ID_MAX + 1];
	char source[NETWORK_TEXT_MAX]; /* the client's network, or "unknown" */
	struct takeover_rule rule;
};
/* Fills PLAN with the login's limits, count 0 when there are none, and what the takeover guard wants to know. NODE is kept as a view. NULL, or why the directory's
 * limits cannot be charged: own trouble. */
const char *decide_plan(const struct request *request, const struct decide_facts *facts, struct text node,
			struct decide_plan *plan);

/* The verdict over a plan that was asked. */
struct verdict decide_limits(const struct decide_plan *plan, const struct counters_result *result);

/* The takeover guard's part of it: refuses or holds what the limits let pass, and refuses for good what they defer. */
void decide_takeover(const struct decide_plan *plan, const struct counters_result *result,
		     const struct takeover_marks *marks, int64_t now_s, struct verdict *verdict);

/* The words of the reply. LIMIT_TEXT (DECIDE_LIMIT_TEXT bytes) holds the limit's. */
#define DECIDE_LIMIT_TEXT (LIMIT_ID_MAX + 1 + LIMIT_SPEC_TEXT_MAX)
struct reply_words decide_words(const struct request *request, struct text customer, const struct verdict *verdict,
				char limit_text[DECIDE_LIMIT_TEXT]);

/* Appends the line for the log: "4F1C2A: customer=acme, login=app@acme.test, action=defer, reason=limit, …". */
void decide_log_line(const struct request *request, struct text customer, const struct verdict *verdict,
		     struct buffer *out);

#endif
