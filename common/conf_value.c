#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/conf.h"
#include "common/conf_value.h"

struct suffix {
	const char *name;
	int64_t factor;
};

static const struct suffix durations[] = {{"ms", 1},         {"s", 1000}, {"min", 60000}, {"h", 3600000},
					  {"d", 86400000LL}, {"", 1000},  {NULL, 0}};
static const struct suffix sizes[] = {{"", 1}, {"k", 1 << 10}, {"M", 1 << 20}, {"G", 1 << 30}, {NULL, 0}};
static const struct suffix plain[] = {{"", 1}, {NULL, 0}};

static const struct suffix *suffixes_of(enum conf_type type)
{
	return type == CONF_DURATION ? durations : type == CONF_SIZE ? sizes : plain;
}

static const char *parse_number(const struct conf_row *row, const char *value, int64_t *out)
{
	char *end;
	errno = 0;
	long long number = strtoll(value, &end, 10);
	if (end == value || errno)
		return "is not a number";
	for (const struct suffix *s = suffixes_of(row->type); s->name; s++) {
		if (strcmp(end, s->name) != 0)
			continue;
		if (__builtin_mul_overflow(number, s->factor, out) || *out < row->min || *out > row->max)
			return "is out of range";
		return NULL;
	}
	return row->type == CONF_DURATION ? "has an unknown unit; use ms, s, min, h or d"
	       : row->type == CONF_SIZE   ? "has an unknown unit; use k, M or G"
					  : "is not a number";
}

static const char *parse_choice(const struct conf_row *row, const char *value, int *out)
{
	for (int i = 0; row->choices[i]; i++)
		if (strcmp(row->choices[i], value) == 0) {
			*out = i;
			return NULL;
		}
	return "is not one of the choices";
}

static const char *parse_mode(const char *value, int *out)
{
	char *end;
	long mode = strtol(value, &end, 8);
	if (end == value || *end || mode < 0 || mode > 07777)
		return "is not an octal file mode";
	*out = (int)mode;
	return NULL;
}

static const char *set_string(const struct conf_row *row, char *field, const char *value)
{
	char *copy = *value ? text_copy(text_of(value)) : NULL;
	if (copy && row->type == CONF_PATH && *copy != '/') {
		free(copy);
		return "is not an absolute path";
	}
	free(*(char **)(void *)field);
	*(char **)(void *)field = copy;
	return NULL;
}

static const char *set_bool(char *field, const char *value)
{
	bool yes = strcmp(value, "yes") == 0;
	if (!yes && strcmp(value, "no") != 0)
		return "is neither yes nor no";
	*(bool *)(void *)field = yes;
	return NULL;
}

const char *conf_value_set(const struct conf_row *row, char *conf, const char *value)
{
	char *field = conf + row->offset;
	switch (row->type) {
	case CONF_STRING:
	case CONF_PATH: return set_string(row, field, value);
	case CONF_BOOL: return set_bool(field, value);
	case CONF_INT:
	case CONF_DURATION:
	case CONF_SIZE: return parse_number(row, value, (int64_t *)(void *)field);
	case CONF_ENUM: return parse_choice(row, value, (int *)(void *)field);
	case CONF_MODE: return parse_mode(value, (int *)(void *)field);
	case CONF_TYPE_MAX: break;
	}
	return "has no type";
}

/* The largest count of SUFFIXES that says NUMBER exactly: 300000 ms is "5min". */
static void print_number(const struct suffix *suffixes, int64_t number, struct buffer *out)
{
	const struct suffix *best = &suffixes[0];
	for (const struct suffix *s = suffixes; s->name; s++)
		if (number % s->factor == 0 && s->factor > best->factor)
			best = s;
	buffer_format(out, "%lld%s", (long long)(number / best->factor), number ? best->name : "");
}

void conf_value_print(const struct conf_row *row, const char *conf, struct buffer *out)
{
	const char *field = conf + row->offset;
	const char *string;
	switch (row->type) {
	case CONF_STRING:
	case CONF_PATH:
		string = *(char *const *)(const void *)field;
		buffer_text(out, text_of(string));
		break;
	case CONF_BOOL: buffer_text(out, text_of(*(const bool *)(const void *)field ? "yes" : "no")); break;
	case CONF_INT:
	case CONF_DURATION:
	case CONF_SIZE: print_number(suffixes_of(row->type), *(const int64_t *)(const void *)field, out); break;
	case CONF_ENUM: buffer_text(out, text_of(row->choices[*(const int *)(const void *)field])); break;
	case CONF_MODE: buffer_format(out, "%04o", (unsigned)*(const int *)(const void *)field); break;
	case CONF_TYPE_MAX: break;
	}
}

bool conf_value_same(const struct conf_row *row, const void *a, const void *b)
{
	struct buffer left = {0}, right = {0};
	conf_value_print(row, a, &left);
	conf_value_print(row, b, &right);
	bool same = text_equal(buffer_view(&left), buffer_view(&right));
	buffer_free(&left);
	buffer_free(&right);
	return same;
}

bool conf_value_is_standard(const struct conf_row *row, const void *conf)
{
	union {
		char *string;
		int64_t number;
	} scratch = {0};
	struct conf_row alone = *row;
	struct buffer value = {0}, standard = {0};

	if (!row->standard)
		return false;
	alone.offset = 0;
	conf_value_set(&alone, (char *)&scratch, row->standard);
	conf_value_print(&alone, (char *)&scratch, &standard);
	conf_value_print(row, conf, &value);
	bool same = text_equal(buffer_view(&value), buffer_view(&standard));
	if (conf_value_is_string(row))
		free(scratch.string);
	buffer_free(&value);
	buffer_free(&standard);
	return same;
}

bool conf_value_is_string(const struct conf_row *row)
{
	return row->type == CONF_STRING || row->type == CONF_PATH;
}

void conf_value_bounds(const struct conf_row *row, struct buffer *out)
{
	if (row->type == CONF_ENUM) {
		for (int i = 0; row->choices[i]; i++)
			buffer_format(out, "%s%s", i ? ", " : "", row->choices[i]);
	} else if (suffixes_of(row->type) != plain || row->type == CONF_INT) {
		print_number(suffixes_of(row->type), row->min, out);
		buffer_text(out, TEXT(" to "));
		print_number(suffixes_of(row->type), row->max, out);
	}
}
