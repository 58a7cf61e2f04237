#ifndef CTL_CLIENT_CERTIFICATE_H
#define CTL_CLIENT_CERTIFICATE_H

#include "common/text.h"

/* Does PEM hold a certificate, first its own, then those of its issuers, and the private key that belongs to it, without a
 * passphrase? NULL, or what is wrong. */
const char *client_certificate_check(struct text pem);

#endif
