#ifndef CTL_CMD_INTERNAL_H
#define CTL_CMD_INTERNAL_H

/* What sub-commands of several nouns say alike. Each prints and returns the exit status. */

int customer_missing(const char *customer);
int domain_missing(const char *domain);

#endif
