#ifndef COMMON_CONF_H
#define COMMON_CONF_H

/* Configuration: INI files read with inih into a struct, described by a table. From the same table come the checks, the
 * defaults, "-n", the sample file and waybill.conf(5).
 *
 * A file is /etc/waybill/waybill.conf followed by the *.conf files of the folder conf.d beside it, in name order; later
 * values win. A line is blank, a comment (# or ; in its first column or behind white space), [section] or key = value;
 * a value goes on to the end of its line (no comment behind it, no continuation), and its length is limited by
 * CONF_MAX_LINE. A setting may stand once in a file. Each program knows its own rows; sections of other programs
 * (conf_sections) are skipped, any other section or key is an error with file and line. */

#include <stdio.h>

#include "common/text.h"

/* Bytes of a line, its end not counted. */
#define CONF_MAX_LINE 4096

enum conf_type {
	CONF_STRING,   /* char *; the empty value is NULL */
	CONF_PATH,     /* char *, absolute; the empty value is NULL */
	CONF_BOOL,     /* bool; yes | no */
	CONF_INT,      /* int64_t within min and max */
	CONF_DURATION, /* int64_t milliseconds within min and max; "20ms", "5s", "10min", "6h", "5d"; "5" is 5s */
	CONF_SIZE,     /* int64_t bytes within min and max; "64k", "16M", "1G" */
	CONF_ENUM,     /* int: index of the value in choices */
	CONF_MODE,     /* int: file mode in octal */
	CONF_TYPE_MAX
};

struct conf_row {
	const char *section, *key;
	enum conf_type type;
	size_t offset;              /* of the field in the configuration struct */
	const char *standard;       /* default, as in a file; NULL: the setting, then a string, is required */
	int64_t min, max;           /* of numbers, in the field's unit */
	const char *const *choices; /* of CONF_ENUM, NULL-terminated */
	bool reload;                /* a reload takes a new value; else it asks for a restart */
	const char *help;           /* one sentence for waybill.conf(5); NULL: another program's row, of whose section
				     * this program reads no more, so it judges no other key there */
};

/* For tables that several programs share: the sentence of the program whose settings they are, and the NULL of others. */
#define CONF_OWN(help)    help
#define CONF_OTHERS(help) NULL

/* Every section that any program knows. */
extern const char *const conf_sections[];

/* Reads FILE into CONF (the struct that ROWS describe), starting from the defaults. 0; or -1 and one line in *ERROR,
 * "FILE:LINE: [section] key: what is wrong", which the caller frees. CONF is zeroed before; it owns its strings, after a
 * failure too: conf_free(). */
int conf_load(const char *file, const struct conf_row *rows, size_t count, void *conf, char **error);
/* Frees the strings that CONF owns and makes them NULL. */
void conf_free(const struct conf_row *rows, size_t count, void *conf);
/* Names of changed settings that need a restart, comma-separated, or NULL when a reload can take NEXT for NOW; free(). */
char *conf_needs_restart(const struct conf_row *rows, size_t count, const void *now, const void *next);
/* Exchanges the reloadable settings of NOW and NEXT. */
void conf_take(const struct conf_row *rows, size_t count, void *now, void *next);
/* Prints settings as an INI file: all of them, or those that differ from their defaults. */
void conf_print(FILE *out, const struct conf_row *rows, size_t count, const void *conf, bool changed_only);
/* The sample file: every setting at its default, its sentence above it. */
void conf_sample(FILE *out, const struct conf_row *rows, size_t count);
/* The settings of one section as list items of a manual page (mdoc(7)). */
void conf_manual(FILE *out, const struct conf_row *rows, size_t count, const char *section);

#endif
