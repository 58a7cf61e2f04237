/* From request to facts: see lookup.h. */

#include "common/idn.h"

#include "policyd/lookup.h"

static const char *find_login(struct lookup *l, struct text name)
{
	if (!name.len)
		return NULL;
	enum directory_answer answer = directory_find_login(l->view, name, &l->login);
	if (answer == DIRECTORY_TROUBLE)
		return "a login's record is damaged";
	if (answer == DIRECTORY_ABSENT)
		return NULL;
	if (directory_find_customer(l->view, l->login.customer, &l->customer) != DIRECTORY_FOUND)
		return "a login's customer is missing or damaged";
	l->facts.login = &l->login;
	l->facts.customer = &l->customer;
	return NULL;
}

/* Does DOMAIN belong to the login's customer? */
static const char *find_domain(struct lookup *l, struct text name, bool *owned)
{
	struct directory_domain domain;
	enum directory_answer answer = directory_find_domain(l->view, name, &domain);
	*owned = answer == DIRECTORY_FOUND && text_equal(domain.customer, l->login.customer);
	return answer == DIRECTORY_TROUBLE ? "a domain's record is damaged" : NULL;
}

static const char *find_sender(struct lookup *l, struct text sender)
{
	if (!sender.len)
		return NULL;
	l->facts.sender_trouble = addr_parse(sender, &l->facts.sender);
	if (!l->facts.sender_trouble)
		l->facts.sender_trouble =
			idn_to_ascii(l->facts.sender.domain, l->sender_domain, sizeof l->sender_domain);
	if (l->facts.sender_trouble)
		return NULL;
	l->facts.sender.domain = text_of(l->sender_domain);
	return find_domain(l, l->facts.sender.domain, &l->facts.sender_owned);
}

static const char *find_suppression(struct lookup *l, struct addr address)
{
	char key[ADDR_MAX + 1];
	size_t len = addr_key(address, key, sizeof key);
	if (!len)
		return NULL;
	enum directory_answer answer =
		directory_find_suppression(l->view, l->login.customer, text_at(key, len), &l->suppression);
	if (answer == DIRECTORY_TROUBLE)
		return "a suppression's record is damaged";
	if (answer == DIRECTORY_FOUND)
		l->facts.suppression = &l->suppression;
	return NULL;
}

/* Domains that are dead for every customer stand among the suppressions, of "*". */
static const char *find_dead_domain(struct lookup *l, struct text domain)
{
	enum directory_answer answer = directory_find_suppression(l->view, TEXT("*"), domain, &l->dead_domain);
	if (answer == DIRECTORY_TROUBLE)
		return "a dead domain's record is damaged";
	if (answer == DIRECTORY_FOUND)
		l->facts.dead_domain = &l->dead_domain;
	return NULL;
}

/* A recipient that is no plain address is on no list: what becomes of it is Postfix' affair. */
static const char *find_recipient(struct lookup *l, struct text recipient)
{
	struct addr address;
	char *domain = l->recipient_domain;
	if (!recipient.len || addr_parse(recipient, &address) ||
	    idn_to_ascii(address.domain, domain, sizeof l->recipient_domain))
		return NULL;
	address.domain = text_of(domain);
	l->facts.recipient = address;
	const char *why = NULL;
	if (l->login.destinations.bytes.len)
		why = find_domain(l, address.domain, &l->facts.recipient_owned);
	if (!why)
		why = find_suppression(l, address);
	return why ? why : find_dead_domain(l, address.domain);
}

const char *lookup_find(struct directory_view *view, const struct request *request, int64_t now_s, struct lookup *out)
{
	*out = (struct lookup){.view = view, .facts.now_s = now_s};
	const char *why = find_login(out, request->values[REQUEST_LOGIN]);
	if (why || !out->facts.login)
		return why;
	why = find_sender(out, request->values[REQUEST_SENDER]);
	return why ? why : find_recipient(out, request->values[REQUEST_RECIPIENT]);
}
