#ifndef CTL_CSV_H
#define CTL_CSV_H

/* Comma-separated values (RFC 4180), a line at a time, and Postgres's array literals. A core. */

#include "common/text.h"

/* Takes the next field of a line into OUT (emptied first), its quotes undone. False at the end of the line, or with
 * *WHY when a quote is not closed. */
bool csv_next(struct text *line, struct buffer *out, const char **why);
/* Appends a field, quoted where it must be; a comma in front unless it is the first of the LINE. */
void csv_add(struct buffer *line, struct text field);

/* Appends one element to a text array literal (PostgreSQL manual, "Array Input and Output Syntax"), from "" on;
 * array_end() closes it. */
void array_add(struct buffer *array, struct text element);
void array_end(struct buffer *array);

#endif
