#ifndef COMMON_DIRECTORY_H
#define COMMON_DIRECTORY_H

/* The directory snapshot: logins, customers, domains with their keys, suppressions. An LMDB file on each node, written
 * by "waybill directory follow" alone and mapped read-only by the daemons. Look-ups take microseconds, never wait for
 * Postgres, and see a change as soon as it is committed.
 *
 * A struct directory may be shared by threads; a struct directory_view belongs to one thread, is cheap (a read
 * transaction) and must be short-lived: everything found through it is a view into the map and ends with it. */

#include "common/directory_record.h"
#include "common/text.h"

struct directory;
struct directory_snapshot;

struct directory_view {
	struct directory *directory;
	struct directory_snapshot *snapshot;
	void *txn;
};

/* The longest that a view may live: after it, the writer may reuse the pages that it sees. Views last microseconds;
 * this is for a process that was stopped in the middle of one. */
#define DIRECTORY_VIEW_MAX_S 60

enum directory_answer {
	DIRECTORY_FOUND,
	DIRECTORY_ABSENT,  /* there is no such entry: a fact */
	DIRECTORY_TROUBLE, /* the snapshot is missing, damaged or of another version: own trouble, answer 4xx */
	DIRECTORY_ANSWER_MAX
};

/* PATH is the snapshot's file. Never fails: the file may come later and may be replaced by rename at any time; views
 * answer TROUBLE until there is one. A file that is removed is used on while it stays mapped. Reading needs no right but to
 * read that one file: no lock file, no right to write. */
struct directory *directory_new(const char *path);
/* No view may be open. */
void directory_free(struct directory **directory);
/* Why the last directory_begin() failed, for the log; static text. */
const char *directory_trouble(struct directory *directory);

/* Begins a consistent look at the directory. FOUND, or TROUBLE: then there is nothing to end. */
enum directory_answer directory_begin(struct directory *directory, struct directory_view *view);
void directory_end(struct directory_view *view);

/* What a view sees. Of views with equal versions, and only of them, what was found through one is good for the other as
 * well: the same entries, at the same place in memory. */
struct directory_version {
	uint64_t file, change;
};
struct directory_version directory_version(const struct directory_view *view);

/* NAME as Postfix gives it (sasl_username), compared in lower case. */
enum directory_answer directory_find_login(struct directory_view *view, struct text name, struct directory_login *out);
enum directory_answer directory_find_customer(struct directory_view *view, struct text customer,
					      struct directory_customer *out);
/* DOMAIN as A-labels, compared in lower case. */
enum directory_answer directory_find_domain(struct directory_view *view, struct text domain,
					    struct directory_domain *out);
/* ADDRESS as addr_key() writes it. Expiry is the caller's to check (out->expires_at). */
enum directory_answer directory_find_suppression(struct directory_view *view, struct text customer, struct text address,
						 struct directory_suppression *out);
/* NAME: a domain as A-labels, in lower case, or a customer. */
enum directory_answer directory_find_senders(struct directory_view *view, struct text name,
					     struct directory_senders *out);
/* NAME: the customer's short form (common/return_path.h) in hex; only those with a transport are there. */
enum directory_answer directory_find_return_path(struct directory_view *view, struct text name,
						 struct directory_return_path *out);
/* The limits of the whole relay, and what all customers share. */
enum directory_answer directory_find_relay(struct directory_view *view, struct directory_relay *out);
/* How far the snapshot has come. */
enum directory_answer directory_find_state(struct directory_view *view, struct directory_state *out);
/* Walks and checks every entry. NULL, or what is wrong with one; *ENTRIES counts them. */
const char *directory_verify(struct directory_view *view, size_t *entries);

#endif
