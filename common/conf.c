#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <ini.h>

#include "common/conf.h"
#include "common/conf_value.h"
#include "common/memory.h"

const char *const conf_sections[] = {"common",   "redis",  "policyd",   "milter", "bouncer",
				     "webhookd", "report", "directory", "ctl",    NULL};

/* One file being read: inih's handler is told no line numbers, so the reader counts them. */
struct reader {
	const char *file;
	FILE *stream;
	int line;
	const struct conf_row *rows;
	size_t count;
	char *conf;
	int *seen; /* per row: the line in this file that set it, 0 */
	bool overlong;
	char *error;
};

static void fail(char **error, const char *file, int line, const char *section, const char *key, const char *why)
{
	struct buffer text = {0};
	if (*error)
		return;
	buffer_format(&text, "%s", file);
	if (line)
		buffer_format(&text, ":%d", line);
	buffer_format(&text, ": [%s]%s%s: %s", section, key ? " " : "", key ? key : "", why);
	*error = text_copy(buffer_view(&text));
	buffer_free(&text);
}

static void describe_bad_value(struct reader *r, const struct conf_row *row, const char *value, const char *why)
{
	struct buffer text = {0}, bounds = {0};
	conf_value_bounds(row, &bounds);
	buffer_format(&text, "\"%s\" %s", value, why);
	if (bounds.len)
		buffer_format(&text, ": %s", buffer_string(&bounds));
	fail(&r->error, r->file, r->line, row->section, row->key, buffer_string(&text));
	buffer_free(&text);
	buffer_free(&bounds);
}

static bool is_section(const char *name)
{
	for (size_t i = 0; conf_sections[i]; i++)
		if (strcmp(conf_sections[i], name) == 0)
			return true;
	return false;
}

static bool own_section(const struct reader *r, const char *name)
{
	for (size_t i = 0; i < r->count; i++)
		if (strcmp(r->rows[i].section, name) == 0)
			return true;
	return false;
}

static const struct conf_row *find_row(const struct reader *r, const char *section, const char *key)
{
	for (size_t i = 0; i < r->count; i++)
		if (strcmp(r->rows[i].section, section) == 0 && strcmp(r->rows[i].key, key) == 0)
			return &r->rows[i];
	return NULL;
}

/* Levenshtein's distance, for names of usual length. */
static size_t distance(const char *a, const char *b)
{
	size_t row[64], len = strlen(b);
	if (len >= 64)
		return SIZE_MAX;
	for (size_t j = 0; j <= len; j++)
		row[j] = j;
	for (size_t i = 0; a[i]; i++) {
		size_t corner = row[0]++;
		for (size_t j = 1; j <= len; j++) {
			size_t change = corner + (a[i] != b[j - 1]);
			size_t gap = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
			corner = row[j];
			row[j] = change < gap ? change : gap;
		}
	}
	return row[len];
}

static void describe_unknown_key(struct reader *r, const char *section, const char *key)
{
	struct buffer text = {0};
	const char *nearest = NULL;
	size_t best = 4; /* farther names are no typing errors */
	for (size_t i = 0; i < r->count; i++) {
		size_t far = strcmp(r->rows[i].section, section) == 0 ? distance(key, r->rows[i].key) : SIZE_MAX;
		if (far < best) {
			best = far;
			nearest = r->rows[i].key;
		}
	}
	buffer_format(&text, "there is no such setting");
	if (nearest)
		buffer_format(&text, "; did you mean \"%s\"?", nearest);
	fail(&r->error, r->file, r->line, section, key, buffer_string(&text));
	buffer_free(&text);
}

static bool has_control(const char *value)
{
	for (; *value; value++)
		if ((unsigned char)*value < 0x20 || *value == 0x7f)
			return true;
	return false;
}

static void take_setting(struct reader *r, const struct conf_row *row, const char *value)
{
	int *seen = &r->seen[row - r->rows];
	if (*seen) {
		struct buffer text = {0};
		buffer_format(&text, "is set twice, first in line %d", *seen);
		fail(&r->error, r->file, r->line, row->section, row->key, buffer_string(&text));
		buffer_free(&text);
		return;
	}
	*seen = r->line;
	const char *why = has_control(value) ? "holds a control character" : conf_value_set(row, r->conf, value);
	if (why)
		describe_bad_value(r, row, value, why);
}

static int handle(void *user, const char *section, const char *key, const char *value)
{
	struct reader *r = user;
	const struct conf_row *row;

	if (r->error)
		return 1;
	if (!is_section(section))
		fail(&r->error, r->file, r->line, section, NULL, "there is no such section");
	else if (own_section(r, section)) {
		row = find_row(r, section, key);
		if (row)
			take_setting(r, row, value ? value : "");
		else
			describe_unknown_key(r, section, key);
	}
	return 1;
}

static char *next_line(char *line, int size, void *user)
{
	struct reader *r = user;
	if (r->error || !fgets(line, size, r->stream))
		return NULL;
	r->line++;
	size_t len = strlen(line);
	if (len + 1 == (size_t)size && line[len - 1] != '\n' && !feof(r->stream)) {
		struct buffer text = {0};
		buffer_format(&text, "%s:%d: the line is longer than %d bytes", r->file, r->line, size - 2);
		r->error = text_copy(buffer_view(&text));
		buffer_free(&text);
		return NULL;
	}
	return line;
}

