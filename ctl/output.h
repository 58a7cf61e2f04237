#ifndef CTL_OUTPUT_H
#define CTL_OUTPUT_H

/* What a command says. Everything is a row, a JSON object: with --json each is one line of JSON; on a terminal rows
 * become a table (libsmartcols); else lines of fields between tabs, a header above. Standard output has the answer,
 * standard error everything else. */

#include <jansson.h>
#include <stdio.h>

enum output_form {
	OUTPUT_LIST,   /* rows of one kind, a line each */
	OUTPUT_RECORD, /* few rows, a line for each field: "name: value" */
	OUTPUT_FORM_MAX
};

struct output;

struct output *output_new(enum output_form form, bool json);
/* Takes ROW over. All rows of a list have the same fields in the same order. */
void output_row(struct output *output, json_t *row);
/* Prints what is left to print, and frees. Nothing to list: on a terminal, says so with EMPTY (may be NULL). */
void output_end(struct output **output, const char *empty);

/* "waybill: WHAT" on standard error, and "next: NEXT" below it when there is a next step (NULL: none). Returns STATUS,
 * the exit status, so that a command can end with it. */
int complain(int status, const char *next, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* A remark on standard error, for people: not with --json and not without a terminal there. */
void remark(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
