#ifndef CTL_ENDPOINT_SEAL_H
#define CTL_ENDPOINT_SEAL_H

/* What belongs to an endpoint and is sealed under the webhook key; only webhookd opens it. */

#include "ctl/command.h"

/* What stands behind "customer endpoint" in the data that a sealed text is bound to. */
#define ENDPOINT_SEAL_SECRET      ""
#define ENDPOINT_SEAL_HEADER      " header"
#define ENDPOINT_SEAL_CERTIFICATE " certificate"

/* Appends TEXT, sealed, to PARAM as a parameter of type bytea. 0, or the exit status, the reason printed. */
int endpoint_seal(struct ctl *ctl, const char *customer, const char *endpoint, const char *kind, struct text text,
		  struct buffer *param);

#endif
