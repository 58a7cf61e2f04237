#ifndef CTL_ENDPOINT_OPTIONS_H
#define CTL_ENDPOINT_OPTIONS_H

/* How an endpoint wants to be posted to beyond its URL: a header field of its own, a time limit, a client
 * certificate, batches: the options --header, --timeout, --client-certificate, --batch and --batch-wait of waybill endpoint
 * add and set. */

#include "ctl/command.h"

/* "Name: value" that HTTP allows (RFC 9110, 5.1 and 5.5) and that is the customer's to set: NULL, or why not. */
const char *endpoint_header_check(struct text header);
/* Are the options, if given, what they should be? 0, or the exit status, the reason printed. */
int endpoint_options_check(struct ctl *ctl);
/* Can several events be one POST? */
bool endpoint_format_has_batches(const char *format);
/* Says that they cannot; the exit status. */
int endpoint_batch_refuse(const char *format);
/* Writes those that were given, but for batches, which go with the format; an empty one goes back to the default. The header field may hold a password: it and the
 * certificate with its key are sealed under the webhook key. */
int endpoint_options_write(struct ctl *ctl, const char *customer, const char *endpoint);

#endif
