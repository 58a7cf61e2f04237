#ifndef CTL_CMD_INTERNAL_H
#define CTL_CMD_INTERNAL_H

/* What sub-commands of several nouns say alike. Each prints and returns the exit status. */

struct ctl;

/* Is there such a customer? 0, or the exit status. */
int customer_require(struct ctl *ctl, const char *customer);
int customer_missing(const char *customer);
int domain_missing(const char *domain);

#endif
