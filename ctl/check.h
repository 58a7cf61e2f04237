#ifndef CTL_CHECK_H
#define CTL_CHECK_H

/* Is a word what a command needs? Each prints what is wrong, at which character, and returns the exit status; 0 when
 * all is well. */

#include "common/addr.h"
#include "common/limit.h"

/* "acme": lower-case letters, digits and "-", at most 63, not beginning with "-". */
int check_customer(const char *word);
/* A login as Dovecot and Postfix see it: printable ASCII without blanks; OUT gets it in lower case. */
#define CHECK_LOGIN_SIZE 256
int check_login(const char *word, char out[CHECK_LOGIN_SIZE]);
/* A domain of letters, digits and hyphens after IDNA (RFC 5890); OUT gets its A-labels in lower case. */
int check_domain(const char *word, char out[ADDR_MAX_DOMAIN + 1]);
/* The same for a text of any length, without printing: NULL, or what is wrong. */
const char *domain_canonical(struct text domain, char out[ADDR_MAX_DOMAIN + 1]);
/* A mail address (RFC 5321); OUT gets its canonical key. */
int check_address(const char *word, char out[ADDR_MAX + 1]);
/* The same for a text of any length, without printing: NULL, or what is wrong. */
const char *address_canonical(struct text address, char out[ADDR_MAX + 1]);
/* Networks, comma-separated; OUT gets them as a Postgres array. */
struct buffer;
int check_networks(const char *word, struct buffer *out);
/* A rights pattern; OUT gets it with its domain as A-labels. */
int check_pattern(const char *word, struct buffer *out);
/* A limit's spec; OUT gets its normal spelling. */
int check_spec(const char *word, char out[LIMIT_SPEC_TEXT_MAX]);
/* One of NAMES (COUNT of them). */
int check_choice(const char *what, const char *word, const char *const *names, size_t count);

#endif
