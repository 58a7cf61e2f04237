#ifndef CTL_SENDMAIL_H
#define CTL_SENDMAIL_H

/* Handing a mail to sendmail(1): a process of its own, no shell, the recipient as a word and not read from the mail. */

#include "common/text.h"

/* How long it may take; Postfix's needs milliseconds. */
#define SENDMAIL_LIFE_MS 10000

/* Runs PROGRAM -i -f SENDER -- RECIPIENT with MAIL as its input. NULL once it has taken the mail over; or what went wrong,
 * in WHY. */
const char *sendmail_send(const char *program, const char *sender, const char *recipient, struct text mail, char *why,
			  size_t size);

#endif
