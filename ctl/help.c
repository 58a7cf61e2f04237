/* Everything that is said about the commands, made from their table. */

#include <string.h>

#include "ctl/command.h"

#define LEFT  40 /* of the left column */
#define RIGHT 56 /* of the right one: a line has at most 100 characters */

static size_t characters(struct text text)
{
	size_t count = 0;
	for (size_t i = 0; i < text.len; i++)
		count += ((unsigned char)text.ptr[i] & 0xc0) != 0x80;
	return count;
}

/* TEXT in lines of WIDTH, each but the first behind INDENT blanks. */
static void print_wrapped(FILE *out, const char *text, size_t indent, size_t width)
{
	struct text rest = text_of(text), word;
	size_t column = 0;
	while (rest.len && text_take(&rest, ' ', &word)) {
		size_t len = characters(word);
		if (column && column + 1 + len > width) {
			fprintf(out, "\n%*s", (int)indent, "");
			column = 0;
		}
		fprintf(out, "%s%.*s", column ? " " : "", TEXT_ARG(word));
		column += len + (column != 0);
	}
	fputc('\n', out);
}

/* NAME in the left column, behind INDENT blanks, and HELP in the right one, below when NAME needs the room. */
static void print_row(FILE *out, size_t indent, struct text name, const char *help)
{
	size_t len = indent + characters(name), right = LEFT + 2;
	fprintf(out, "%*s%.*s", (int)indent, "", TEXT_ARG(name));
	if (len + 1 > right) {
		fputc('\n', out);
		len = 0;
	}
	fprintf(out, "%*s", (int)(right - len), "");
	print_wrapped(out, help, right, RIGHT);
}

static void name_of(const struct command *command, struct buffer *out)
{
	out->len = 0;
	buffer_format(out, "%s%s%s%s%s", command->noun, *command->verb ? " " : "", command->verb,
		      *command->operands ? " " : "", command->operands);
}

static void print_command(FILE *out, const struct command *command)
{
	struct buffer name = {0};
	name_of(command, &name);
	print_row(out, 2, buffer_view(&name), command->help);
	buffer_free(&name);
}

static void print_options(FILE *out, size_t indent, const struct command *command)
{
	struct buffer left = {0};
	for (size_t i = 0; i < COMMAND_MAX_OPTIONS && command->options[i].name; i++) {
		const struct command_option *row = &command->options[i];
		left.len = 0;
		buffer_format(&left, "--%s%s%s", row->name, row->value ? " " : "", row->value ? row->value : "");
		print_row(out, indent, buffer_view(&left), row->help);
	}
	buffer_free(&left);
}

static void common_options(FILE *out)
{
	fputs("\nEverywhere: --json (JSON Lines), --yes (do what cannot be undone), --help.\n", out);
}

void help_all(FILE *out)
{
	const char *noun = "";
	fputs("usage: waybill [-c FILE] COMMAND [OPERAND…] [--OPTION [VALUE]…]\n", out);
	for (size_t i = 0; i < command_count; i++) {
		if (strcmp(noun, commands[i].noun) != 0)
			fputc('\n', out);
		noun = commands[i].noun;
		print_command(out, &commands[i]);
	}
	common_options(out);
	fputs("waybill NOUN --help shows the options of its commands.\n"
	      "In front: -c FILE (configuration), --version, --completion (a script for bash),\n"
	      "--manual [SECTION of waybill.conf] (mdoc).\n",
	      out);
}

void help_noun(FILE *out, const char *noun)
{
	fputs("usage: waybill [-c FILE] COMMAND [OPERAND…] [--OPTION [VALUE]…]\n", out);
	for (size_t i = 0; i < command_count; i++) {
		if (strcmp(commands[i].noun, noun) != 0)
			continue;
		fputc('\n', out);
		print_command(out, &commands[i]);
		print_options(out, 4, &commands[i]);
	}
	common_options(out);
}

void help_command(FILE *out, const struct command *command)
{
	struct buffer name = {0};
	name_of(command, &name);
	fprintf(out, "usage: waybill %s%s\n\n", buffer_string(&name), command->options[0].name ? " [--OPTION…]" : "");
	print_wrapped(out, command->help, 0, LEFT + 2 + RIGHT);
	if (command->options[0].name)
		fputc('\n', out);
	print_options(out, 2, command);
	common_options(out);
	buffer_free(&name);
}

static void completion_nouns(FILE *out)
{
	for (size_t i = 0; i < command_count; i++)
		if (!i || strcmp(commands[i].noun, commands[i - 1].noun) != 0)
			fprintf(out, "%s%s", i ? " " : "", commands[i].noun);
}

/* The second word after each noun: its verbs. */
static void completion_verbs(FILE *out)
{
	for (size_t i = 0; i < command_count; i++) {
		bool first = !i || strcmp(commands[i].noun, commands[i - 1].noun) != 0;
		bool last = i + 1 == command_count || strcmp(commands[i].noun, commands[i + 1].noun) != 0;
		if (first)
			fprintf(out, "\t%s) words=\"", commands[i].noun);
		fprintf(out, "%s%s", first ? "" : " ", commands[i].verb);
		if (last)
			fputs("\" ;;\n", out);
	}
}

static void completion_options(FILE *out)
{
	for (size_t i = 0; i < command_count; i++) {
		fprintf(out, "\t\"%s %s\") options=\"", commands[i].noun, commands[i].verb);
		for (size_t o = 0; o < COMMAND_MAX_OPTIONS && commands[i].options[o].name; o++)
			fprintf(out, "--%s ", commands[i].options[o].name);
		fputs("--json --yes --help\" ;;\n", out);
	}
}

