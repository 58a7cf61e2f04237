/* From request to facts: see lookup.h. */

#include "common/idn.h"

#include "policyd/lookup.h"

/* What was found in another version of the directory is forgotten. */
static void keep_version(struct lookup_cache *cache, const struct directory_view *view)
{
	struct directory_version now = directory_version(view);
	if (now.file != cache->version.file || now.change != cache->version.change)
		cache->round++;
	cache->version = now;
}

/* FNV-1a (http://www.isthe.com/chongo/tech/comp/fnv/), 32 bits. */
static size_t slot_of(struct text name)
{
	uint32_t hash = 2166136261U;
	for (size_t i = 0; i < name.len; i++)
		hash = (hash ^ (unsigned char)name.ptr[i]) * 16777619U;
	return hash % LOOKUP_CACHE;
}

static enum directory_answer read_login(struct directory_view *view, struct text name, struct lookup_login *out)
{
	enum directory_answer answer = directory_find_login(view, name, &out->login);
	out->domain[0] = '\0';
	if (answer != DIRECTORY_FOUND)
		return answer;
	return directory_find_customer(view, out->login.customer, &out->customer) == DIRECTORY_FOUND
		       ? DIRECTORY_FOUND
		       : DIRECTORY_TROUBLE;
}

static const char *find_login(struct lookup *l, struct text name)
{
	struct lookup_login *login = name.len < sizeof l->own.name ? &l->cache->logins[slot_of(name)] : &l->own;
	enum directory_answer answer = DIRECTORY_FOUND;
	if (!name.len)
		return NULL;
	if (login->round != l->cache->round || !text_equal(text_of(login->name), name)) {
		login->round = 0;
		answer = read_login(l->view, name, login);
	}
	if (answer == DIRECTORY_TROUBLE)
		return "a login's record, or its customer's, is missing or damaged";
	if (answer == DIRECTORY_ABSENT)
		return NULL;
	login->round = text_put(name, login->name, sizeof login->name) ? l->cache->round : 0;
	l->login = login;
	l->facts.login = &login->login;
	l->facts.customer = &login->customer;
	return NULL;
}

/* Does DOMAIN belong to the login's customer? */
static const char *find_domain(struct lookup *l, struct text name, bool *owned)
{
	struct directory_domain domain;
	enum directory_answer answer = directory_find_domain(l->view, name, &domain);
	*owned = answer == DIRECTORY_FOUND && text_equal(domain.customer, l->login->login.customer);
	return answer == DIRECTORY_TROUBLE ? "a domain's record is damaged" : NULL;
}

static const char *find_sender_domain(struct lookup *l, struct text name)
{
	struct lookup_login *login = l->login;
	if (!login->domain[0] || !text_equal(text_of(login->domain), name)) {
		const char *why = find_domain(l, name, &login->domain_owned);
		if (!text_put(name, login->domain, sizeof login->domain) || why)
			login->domain[0] = '\0';
		if (why)
			return why;
	}
	l->facts.sender_owned = login->domain_owned;
	return NULL;
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
	return find_sender_domain(l, l->facts.sender.domain);
}

static const char *find_suppression(struct lookup *l, struct addr address)
{
	char key[ADDR_MAX + 1];
	size_t len = addr_key(address, key, sizeof key);
	if (!len)
		return NULL;
	enum directory_answer answer =
		directory_find_suppression(l->view, l->login->login.customer, text_at(key, len), &l->suppression);
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
	if (l->login->login.destinations.bytes.len)
		why = find_domain(l, address.domain, &l->facts.recipient_owned);
	if (!why)
		why = find_suppression(l, address);
	return why ? why : find_dead_domain(l, address.domain);
}

const char *lookup_find(struct directory_view *view, struct lookup_cache *cache, const struct request *request,
			int64_t now_s, struct lookup *out)
{
	/* The rest is written before it is read; zeroing all of it would cost as much as finding it. */
	out->view = view;
	out->cache = cache;
	out->own.round = 0;
	out->facts = (struct decide_facts){.now_s = now_s};
	keep_version(cache, view);
	const char *why = find_login(out, request->values[REQUEST_LOGIN]);
	if (why || !out->facts.login)
		return why;
	why = find_sender(out, request->values[REQUEST_SENDER]);
	return why ? why : find_recipient(out, request->values[REQUEST_RECIPIENT]);
}
