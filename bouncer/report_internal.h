#ifndef BOUNCER_REPORT_INTERNAL_H
#define BOUNCER_REPORT_INTERNAL_H

#include "bouncer/report.h"

/* The delivery status of each recipient, in the fields of RFC 3464 wherever they stand, else in words. */
void report_read_delivery(const struct report_mail *mail, struct report *out);
/* Is it a bounce by its looks? (For mail without fields.) */
bool report_looks_like_bounce(const struct report_mail *mail, const struct report *report);
/* The fields of RFC 5965. */
void report_read_feedback(const struct report_mail *mail, struct report *out);

bool report_has_piece(const struct report_mail *mail, enum report_piece_kind kind);
/* The recipient added last or, where ADDRESS is known already, that one; NULL when there are too many. */
struct report_recipient *report_add_recipient(struct report *out, struct text address);

#endif
