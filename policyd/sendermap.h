#ifndef POLICYD_SENDERMAP_H
#define POLICYD_SENDERMAP_H

/* What the socketmap service answers, from the directory snapshot; the key is an envelope sender.
 *	sender-logins     the logins that may send as it: Postfix' smtpd_sender_login_maps
 *	sender-transport  the transport of the customer whose domain it is in, or whose return path (common/return_path.h)
 *	                  it is: sender_dependent_default_transport_maps
 * Postfix asks for less and less of an address; everything is in the answer to the whole one, so that a denied address is
 * not allowed again by its domain: the answer to any other key is that there is none. */

#include "policyd/server.h"

struct directory;
struct metrics;
struct sendermap;

struct sendermap_options {
	struct directory *directory;
	int64_t (*now_s)(void);  /* seconds since 1970: for expiry */
	struct metrics *metrics; /* of stats.h; may be NULL */
};

/* The options' members must outlive it. */
struct sendermap *sendermap_new(const struct sendermap_options *options);
void sendermap_free(struct sendermap **map);

/* Its service is a struct sendermap. */
extern const struct server_protocol sendermap_protocol;

#endif
