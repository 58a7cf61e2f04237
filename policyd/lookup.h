#ifndef POLICYD_LOOKUP_H
#define POLICYD_LOOKUP_H

/* What the directory knows about a request, as the decision wants it. */

#include "common/directory.h"

#include "policyd/decide.h"

/* A login, what it belongs to, and the domain that it sent as last. */
struct lookup_login {
	uint64_t round; /* of the cache, in which it was found */
	char name[64];
	struct directory_login login;
	struct directory_customer customer;
	char domain[64]; /* empty: none yet */
	bool domain_owned;
};

/* Logins that were found lately, good for one version of the directory: the questions about a message come one by one.
 * Zero-initialised. */
#define LOOKUP_CACHE 4096
struct lookup_cache {
	struct directory_version version;
	uint64_t round; /* counts versions */
	struct lookup_login logins[LOOKUP_CACHE];
};

struct lookup {
	struct directory_view *view;
	struct lookup_cache *cache;
	struct lookup_login *login, own; /* in the cache, or own when its name is too long for that */
	struct directory_suppression suppression, dead_domain;
	char sender_domain[ADDR_MAX_DOMAIN + 1], recipient_domain[ADDR_MAX_DOMAIN + 1];
	struct decide_facts facts; /* pointers into this struct and the cache, views into the directory */
};

/* Looks up login, customer, sender's domain and recipient. NULL and *OUT, good as long as the view and until the next
 * call with CACHE; or what is wrong with the directory: own trouble. */
const char *lookup_find(struct directory_view *view, struct lookup_cache *cache, const struct request *request,
			int64_t now_s, struct lookup *out);

#endif
