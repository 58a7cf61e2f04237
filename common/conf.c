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
	char *error;
};

/* LINE 0, SECTION and KEY NULL: not said. */
static void fail(char **error, const char *file, int line, const char *section, const char *key, const char *why)
{
	struct buffer text = {0};
	if (*error)
		return;
	buffer_text(&text, text_of(file));
	if (line)
		buffer_format(&text, ":%d", line);
	if (section)
		buffer_format(&text, ": [%s]%s%s", section, key ? " " : "", key ? key : "");
	buffer_format(&text, ": %s", why);
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

static bool own_section(const struct reader *r, const char *name)
{
	for (size_t i = 0; i < r->count; i++)
		if (r->rows[i].help && strcmp(r->rows[i].section, name) == 0)
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
	const char *why = conf_value_set(row, r->conf, value);
	if (why)
		describe_bad_value(r, row, value, why);
}

static int handle(void *user, const char *section, const char *key, const char *value)
{
	struct reader *r = user;
	const struct conf_row *row = find_row(r, section, key);

	if (row)
		take_setting(r, row, value);
	else if (!*section)
		fail(&r->error, r->file, r->line, NULL, NULL, "a setting stands before the first [section]");
	else if (own_section(r, section))
		describe_unknown_key(r, section, key);
	return !r->error;
}

/* inih would pass an unknown section without settings, and what stands behind the bracket. */
static const char *check_header(struct text line)
{
	struct text name = {0};
	line = text_trim(line);
	if (!text_starts(line, TEXT("[")))
		return NULL;
	line = text_from(line, 1);
	if (text_find(line, ']') != line.len - 1)
		return "a section's line ends with its ]";
	text_take(&line, ']', &name);
	for (size_t i = 0; conf_sections[i]; i++)
		if (text_equal(name, text_of(conf_sections[i])))
			return NULL;
	return "there is no such section";
}

static const char *check_line(struct text line)
{
	for (size_t i = 0; i < line.len; i++)
		if (((unsigned char)line.ptr[i] < 0x20 && line.ptr[i] != '\t') || line.ptr[i] == 0x7f)
			return "the line holds a control character";
	return check_header(line);
}

/* For inih, as fgets(3): it is told of no line that is cut or holds a NUL. */
static char *next_line(char *out, int size, void *user)
{
	struct reader *r = user;
	int len = 0, c;

	r->line++;
	while ((c = getc(r->stream)) != EOF && c != '\n' && len < size - 1)
		out[len++] = (char)c;
	out[len] = '\0';
	const char *why = ferror(r->stream) ? strerror(errno) : NULL;
	bool cut = c != EOF && c != '\n';
	if (len && out[len - 1] == '\r')
		len--;
	if (!why && (cut || len > CONF_MAX_LINE))
		why = "the line is too long";
	if (!why)
		why = check_line(text_at(out, (size_t)len));
	if (why)
		fail(&r->error, r->file, r->line, NULL, NULL, why);
	return why || (c == EOF && !len) ? NULL : out;
}

/* Debian's inih has its settings in variables: here a value is all that stands behind "=". */
static int parse(struct reader *r)
{
	ini_allow_inline_comments = false;
	ini_allow_multiline = false;
	ini_stop_on_first_error = true;
	ini_max_line = CONF_MAX_LINE + (int)sizeof "\r";
	return ini_parse_stream(next_line, r, handle, r);
}

static int read_file(struct reader *r, char **error)
{
	r->stream = fopen(r->file, "re");
	if (!r->stream) {
		fail(error, r->file, 0, NULL, NULL, strerror(errno));
		return -1;
	}
	r->line = 0;
	r->error = NULL;
	memset(r->seen, 0, r->count * sizeof *r->seen);
	int line = parse(r);
	fclose(r->stream);
	if (line > 0)
		fail(&r->error, r->file, line, NULL, NULL, "neither [section] nor key = value");
	*error = r->error;
	return r->error ? -1 : 0;
}

static int is_conf_file(const struct dirent *entry)
{
	return entry->d_name[0] != '.' && text_ends(text_of(entry->d_name), TEXT(".conf"));
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

/* conf.d beside FILE; a missing folder is an empty one. */
static int read_folder(struct reader *r, const char *file, char **error)
{
	struct dirent **entries = NULL;
	struct buffer folder = {0}, path = {0};
	int status = 0;

	buffer_text(&folder, text_head(text_of(file), text_rfind(text_of(file), '/') + 1));
	buffer_text(&folder, TEXT("conf.d"));
	int count = scandir(buffer_string(&folder), &entries, is_conf_file, by_bytes);
	if (count < 0 && errno != ENOENT) {
		fail(error, buffer_string(&folder), 0, NULL, NULL, strerror(errno));
		status = -1;
	}
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

/* Required settings are strings: one that is still NULL was not given. */
static int check_required(const struct reader *r, const char *file, char **error)
{
	for (size_t i = 0; i < r->count; i++) {
		const struct conf_row *row = &r->rows[i];
		if (row->standard || *(char **)(void *)(r->conf + row->offset))
			continue;
		struct buffer text = {0};
		buffer_format(&text, "is missing; add \"%s = ...\" below [%s]", row->key, row->section);
		fail(error, file, 0, row->section, row->key, buffer_string(&text));
		buffer_free(&text);
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

int conf_load(const char *file, const struct conf_row *rows, size_t count, void *conf, char **error)
{
	struct reader r = {.file = file, .rows = rows, .count = count, .conf = conf};
	int status;

	*error = NULL;
	r.seen = memory_zero(count, sizeof *r.seen);
	set_defaults(rows, count, conf);
	status = read_file(&r, error);
	if (status == 0)
		status = read_folder(&r, file, error);
	if (status == 0)
		status = check_required(&r, file, error);
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
