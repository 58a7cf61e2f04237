#ifndef CTL_CMD_INTERNAL_H
#define CTL_CMD_INTERNAL_H

/* What sub-commands of several nouns say alike. Each prints and returns the exit status. */

#include <jansson.h>

struct ctl;
struct rules;
struct reply_facts;
struct verdict;

/* Behind an INSERT INTO waybill.suppressions AS s: what becomes of one that there is, where a WHERE after it says so. One
 * that has ended is a new one; of one that holds its cause changes, and it ends no sooner. */
#define SUPPRESSION_ANEW                                                                                              \
	"ON CONFLICT (customer, recipient) DO UPDATE SET reason = excluded.reason, note = excluded.note, event_id = " \
	"NULL, rule = NULL, provider = NULL, remote_mx = NULL, "                                                      \
	"created_at = CASE WHEN s.expires_at <= now() THEN now() ELSE s.created_at END, "                             \
	"expires_at = CASE WHEN s.expires_at <= now() THEN excluded.expires_at ELSE nullif(greatest(coalesce("        \
	"s.expires_at, 'infinity'), coalesce(excluded.expires_at, 'infinity')), 'infinity') END "

/* Is there such a customer? 0, or the exit status. */
int customer_require(struct ctl *ctl, const char *customer);
int customer_missing(const char *customer);
/* Is there such an endpoint? 0, or the exit status. */
int endpoint_require(struct ctl *ctl, const char *endpoint);
int endpoint_missing(const char *endpoint);
/* Is there such a domain? 0, or the exit status. */
int domain_require(struct ctl *ctl, const char *domain);
/* Prints the DNS records of a domain: those of its keys, and those recommended. */
int domain_print_records(struct ctl *ctl, const char *domain);
int domain_missing(const char *domain);
/* The bounce rules of PATH; NULL: those of the configuration. NULL after saying what is wrong with them. */
struct rules *rules_of(struct ctl *ctl, const char *path);
/* A verdict as a row of output. */
json_t *verdict_row(const struct rules *rules, const struct reply_facts *facts, const struct verdict *verdict);

#endif
