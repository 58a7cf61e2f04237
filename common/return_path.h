#ifndef COMMON_RETURN_PATH_H
#define COMMON_RETURN_PATH_H

/* The envelope sender that mail of a customer leaves with, b+TOKEN@HOST: what comes back to it is about a message that
 * this relay sent, and says which. TOKEN is base32, which survives servers that fold case, of
 *	version (1 byte, 1) | customer (6) | node (3) | queue id (6 bits a letter) | HMAC-SHA-256 of these (10)
 * where customer and node are the heads of the SHA-256 of their names: names do not fit into the 64 bytes of a local
 * part (RFC 5321 section 4.5.3.1.1), and the database finds the rows by substr(sha256(name), 1, 6). */

#include "common/text.h"

#define RETURN_PATH_CUSTOMER 6
#define RETURN_PATH_NODE     3
/* Postfix's long queue ids have at most 22 letters (QUEUE_ID in its postconf(5), enable_long_queue_ids). */
#define RETURN_PATH_MAX_QUEUE_ID 24
/* "b+", 38 bytes in base32, NUL: within the 64 bytes. */
#define RETURN_PATH_LOCAL_SIZE 64

/* The name's short form. */
void return_path_customer(struct text customer, unsigned char out[RETURN_PATH_CUSTOMER]);
void return_path_node(struct text node, unsigned char out[RETURN_PATH_NODE]);

/* Writes the local part, authenticated under KEY, NUL-terminated. NULL, or why the message gets none: its queue id is
 * empty, too long, or not of letters and digits. */
const char *return_path_make(struct text key, struct text customer, struct text node, struct text queue_id,
			     char out[RETURN_PATH_LOCAL_SIZE]);

/* The customer whose short form a local part names; unverified, so good for nothing that a stranger may not choose. False:
 * it is no return path of ours. */
bool return_path_names(struct text local, unsigned char customer[RETURN_PATH_CUSTOMER]);

struct return_path {
	unsigned char customer[RETURN_PATH_CUSTOMER], node[RETURN_PATH_NODE];
	char queue_id[RETURN_PATH_MAX_QUEUE_ID + 1];
};
/* Reads a local part that may be a stranger's. Any of the COUNT keys may have made it, so that keys can overlap; how long
 * it takes does not tell which, nor how much of it was right. NULL and *OUT, or why it is none of ours. */
const char *return_path_verify(const struct text *keys, size_t count, struct text local, struct return_path *out);

#endif
