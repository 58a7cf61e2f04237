#ifndef CTL_DKIM_TEST_H
#define CTL_DKIM_TEST_H

#include "common/text.h"

/* A second opinion, libopendkim's dkim_test_key(): does the private key (PEM) match RECORD, the text that DNS shows for
 * SELECTOR and DOMAIN? NULL, or why not, appended to WHY. */
const char *dkim_test(const char *domain, const char *selector, struct text pem, struct text record,
		      struct buffer *why);

#endif
