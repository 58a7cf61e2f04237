#ifndef CTL_ENDPOINT_OPTIONS_H
#define CTL_ENDPOINT_OPTIONS_H

/* How an endpoint wants to be posted to beyond its URL: a header field of its own, a time limit, a client
 * certificate: the options --header, --timeout and --client-certificate of waybill endpoint add and set. */

#include "ctl/command.h"

/* "Name: value" that HTTP allows (RFC 9110, 5.1 and 5.5) and that is the customer's to set: NULL, or why not. */
const char *endpoint_header_check(struct text header);
/* Are the options, if given, what they should be? 0, or the exit status, the reason printed. */
int endpoint_options_check(struct ctl *ctl);
/* Writes those that were given; an empty one goes back to the default. The header field may hold a password: it and the
 * certificate with its key are sealed under the webhook key. */
int endpoint_options_write(struct ctl *ctl, const char *customer, const char *endpoint);

#endif