static int read_file(struct reader *r, char **error)
{
	struct buffer text = {0};
	r->stream = fopen(r->file, "re");
	if (!r->stream) {
		buffer_format(&text, "%s: %s", r->file, strerror(errno));
		*error = text_copy(buffer_view(&text));
		buffer_free(&text);
		return -1;
	}
	r->line = 0;
	r->error = NULL;
	memset(r->seen, 0, r->count * sizeof *r->seen);
	int line = ini_parse_stream(next_line, r, handle, r);
	fclose(r->stream);
	if (!r->error && line > 0) {
		buffer_format(&text, "%s:%d: neither [section] nor key = value", r->file, line);
		r->error = text_copy(buffer_view(&text));
		buffer_free(&text);
	}
	*error = r->error;
	return r->error ? -1 : 0;
}

static int is_conf_file(const struct dirent *entry)
{
	return entry->d_name[0] != '.' && text_ends(text_of(entry->d_name), TEXT(".conf"));
}

/* conf.d beside FILE; a missing folder is an empty one. */
static int read_folder(struct reader *r, const char *file, char **error)
{
	struct dirent **entries = NULL;
	struct buffer folder = {0}, path = {0};
	int status = 0;

	buffer_text(&folder, text_head(text_of(file), text_rfind(text_of(file), '/') + 1));
	buffer_text(&folder, TEXT("conf.d"));
	int count = scandir(buffer_string(&folder), &entries, is_conf_file, alphasort);
	for (int i = 0; i < count; i++) {
		path.len = 0;
		buffer_format(&path, "%s/%s", buffer_string(&folder), entries[i]->d_name);
		r->file = buffer_string(&path);
		if (status == 0)
			status = read_file(r, error);
		free(entries[i]);
	}
	free(entries);
	buffer_free(&folder);
	buffer_free(&path);
	return status;
}

static int check_required(const struct reader *r, const char *file, bool *given, char **error)
{
	for (size_t i = 0; i < r->count; i++)
		if (!r->rows[i].standard && !given[i]) {
			fail(error, file, 0, r->rows[i].section, r->rows[i].key, "is missing; add it");
			return -1;
		}
	return 0;
}

static void set_defaults(const struct conf_row *rows, size_t count, void *conf)
{
	for (size_t i = 0; i < count; i++)
		if (rows[i].standard && conf_value_set(&rows[i], conf, rows[i].standard))
			abort(); /* the table contradicts itself */
}

/* Required settings are strings: one that is still NULL was not given. */
static void find_given(const struct reader *r, bool *given)
{
	for (size_t i = 0; i < r->count; i++)
		given[i] = !conf_value_is_string(&r->rows[i]) || *(char **)(void *)(r->conf + r->rows[i].offset);
}

int conf_load(const char *file, const struct conf_row *rows, size_t count, void *conf, char **error)
{
	struct reader r = {.file = file, .rows = rows, .count = count, .conf = conf};
	bool *given = memory_zero(count, sizeof *given);
	int status;

	*error = NULL;
	r.seen = memory_zero(count, sizeof *r.seen);
	set_defaults(rows, count, conf);
	status = read_file(&r, error);
	if (status == 0)
		status = read_folder(&r, file, error);
	find_given(&r, given);
	if (status == 0)
		status = check_required(&r, file, given, error);
	free(given);
	free(r.seen);
	return status;
}

void conf_free(const struct conf_row *rows, size_t count, void *conf)
{
	for (size_t i = 0; i < count; i++) {
		if (!conf_value_is_string(&rows[i]))
			continue;
		char **field = (char **)(void *)((char *)conf + rows[i].offset);
		free(*field);
		*field = NULL;
	}
}

char *conf_needs_restart(const struct conf_row *rows, size_t count, const void *now, const void *next)
{
	struct buffer names = {0};
	char *list = NULL;
	for (size_t i = 0; i < count; i++)
		if (!rows[i].reload && !conf_value_same(&rows[i], now, next))
			buffer_format(&names, "%s%s.%s", names.len ? ", " : "", rows[i].section, rows[i].key);
	if (names.len)
		list = text_copy(buffer_view(&names));
	buffer_free(&names);
	return list;
}

void conf_take(const struct conf_row *rows, size_t count, void *now, void *next)
{
	static const size_t sizes[CONF_TYPE_MAX] = {sizeof(char *),  sizeof(char *),  sizeof(bool), sizeof(int64_t),
						    sizeof(int64_t), sizeof(int64_t), sizeof(int),  sizeof(int)};
	for (size_t i = 0; i < count; i++) {
		char kept[sizeof(int64_t)];
		char *old = (char *)now + rows[i].offset, *fresh = (char *)next + rows[i].offset;
		size_t size = sizes[rows[i].type];
		if (!rows[i].reload)
			continue;
		memcpy(kept, old, size);
		memcpy(old, fresh, size);
		memcpy(fresh, kept, size);
	}
}

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
		print_section(out, &rows[i], &section);
		fprintf(out, "# %s\n%s%s = %s\n", rows[i].help, rows[i].standard ? "#" : "", rows[i].key,
			rows[i].standard ? rows[i].standard : "");
	}
}
