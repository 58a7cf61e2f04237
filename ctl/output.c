/* Rows are JSON objects; libsmartcols is met here alone. */

#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <libsmartcols.h>

#include "common/memory.h"
#include "common/text.h"
#include "ctl/output.h"

struct output {
	enum output_form form;
	bool json, terminal, colour;
	size_t rows;
	struct libscols_table *table; /* of a list on a terminal */
};

struct output *output_new(enum output_form form, bool json)
{
	struct output *output = memory_zero(1, sizeof(*output));
	const char *no_colour = getenv("NO_COLOR");
	output->form = form;
	output->json = json;
	output->terminal = isatty(STDOUT_FILENO);
	output->colour = output->terminal && (!no_colour || !*no_colour);
	return output;
}

static void value_text(const json_t *value, struct buffer *out)
{
	size_t i;
	json_t *element;
	switch (json_typeof(value)) {
	case JSON_NULL: buffer_char(out, '-'); break;
	case JSON_TRUE: buffer_text(out, TEXT("yes")); break;
	case JSON_FALSE: buffer_text(out, TEXT("no")); break;
	case JSON_STRING: buffer_text(out, text_at(json_string_value(value), json_string_length(value))); break;
	case JSON_INTEGER: buffer_format(out, "%" JSON_INTEGER_FORMAT, json_integer_value(value)); break;
	case JSON_REAL: buffer_format(out, "%g", json_real_value(value)); break;
	case JSON_OBJECT: {
		char *text = json_dumps(value, JSON_COMPACT);
		buffer_text(out, text_of(text));
		free(text);
		break;
	}
	case JSON_ARRAY:
		json_array_foreach(value, i, element)
		{
			if (i)
				buffer_text(out, TEXT(", "));
			value_text(element, out);
		}
		if (!i)
			buffer_char(out, '-');
		break;
	}
}

/* A value as one line: what strangers wrote must not move a terminal's cursor, nor end a line. */
static const char *cell(const json_t *value, struct buffer *out)
{
	out->len = 0;
	value_text(value, out);
	for (size_t i = 0; i < out->len; i++)
		if ((unsigned char)out->ptr[i] < ' ' || out->ptr[i] == 0x7f)
			out->ptr[i] = '?';
	if (!out->len)
		buffer_char(out, '-');
	return buffer_string(out);
}

static void heading(const char *name, struct buffer *out)
{
	out->len = 0;
	for (; *name; name++)
		buffer_char(out, (char)(*name == '_' ? ' ' : *name >= 'a' && *name <= 'z' ? *name - 'a' + 'A' : *name));
}

static void table_start(struct output *output, json_t *row)
{
	struct buffer title = {0};
	const char *name;
	json_t *value;
	output->table = scols_new_table();
	scols_table_enable_colors(output->table, output->colour);
	json_object_foreach(row, name, value)
	{
		heading(name, &title);
		struct libscols_column *column =
			scols_table_new_column(output->table, buffer_string(&title), 0,
					       json_is_integer(value) ? SCOLS_FL_RIGHT : SCOLS_FL_WRAP);
		if (output->colour)
			scols_cell_set_color(scols_column_get_header(column), "bold");
	}
	buffer_free(&title);
}

static void table_row(struct output *output, json_t *row)
{
	struct buffer text = {0};
	const char *name;
	json_t *value;
	size_t column = 0;
	if (!output->table)
		table_start(output, row);
	struct libscols_line *line = scols_table_new_line(output->table, NULL);
	json_object_foreach(row, name, value) scols_line_set_data(line, column++, cell(value, &text));
	buffer_free(&text);
}

static void tabbed_row(struct output *output, json_t *row)
{
	struct buffer text = {0};
	const char *name, *tab = "";
	json_t *value;
	if (!output->rows) {
		json_object_foreach(row, name, value)
		{
			heading(name, &text);
			printf("%s%s", tab, buffer_string(&text));
			tab = "\t";
		}
		putchar('\n');
		tab = "";
	}
	json_object_foreach(row, name, value)
	{
		printf("%s%s", tab, cell(value, &text));
		tab = "\t";
	}
	putchar('\n');
	buffer_free(&text);
}

static void record_row(struct output *output, json_t *row)
{
	struct buffer text = {0};
	const char *name;
	json_t *value;
	int width = 0;
	json_object_foreach(row, name, value) width = (int)strlen(name) > width ? (int)strlen(name) : width;
	if (output->rows)
		putchar('\n');
	json_object_foreach(row, name, value)
	{
		text.len = 0;
		for (const char *c = name; *c; c++)
			buffer_char(&text, (char)(*c == '_' ? ' ' : *c));
		buffer_char(&text, ':');
		printf("%-*s ", width + 1, buffer_string(&text));
		printf("%s\n", cell(value, &text));
	}
	buffer_free(&text);
}

static void json_row(json_t *row)
{
	json_dumpf(row, stdout, JSON_COMPACT);
	putchar('\n');
}

void output_row(struct output *output, json_t *row)
{
	if (output->json)
		json_row(row);
	else if (output->form == OUTPUT_RECORD)
		record_row(output, row);
	else if (output->terminal)
		table_row(output, row);
	else
		tabbed_row(output, row);
	output->rows++;
	json_decref(row);
}

void output_end(struct output **output, const char *empty)
{
	struct output *o = *output;
	if (o->table) {
		scols_print_table(o->table);
		scols_unref_table(o->table);
	}
	if (!o->rows && empty && o->terminal && !o->json)
		printf("%s\n", empty);
	free(o);
	*output = NULL;
}

int complain(int status, const char *next, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	fputs("waybill: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	if (next)
		fprintf(stderr, "next: %s\n", next);
	return status;
}

void remark(const char *format, ...)
{
	va_list args;
	if (!isatty(STDERR_FILENO))
		return;
	va_start(args, format);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
}
