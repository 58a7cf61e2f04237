#ifndef COMMON_BOUNCE_H
#define COMMON_BOUNCE_H

/* The words for a delivery that failed: class, category and scope, as customers read them (waybill-webhooks(7)), and what
 * follows for the recipient. A core. */

#include "common/text.h"

enum bounce_class { CLASS_NONE, CLASS_HARD, CLASS_SOFT, CLASS_UNDETERMINED, BOUNCE_CLASS_MAX };

/* Whom or what a failure is about. */
enum bounce_scope {
	SCOPE_NONE,
	SCOPE_RECIPIENT,
	SCOPE_RECIPIENT_DOMAIN,
	SCOPE_NETWORK,
	SCOPE_REMOTE_SYSTEM,
	SCOPE_SENDER_IP,
	SCOPE_SENDER_DOMAIN,
	SCOPE_SENDER_ADDRESS,
	SCOPE_CONTENT,
	SCOPE_LOCAL,
	BOUNCE_SCOPE_MAX
};

enum bounce_category {
	CATEGORY_NONE,
	CATEGORY_BAD_MAILBOX,
	CATEGORY_MAILBOX_MOVED,
	CATEGORY_INACTIVE_MAILBOX,
	CATEGORY_QUOTA_ISSUES,
	CATEGORY_RECIPIENT_FILTERED,
	CATEGORY_BAD_DOMAIN,
	CATEGORY_DNS_FAILURE,
	CATEGORY_NO_ANSWER_FROM_HOST,
	CATEGORY_BAD_CONNECTION,
	CATEGORY_EXPIRED,
	CATEGORY_GREYLISTED,
	CATEGORY_RATE_LIMITED,
	CATEGORY_IP_BLOCKED,
	CATEGORY_SENDER_DOMAIN_BLOCKED,
	CATEGORY_NO_PTR,
	CATEGORY_AUTH_FAILED,
	CATEGORY_BAD_SENDER,
	CATEGORY_SPAM_CONTENT,
	CATEGORY_VIRUS,
	CATEGORY_CONTENT_RELATED,
	CATEGORY_MESSAGE_TOO_BIG,
	CATEGORY_POLICY_RELATED,
	CATEGORY_RELAYING_ISSUES,
	CATEGORY_ROUTING_LOOP,
	CATEGORY_TLS_REQUIRED,
	CATEGORY_PROTOCOL_ERRORS,
	CATEGORY_LOCAL_POLICY,
	CATEGORY_AUTO_REPLY,
	CATEGORY_UNDETERMINED,
	BOUNCE_CATEGORY_MAX
};

/* What a final failure means for the recipient's suppression. */
enum bounce_consequence {
	CONSEQUENCE_NONE,      /* it is not about the recipient, or nobody knows */
	CONSEQUENCE_COUNT,     /* soft: counts, and too many of them suppress */
	CONSEQUENCE_TEMPORARY, /* suppressed for a time: a closed mailbox may open again */
	CONSEQUENCE_PERMANENT, /* suppressed: there is no such mailbox or domain */
	BOUNCE_CONSEQUENCE_MAX
};

/* As they are written; *_NONE of class, scope and category is "". */
extern const char *const bounce_class_words[BOUNCE_CLASS_MAX];
extern const char *const bounce_scope_words[BOUNCE_SCOPE_MAX];
extern const char *const bounce_category_words[BOUNCE_CATEGORY_MAX];
extern const char *const bounce_consequence_words[BOUNCE_CONSEQUENCE_MAX];
/* The scope that a category has when a rule names none. */
extern const enum bounce_scope bounce_category_scope[BOUNCE_CATEGORY_MAX];

struct verdict {
	enum bounce_class class;
	enum bounce_category category;
	enum bounce_scope scope;
	const char *rule; /* which one spoke: "std/x.1.1"; lives as long as the rules */
};

/* What a message that failed for good with this verdict means. Hard and about the recipient: a 5xx about our address or
 * the message must never cost a customer a living address, and a full mailbox may be emptied. */
enum bounce_consequence bounce_consequence(const struct verdict *verdict);

/* The index of WORD in a table of words; COUNT when it is not there. */
size_t bounce_word(const char *const *words, size_t count, struct text word);

#endif