void help_completion(FILE *out)
{
	fputs("# bash completion for waybill; made by: waybill --completion\n_waybill()\n{\n"
	      "\tlocal words= options= here=${COMP_WORDS[COMP_CWORD]} noun=${COMP_WORDS[1]} verb=${COMP_WORDS[2]}\n"
	      "\tif [ \"$COMP_CWORD\" = 1 ]; then\n\t\tCOMPREPLY=($(compgen -W \"",
	      out);
	completion_nouns(out);
	fputs("\" -- \"$here\"))\n\t\treturn\n\tfi\n\tcase $noun in\n", out);
	completion_verbs(out);
	fputs("\tesac\n\tcase \"$noun $verb\" in\n", out);
	completion_options(out);
	fputs("\tesac\n\tif [ \"$COMP_CWORD\" != 2 ]; then words=; fi\n"
	      "\tCOMPREPLY=($(compgen -W \"$words $options\" -- \"$here\"))\n}\ncomplete -F _waybill waybill\n",
	      out);
}

/* mdoc(7) takes a line that begins with a dot or a quote as a request and a backslash as an escape; a sentence begins a
 * line. */
static void manual_text(FILE *out, const char *text)
{
	if (*text == '.' || *text == '\'')
		fputs("\\&", out);
	for (char before = '\0'; *text; before = *text++) {
		if (*text == '\\') {
			fputs("\\e", out);
		} else if (text_starts(text_of(text), TEXT("…"))) {
			fputs("...", out);
			text += sizeof("…") - 2;
		} else {
			fputc(*text == ' ' && before == '.' ? '\n' : *text, out);
		}
	}
}

static void manual_operands(FILE *out, const char *operands)
{
	struct text rest = text_of(operands), word;
	while (rest.len && text_take(&rest, ' ', &word)) {
		bool optional = text_starts(word, TEXT("["));
		size_t dots = text_search(word, TEXT("…"));
		size_t end = dots == SIZE_MAX ? word.len - optional : dots;
		struct text name = text_from(text_head(word, end), optional);
		fprintf(out, " %sAr %.*s%s", optional ? "Op " : "", TEXT_ARG(name), dots == SIZE_MAX ? "" : " ...");
	}
}

static void manual_command(FILE *out, const struct command *command)
{
	fprintf(out, ".It Ic %s%s%s", command->noun, *command->verb ? " " : "", command->verb);
	manual_operands(out, command->operands);
	fputc('\n', out);
	manual_text(out, command->help);
	fputc('\n', out);
	if (!command->options[0].name)
		return;
	fputs(".Bl -tag -width Ds -compact\n", out);
	for (size_t i = 0; i < COMMAND_MAX_OPTIONS && command->options[i].name; i++) {
		const struct command_option *row = &command->options[i];
		fprintf(out, ".It Fl -%s", row->name);
		if (row->value) {
			fputs(" Ar ", out);
			manual_text(out, row->value);
		}
		fputc('\n', out);
		manual_text(out, row->help);
		fputc('\n', out);
	}
	fputs(".El\n", out);
}

static const char manual_head[] =
	".Dd $Mdocdate$\n.Dt WAYBILL 8\n.Os\n.Sh NAME\n.Nm waybill\n.Nd customers, logins, domains, keys and limits of "
	"a relay\n"
	".Sh SYNOPSIS\n.Nm\n.Op Fl c Ar file\n.Ar noun\n.Op Ar verb\n.Op Ar operand ...\n.Op Fl -json\n.Op Fl -yes\n"
	".Sh DESCRIPTION\n.Nm\nkeeps the directory of a waybill relay in PostgreSQL, and, as\n.Ic directory follow ,\n"
	"its snapshot on each node.\nA change is in force on every node within a second.\n.Pp\n"
	"On a terminal lists are tables; elsewhere their fields are separated by tabs.\nWith\n.Fl -json\n"
	"each row is a line of JSON.\nWhat cannot be undone asks for\n.Fl -yes .\n.Pp\nThe commands are:\n"
	".Bl -tag -width Ds\n";

static const char manual_tail[] =
	".El\n.Sh ENVIRONMENT\n.Bl -tag -width NO_COLOR\n.It Ev NO_COLOR\nWhen set, tables have no bold face.\n.It Ev "
	"SUDO_USER\n"
	"The person whom the audit names.\n.El\n"
	".Sh FILES\n.Bl -tag -width Ds\n.It Pa /etc/waybill/waybill.conf\nThe configuration,\n.Xr waybill.conf 5 .\n"
	".It Pa /etc/waybill/seal.key\nThe key under which DKIM private keys are sealed.\n"
	".It Pa /var/lib/waybill/directory.mdb\nThe snapshot of the directory on this node.\n.El\n"
	".Sh EXIT STATUS\n.Bl -tag -width Ds -compact\n.It 0\nDone.\n.It 64\nThe command was used wrongly.\n"
	".It 65\nAn operand or value is wrong.\n.It 66\nA file or folder cannot be read, or has nothing in it.\n.It "
	"67\nWhat was named does not exist.\n.It 69\nA check found "
	"something wrong.\n"
	".It 70\nA fault of the program.\n.It 73\nIt exists already; nothing was changed.\n"
	".It 74\nOutput could not be written.\n"
	".It 75\nPostgres or DNS does not answer; try again.\n.It 77\nNot permitted.\n.It 78\nThe configuration or the "
	"schema is "
	"wrong.\n.El\n"
	".Sh SEE ALSO\n.Xr waybill.conf 5\n";

void help_manual(FILE *out)
{
	fputs(manual_head, out);
	for (size_t i = 0; i < command_count; i++)
		manual_command(out, &commands[i]);
	fputs(manual_tail, out);
}
