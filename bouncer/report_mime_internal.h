#ifndef BOUNCER_REPORT_MIME_INTERNAL_H
#define BOUNCER_REPORT_MIME_INTERNAL_H

#include "bouncer/report_mime.h"

/* Calls ADD for each piece of RAW; its lines live until the call returns. */
typedef void report_mime_add(void *context, enum report_piece_kind kind, struct text lines);
void report_mime_parse(struct text raw, report_mime_add *add, void *context);

#endif
