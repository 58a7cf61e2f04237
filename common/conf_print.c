/* Telling what a configuration is: as a file, as a sample, as a manual page. */

#include <string.h>

#include "common/conf.h"
#include "common/conf_value.h"

static void print_section(FILE *out, const struct conf_row *row, const char **section)
{
	if (*section && strcmp(*section, row->section) == 0)
		return;
	fprintf(out, "%s[%s]\n", *section ? "\n" : "", row->section);
	*section = row->section;
}

void conf_print(FILE *out, const struct conf_row *rows, size_t count, const void *conf, bool changed_only)
{
	const char *section = NULL;
	for (size_t i = 0; i < count; i++) {
		struct buffer value = {0};
		if (changed_only && conf_value_is_standard(&rows[i], conf))
			continue;
		print_section(out, &rows[i], &section);
		conf_value_print(&rows[i], conf, &value);
		fprintf(out, "%s = %s\n", rows[i].key, buffer_string(&value));
		buffer_free(&value);
	}
}

void conf_sample(FILE *out, const struct conf_row *rows, size_t count)
{
	const char *section = NULL;
	for (size_t i = 0; i < count; i++) {
		if (!rows[i].help)
			continue;
		print_section(out, &rows[i], &section);
		fprintf(out, "# %s\n%s%s = %s\n", rows[i].help, rows[i].standard ? "#" : "", rows[i].key,
			rows[i].standard ? rows[i].standard : "");
	}
}

/* mdoc(7): a backslash is written \\e, and a sentence begins a line. */
static void manual_text(FILE *out, const char *text)
{
	for (char before = '\0'; *text; before = *text++) {
		if (*text == '\\')
			fputs("\\e", out);
		else if (*text == ' ' && before == '.')
			fputc('\n', out);
		else
			fputc(*text, out);
	}
}

static void manual_entry(FILE *out, const struct conf_row *row)
{
	static const char *const kinds[CONF_TYPE_MAX] = {"text",     "path", "yes | no", "number",
							 "duration", "size", "",         "octal mode"};
	struct buffer bounds = {0};

	conf_value_bounds(row, &bounds);
	fprintf(out, ".It Ic %s No = Ar %s\n", row->key,
		row->type == CONF_ENUM ? buffer_string(&bounds) : kinds[row->type]);
	manual_text(out, row->help);
	fputc('\n', out);
	if (bounds.len && row->type != CONF_ENUM)
		fprintf(out, "Range: %s.\n", buffer_string(&bounds));
	if (!row->standard)
		fprintf(out, "Required.\n");
	else if (*row->standard)
		fprintf(out, "Default:\n.Ql %s .\n", row->standard);
	if (!row->reload)
		fprintf(out, "A change takes a restart.\n");
	buffer_free(&bounds);
}

void conf_manual(FILE *out, const struct conf_row *rows, size_t count, const char *section)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(rows[i].section, section) == 0)
			manual_entry(out, &rows[i]);
}
