#ifndef POLICYD_LOOKUP_H
#define POLICYD_LOOKUP_H

/* What the directory knows about a request, as the decision wants it. */

#include "common/directory.h"

#include "policyd/decide.h"

struct lookup {
	struct directory_view *view;
	struct directory_login login;
	struct directory_customer customer;
	struct directory_suppression suppression, dead_domain;
	char sender_domain[ADDR_MAX_DOMAIN + 1], recipient_domain[ADDR_MAX_DOMAIN + 1];
	struct decide_facts facts; /* pointers into this struct, views into the directory, good as long as the view */
};

/* Looks up login, customer, sender's domain and recipient. NULL and *OUT, or what is wrong with the directory: own
 * trouble. */
const char *lookup_find(struct directory_view *view, const struct request *request, int64_t now_s, struct lookup *out);

#endif
