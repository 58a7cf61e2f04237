#include <string.h>

#include "common/idn.h"

#include "milter/authorise.h"

/* Whose a domain is, as the customer that asks sees it. */
enum owner { OWNER_NOBODY, OWNER_CUSTOMER, OWNER_PARENT, OWNER_OTHER, OWNER_TROUBLE };

static bool suspended(const struct directory_customer *customer, int64_t now_s)
{
	return customer->status == DIRECTORY_SUSPENDED && (!customer->status_until || now_s < customer->status_until);
}

static enum reply_reason trouble(struct directory_view *view, struct authorisation *out)
{
	out->words.detail = text_of(directory_trouble(view->directory));
	return REPLY_TROUBLE;
}

static enum reply_reason check_login(struct directory_view *view, int64_t now_s, struct authorisation *out)
{
	switch (directory_find_login(view, out->words.login, &out->login)) {
	case DIRECTORY_FOUND: break;
	case DIRECTORY_ABSENT: return REPLY_LOGIN_UNKNOWN;
	case DIRECTORY_TROUBLE:
	case DIRECTORY_ANSWER_MAX: return trouble(view, out);
	}
	if (directory_find_customer(view, out->login.customer, &out->customer) != DIRECTORY_FOUND)
		return trouble(view, out);
	if (!out->login.enabled)
		return REPLY_LOGIN_DISABLED;
	if (out->login.suspended_at)
		return REPLY_LOGIN_SUSPENDED;
	if (out->login.expires_at && out->login.expires_at <= now_s)
		return REPLY_LOGIN_EXPIRED;
	out->words.detail = out->customer.status_reason;
	return suspended(&out->customer, now_s) ? REPLY_CUSTOMER_SUSPENDED : REPLY_NONE;
}

/* The nearest registered domain at or above NAME decides. */
static enum owner owner_of(struct directory_view *view, struct text name, struct text customer,
			   struct directory_domain *domain)
{
	bool exact = true;
	for (;;) {
		switch (directory_find_domain(view, name, domain)) {
		case DIRECTORY_FOUND:
			if (!text_equal(domain->customer, customer))
				return OWNER_OTHER;
			return exact ? OWNER_CUSTOMER : OWNER_PARENT;
		case DIRECTORY_ABSENT: break;
		case DIRECTORY_TROUBLE:
		case DIRECTORY_ANSWER_MAX: return OWNER_TROUBLE;
		}
		size_t dot = text_find(name, '.');
		if (dot == SIZE_MAX)
			return OWNER_NOBODY;
		name = text_from(name, dot + 1);
		exact = false;
	}
}

static bool has_right(const struct directory_login *login, struct addr address, bool owned)
{
	struct rights_check check;
	struct directory_list rights = login->rights;
	struct right right;
	rights_begin(&check, address, owned);
	while (directory_right_next(&rights, &right))
		rights_add(&check, right);
	return check.verdict == RIGHTS_ALLOWED;
}

/* How the three answers about an address are called for each field. */
struct field_reasons {
	enum reply_reason malformed, foreign, not_owned;
};
static const struct field_reasons from_reasons = {REPLY_FROM_MALFORMED, REPLY_FROM_FOREIGN, REPLY_FROM_NOT_OWNED};
static const struct field_reasons sender_reasons = {REPLY_SENDER_MALFORMED, REPLY_SENDER_FOREIGN,
						    REPLY_SENDER_NOT_OWNED};

static enum reply_reason check_address(struct directory_view *view, const char *text,
				       const struct field_reasons *reasons, struct authorisation *out,
				       enum owner *owner, struct directory_domain *domain)
{
	char ascii[ADDR_MAX_DOMAIN + 1];
	struct addr address;
	out->words.address = text_of(text);
	const char *why = addr_parse(text_of(text), &address);
	if (!why)
		why = idn_to_ascii(address.domain, ascii, sizeof ascii);
	if (why) {
		out->words.detail = text_of(why);
		return reasons->malformed;
	}
	address.domain = text_of(ascii);
	*owner = owner_of(view, address.domain, out->customer.name, domain);
	if (*owner == OWNER_TROUBLE)
		return trouble(view, out);
	if (*owner == OWNER_OTHER)
		return reasons->foreign;
	return has_right(&out->login, address, *owner == OWNER_CUSTOMER) ? REPLY_NONE : reasons->not_owned;
}

/* header_from = off or log let a right be missing; never another customer's domain. */
static enum reply_reason by_mode(enum reply_reason reason, const struct field_reasons *reasons,
				 struct authorisation *out)
{
	if (reason != reasons->not_owned || out->customer.header_from == DIRECTORY_FROM_ENFORCE)
		return reason;
	if (out->customer.header_from == DIRECTORY_FROM_LOG)
		out->noted = reason;
	return REPLY_NONE;
}

static enum reply_reason check_authors(struct directory_view *view, struct authorisation *out)
{
	enum owner owner;
	struct directory_domain sender_domain;
	if (out->authors.sender[0]) {
		enum reply_reason reason =
			check_address(view, out->authors.sender, &sender_reasons, out, &owner, &sender_domain);
		reason = by_mode(reason, &sender_reasons, out);
		if (reason != REPLY_NONE)
			return reason;
	}
	enum reply_reason reason = check_address(view, out->authors.from, &from_reasons, out, &owner, &out->domain);
	reason = by_mode(reason, &from_reasons, out);
	out->owned = reason == REPLY_NONE && (owner == OWNER_CUSTOMER || owner == OWNER_PARENT);
	if (out->owned)
		out->words.domain = out->domain.name;
	return reason;
}

void authorise(struct directory_view *view, const struct session *session, struct text login, int64_t now_s,
	       struct authorisation *out)
{
	memset(out, 0, sizeof *out);
	out->words.login = login;
	out->reason = check_login(view, now_s, out);
	if (out->reason == REPLY_NONE && session->fields_overflow)
		out->reason = REPLY_HEADER_TOO_LARGE;
	if (out->reason != REPLY_NONE)
		return;
	out->reason = session_authors(session, &out->authors);
	out->words.detail = text_of(out->authors.why);
	if (out->reason == REPLY_NONE)
		out->reason = check_authors(view, out);
}
