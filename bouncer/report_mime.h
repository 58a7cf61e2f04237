#ifndef BOUNCER_REPORT_MIME_H
#define BOUNCER_REPORT_MIME_H

/* Takes a mail apart by MIME (GMime): transfer encodings and character sets are resolved, only the pieces that can matter
 * to a report are kept (report_mail.h). Whatever the bytes are, the result is a mail, if only one with a header. */

#include "bouncer/report_mail.h"

/* Levels of multiparts that are followed, and parts that are looked at. */
#define REPORT_MIME_MAX_DEPTH 16
#define REPORT_MIME_MAX_PARTS 256

/* Reads RAW into *OUT, which report_mail_free() frees. Only the header of a returned message is looked at. */
void report_mime_read(struct text raw, struct report_mail *out);

/* The same in a process of its own, begun for it: the library meets the stranger's bytes where there is no secret, and what
 * it does there (loops, overflows, ends) costs this one nothing. Called before secrets are read. 0; 1: that process did
 * not come to an end, *OUT is empty; -1 and errno: there is none. */
int report_mime_read_apart(struct text raw, struct report_mail *out);

#endif
