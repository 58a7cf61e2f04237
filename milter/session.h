#ifndef MILTER_SESSION_H
#define MILTER_SESSION_H

/* What the milter knows of one SMTP session's present message, gathered event by event. A core: knows neither libmilter
 * nor OpenSSL; the canonical body goes to a sink as it comes, so memory does not depend on the body's size.
 *
 * An SMTP session carries messages one after another; nothing of one may reach the next: session_begin() forgets
 * everything but who has logged in, and even that is told anew for each message and compared. */

#include "common/text.h"

#include "milter/canon.h"
#include "milter/fields.h"
#include "milter/from.h"
#include "milter/reply.h"
#include "milter/survival.h"

struct session_destination {
	size_t at, len; /* of the domain in names */
	int64_t recipients;
};

struct session {
	struct buffer login;  /* of the SMTP session; empty: the client has not logged in */
	struct buffer client; /* its address; empty: not known */
	struct buffer sender; /* the envelope's, without brackets; empty: the null sender */
	struct fields fields;
	bool eight_bit_mime;  /* the client said BODY=8BITMIME (RFC 6152) */
	bool fields_overflow; /* the header was larger than fields_add() takes */
	int64_t recipients;
	struct buffer names; /* of destinations */
	struct session_destination *destinations;
	size_t destination_count, destination_room;
	struct canon_body body;
	struct survival survival;
	int64_t body_bytes;
	bool sampled;       /* the body is kept, for a check of the signature just made */
	struct buffer kept; /* the body as it came, when SAMPLED */
};

/* A new message: SENDER as in MAIL FROM, brackets included or not. The canonical body will go to SINK. */
void session_begin(struct session *session, struct text sender, canon_sink *sink, void *context);
/* A parameter of MAIL FROM. */
void session_parameter(struct session *session, struct text parameter);
/* Keeps this message's body, unless it grows beyond SESSION_MAX_KEPT. */
#define SESSION_MAX_KEPT ((size_t)1024 * 1024)
void session_sample(struct session *session);
/* LOGIN is what the mail server says at the end of the message (empty: none). Within one SMTP session a client logs in
 * at most once (RFC 4954 section 4): false when there was another login before. */
bool session_login(struct session *session, struct text login);
/* The address that the mail server says the client has. */
void session_client(struct session *session, struct text client);
void session_free(struct session *session);
/* One more recipient, brackets included or not. */
void session_recipient(struct session *session, struct text recipient);
void session_field(struct session *session, struct text name, struct text value);
void session_body(struct session *session, struct text chunk);
/* The domain of destination I, in lower case. */
struct text session_destination(const struct session *session, size_t i);
/* Calls destination I NAME from now on; if there is one of that name they become one, and what was the last one is I. */
void session_rename_destination(struct session *session, size_t i, struct text name);
/* Is field I one of X-Waybill-*? Only waybill itself may say such things: those that come in are taken out. */
bool session_field_is_ours(const struct session *session, size_t i);
/* Appends a sampled message as it will go over the wire, but for the fields that come on top of it, and for signatures
 * that it brought: they are not ours to judge, and ours do not cover them. */
void session_wire(const struct session *session, struct buffer *out);
/* Appends one field as it goes over the wire: "NAME: VALUE" and CRLF, folded with CRLF. */
void session_wire_field(struct text name, struct text value, struct buffer *out);
/* Folds the header lines that would be broken on the way (fold.h), but for those of our own. */
void session_fold(struct session *session);
/* The message's size on the wire in bytes: header, empty line, body. */
int64_t session_size(const struct session *session);

/* Who the header says wrote and sent it. */
struct session_authors {
	char from[FROM_ADDRESS_SIZE];
	char sender[FROM_ADDRESS_SIZE]; /* empty: there is no Sender field */
	const char *why;                /* from_parse()'s reason for _MALFORMED */
};
/* Exactly one From and at most one Sender, one address each (RFC 5322 section 3.6.2, less lenient). REPLY_NONE, or why
 * not. */
enum reply_reason session_authors(const struct session *session, struct session_authors *out);

#endif
