#include "common/bounce.h"

const char *const bounce_class_words[BOUNCE_CLASS_MAX] = {
	[CLASS_NONE] = "",
	[CLASS_HARD] = "hard",
	[CLASS_SOFT] = "soft",
	[CLASS_UNDETERMINED] = "undetermined",
};

const char *const bounce_scope_words[BOUNCE_SCOPE_MAX] = {
	[SCOPE_NONE] = "",
	[SCOPE_RECIPIENT] = "recipient",
	[SCOPE_RECIPIENT_DOMAIN] = "recipient_domain",
	[SCOPE_NETWORK] = "network",
	[SCOPE_REMOTE_SYSTEM] = "remote_system",
	[SCOPE_SENDER_IP] = "sender_ip",
	[SCOPE_SENDER_DOMAIN] = "sender_domain",
	[SCOPE_SENDER_ADDRESS] = "sender_address",
	[SCOPE_CONTENT] = "content",
	[SCOPE_LOCAL] = "local",
};

const char *const bounce_category_words[BOUNCE_CATEGORY_MAX] = {
	[CATEGORY_NONE] = "",
	[CATEGORY_BAD_MAILBOX] = "bad-mailbox",
	[CATEGORY_MAILBOX_MOVED] = "mailbox-moved",
	[CATEGORY_INACTIVE_MAILBOX] = "inactive-mailbox",
	[CATEGORY_QUOTA_ISSUES] = "quota-issues",
	[CATEGORY_RECIPIENT_FILTERED] = "recipient-filtered",
	[CATEGORY_BAD_DOMAIN] = "bad-domain",
	[CATEGORY_DNS_FAILURE] = "dns-failure",
	[CATEGORY_NO_ANSWER_FROM_HOST] = "no-answer-from-host",
	[CATEGORY_BAD_CONNECTION] = "bad-connection",
	[CATEGORY_EXPIRED] = "expired",
	[CATEGORY_GREYLISTED] = "greylisted",
	[CATEGORY_RATE_LIMITED] = "rate-limited",
	[CATEGORY_IP_BLOCKED] = "ip-blocked",
	[CATEGORY_SENDER_DOMAIN_BLOCKED] = "sender-domain-blocked",
	[CATEGORY_NO_PTR] = "no-ptr",
	[CATEGORY_AUTH_FAILED] = "auth-failed",
	[CATEGORY_BAD_SENDER] = "bad-sender",
	[CATEGORY_SPAM_CONTENT] = "spam-content",
	[CATEGORY_VIRUS] = "virus",
	[CATEGORY_CONTENT_RELATED] = "content-related",
	[CATEGORY_MESSAGE_TOO_BIG] = "message-too-big",
	[CATEGORY_POLICY_RELATED] = "policy-related",
	[CATEGORY_RELAYING_ISSUES] = "relaying-issues",
	[CATEGORY_ROUTING_LOOP] = "routing-loop",
	[CATEGORY_TLS_REQUIRED] = "tls-required",
	[CATEGORY_PROTOCOL_ERRORS] = "protocol-errors",
	[CATEGORY_LOCAL_POLICY] = "local-policy",
	[CATEGORY_AUTO_REPLY] = "auto-reply",
	[CATEGORY_UNDETERMINED] = "undetermined",
};

const enum bounce_scope bounce_category_scope[BOUNCE_CATEGORY_MAX] = {
	[CATEGORY_NONE] = SCOPE_NONE,
	[CATEGORY_BAD_MAILBOX] = SCOPE_RECIPIENT,
	[CATEGORY_MAILBOX_MOVED] = SCOPE_RECIPIENT,
	[CATEGORY_INACTIVE_MAILBOX] = SCOPE_RECIPIENT,
	[CATEGORY_QUOTA_ISSUES] = SCOPE_RECIPIENT,
	[CATEGORY_RECIPIENT_FILTERED] = SCOPE_RECIPIENT,
	[CATEGORY_BAD_DOMAIN] = SCOPE_RECIPIENT_DOMAIN,
	[CATEGORY_DNS_FAILURE] = SCOPE_RECIPIENT_DOMAIN,
	[CATEGORY_NO_ANSWER_FROM_HOST] = SCOPE_NETWORK,
	[CATEGORY_BAD_CONNECTION] = SCOPE_NETWORK,
	[CATEGORY_EXPIRED] = SCOPE_NONE,
	[CATEGORY_GREYLISTED] = SCOPE_REMOTE_SYSTEM,
	[CATEGORY_RATE_LIMITED] = SCOPE_SENDER_IP,
	[CATEGORY_IP_BLOCKED] = SCOPE_SENDER_IP,
	[CATEGORY_SENDER_DOMAIN_BLOCKED] = SCOPE_SENDER_DOMAIN,
	[CATEGORY_NO_PTR] = SCOPE_SENDER_IP,
	[CATEGORY_AUTH_FAILED] = SCOPE_SENDER_DOMAIN,
	[CATEGORY_BAD_SENDER] = SCOPE_SENDER_ADDRESS,
	[CATEGORY_SPAM_CONTENT] = SCOPE_CONTENT,
	[CATEGORY_VIRUS] = SCOPE_CONTENT,
	[CATEGORY_CONTENT_RELATED] = SCOPE_CONTENT,
	[CATEGORY_MESSAGE_TOO_BIG] = SCOPE_CONTENT,
	[CATEGORY_POLICY_RELATED] = SCOPE_SENDER_DOMAIN,
	[CATEGORY_RELAYING_ISSUES] = SCOPE_REMOTE_SYSTEM,
	[CATEGORY_ROUTING_LOOP] = SCOPE_REMOTE_SYSTEM,
	[CATEGORY_TLS_REQUIRED] = SCOPE_NETWORK,
	[CATEGORY_PROTOCOL_ERRORS] = SCOPE_REMOTE_SYSTEM,
	[CATEGORY_LOCAL_POLICY] = SCOPE_LOCAL,
	[CATEGORY_AUTO_REPLY] = SCOPE_NONE,
	[CATEGORY_UNDETERMINED] = SCOPE_NONE,
};

const char *const bounce_consequence_words[BOUNCE_CONSEQUENCE_MAX] = {
	[CONSEQUENCE_NONE] = "none",
	[CONSEQUENCE_COUNT] = "count",
	[CONSEQUENCE_TEMPORARY] = "temporary",
	[CONSEQUENCE_PERMANENT] = "permanent",
};

static bool about_recipient(const struct verdict *v)
{
	return v->scope == SCOPE_RECIPIENT || v->scope == SCOPE_RECIPIENT_DOMAIN;
}

enum bounce_consequence bounce_consequence(const struct verdict *v)
{
	if (!about_recipient(v))
		return CONSEQUENCE_NONE;
	bool gone = v->category == CATEGORY_BAD_MAILBOX || v->category == CATEGORY_MAILBOX_MOVED ||
		    v->category == CATEGORY_BAD_DOMAIN;
	if (v->class == CLASS_HARD && gone)
		return CONSEQUENCE_PERMANENT;
	if (v->class == CLASS_HARD && v->category == CATEGORY_INACTIVE_MAILBOX)
		return CONSEQUENCE_TEMPORARY;
	return v->scope == SCOPE_RECIPIENT && v->class != CLASS_NONE ? CONSEQUENCE_COUNT : CONSEQUENCE_NONE;
}

size_t bounce_word(const char *const *words, size_t count, struct text word)
{
	size_t i = 0;
	while (i < count && !text_equal(text_of(words[i]), word))
		i++;
	return i;
}
