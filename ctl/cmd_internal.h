#ifndef CTL_CMD_INTERNAL_H
#define CTL_CMD_INTERNAL_H

/* What sub-commands of several nouns say alike. Each prints and returns the exit status. */

struct ctl;

/* Is there such a customer? 0, or the exit status. */
int customer_require(struct ctl *ctl, const char *customer);
int customer_missing(const char *customer);
/* Is there such a domain? 0, or the exit status. */
int domain_require(struct ctl *ctl, const char *domain);
/* Prints the DNS records of a domain's keys. */
int domain_print_records(struct ctl *ctl, const char *domain);
int domain_missing(const char *domain);

#endif
