#ifndef MILTER_AUTHORISE_H
#define MILTER_AUTHORISE_H

/* May this login send this message, and in which domain is it signed? The rights of common/rights.h applied to header
 * From and Sender with what the directory knows. */

#include "common/directory.h"

#include "milter/reply.h"
#include "milter/session.h"

struct authorisation {
	enum reply_reason reason; /* REPLY_NONE: it may */
	enum reply_reason noted;  /* what header_from = log let pass; REPLY_NONE: nothing */
	struct reply_words words; /* views of the session, of this struct and of the directory */
	struct directory_login login;
	struct directory_customer customer;
	struct session_authors authors;
	/* The d= domain: the From domain when the customer owns it, else the nearest parent domain that it owns. */
	bool owned;
	struct directory_domain domain;
};

/* Decides for LOGIN at NOW_S (seconds since 1970). *OUT holds views into VIEW's map. */
void authorise(struct directory_view *view, const struct session *session, struct text login, int64_t now_s,
	       struct authorisation *out);

#endif
