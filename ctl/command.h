#ifndef CTL_COMMAND_H
#define CTL_COMMAND_H

/* The command line as data: a table of sub-commands (ctl/main.c), from which parsing, help, bash completion and the man
 * page come; and what a sub-command's function is given. */

#include <stdio.h>

#include "common/text.h"
#include "ctl/settings.h"

struct ctl;

struct command_option {
	const char *name;  /* without the dashes */
	const char *value; /* what stands for the value in help; NULL: a flag */
	const char *help;
};

#define COMMAND_MAX_OPERANDS 8
#define COMMAND_MAX_OPTIONS  12

struct command {
	const char *noun, *verb; /* verb "": the noun alone */
	const char *
		operands; /* "CUSTOMER [TITLE]", "LOGIN PATTERN…": [ ] may be missing, … may be repeated; "" for none */
	struct command_option options[COMMAND_MAX_OPTIONS]; /* ends at a NULL name */
	const char *help;                                   /* one sentence */
	int (*run)(struct ctl *ctl);                        /* returns the exit status */
};

extern const struct command commands[];
extern const size_t command_count;

/* The running command: its words, and the program's state. */
struct ctl {
	const struct command *command;
	const char *file; /* of the configuration; NULL: the standard one */
	struct settings settings;
	bool json, yes;
	const char *operands[COMMAND_MAX_OPERANDS];
	size_t operand_count;
	char **rest; /* further operands where the last one may be repeated */
	size_t rest_count;
	const char *values[COMMAND_MAX_OPTIONS]; /* of the options; a flag's is "" */
	struct database *database;               /* ctl/database.h opens it at first use */
};

/* Finds the command that the words name and takes its options and operands. NULL; or what is wrong, and with it
 * ctl->command when the words named one. The text lives until the next call. */
const char *command_parse(int argc, char **argv, struct ctl *ctl);
/* Does any command have this first word? */
bool command_noun_exists(const char *noun);
/* The I-th operand, or NULL. */
const char *operand(const struct ctl *ctl, size_t i);
/* The value of an option, or NULL when it was not given. The name must be one of the command's. */
const char *option(const struct ctl *ctl, const char *name);
bool option_given(const struct ctl *ctl, const char *name);

/* What a person reads, in lines of at most 100 characters: all commands, those of one noun with their options, or one in
 * full. */
void help_all(FILE *out);
void help_noun(FILE *out, const char *noun);
void help_command(FILE *out, const struct command *command);
/* A script for bash's completion, and the manual page waybill(8) in mdoc. */
void help_completion(FILE *out);
void help_manual(FILE *out);

#endif
