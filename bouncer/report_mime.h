#ifndef BOUNCER_REPORT_MIME_H
#define BOUNCER_REPORT_MIME_H

/* Takes a mail apart by MIME (GMime): transfer encodings and character sets are resolved, only the pieces that can matter
 * to a report are kept (report_mail.h). Whatever the bytes are, the result is a mail, if only one with a header. */

#include "bouncer/report_mail.h"

/* Levels of multiparts that are followed, parts that are looked at, and bytes that all pieces together may take. */
#define REPORT_MIME_MAX_DEPTH 16
#define REPORT_MIME_MAX_PARTS 256
#define REPORT_MIME_MAX_BYTES (4 << 20)

/* Reads RAW into *OUT, which report_mail_free() frees. Only the header of a returned message is looked at. */
void report_mime_read(struct text raw, struct report_mail *out);

#endif
