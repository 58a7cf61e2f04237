/* Reading rules: files, patterns, literals. */

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/memory.h"
#include "common/rules_internal.h"

#define MAX_FILE (4 * 1024 * 1024)

static char *fault(const char *file, size_t line, size_t column, const char *why)
{
	struct buffer out = {0};
	buffer_format(&out, "%s:%zu:%zu: %s", file, line, column, why);
	buffer_string(&out);
	return out.ptr;
}

void rules_free(struct rules **rules)
{
	struct rules *r = *rules;
	if (!r)
		return;
	for (size_t i = 0; i < r->count; i++) {
		struct rule *rule = &r->rules[i];
		for (size_t j = 0; j < rule->pattern_count; j++) {
			buffer_free(&rule->patterns[j].literal);
			pattern_free(&rule->patterns[j].compiled);
		}
		free(rule->patterns);
		free(rule->examples);
		free(rule->id);
	}
	for (size_t i = 0; i < r->file_count; i++) {
		free(r->files[i].name);
		free((void *)(uintptr_t)r->files[i].text.ptr);
	}
	free(r->files);
	free(r->rules);
	literals_free(&r->literals);
	free(r);
	*rules = NULL;
}

/* FNV-1a: tells versions apart, protects nothing. */
static void make_version(struct rules *r)
{
	uint32_t hash = 2166136261u;
	for (size_t i = 0; i < r->file_count; i++)
		for (size_t j = 0; j < r->files[i].text.len; j++)
			hash = (hash ^ (unsigned char)r->files[i].text.ptr[j]) * 16777619u;
	snprintf(r->version, sizeof r->version, "%08x", hash);
}

static char *compile(struct rules *r)
{
	r->literals = literals_new();
	for (size_t i = 0; i < r->count; i++)
		for (size_t j = 0; j < r->rules[i].pattern_count; j++) {
			struct rule_pattern *p = &r->rules[i].patterns[j];
			size_t at = 0;
			const char *why = p->plain ? NULL : pattern_new(p->source, &p->compiled, &at);
			if (why)
				return fault(r->rules[i].file, p->line, p->column + at, why);
			if (p->literal.len)
				p->literal_number = literals_add(r->literals, buffer_view(&p->literal));
		}
	literals_finish(r->literals);
	make_version(r);
	return NULL;
}

/* A file's bytes are owned by RULES from here on. */
static void add_file(struct rules *r, const char *name, char *bytes, size_t len)
{
	r->files = memory_resize(r->files, r->file_count + 1, sizeof *r->files);
	r->files[r->file_count++] = (struct rules_file){text_copy(text_of(name)), {bytes, len}};
}

static struct rules *finish(struct rules *r, char **error)
{
	size_t line, column;
	*error = NULL;
	for (size_t i = 0; i < r->file_count && !*error; i++) {
		const char *why = rules_file_parse(r, &r->files[i], &line, &column);
		if (why)
			*error = fault(r->files[i].name, line, column, why);
	}
	if (!*error)
		*error = compile(r);
	if (*error)
		rules_free(&r);
	return r;
}

struct rules *rules_parse(const char *name, struct text text, char **error)
{
	struct rules *r = memory_zero(1, sizeof *r);
	add_file(r, name, text_copy(text), text.len);
	return finish(r, error);
}

struct rules *rules_builtin(void)
{
	struct rules *r = memory_zero(1, sizeof *r);
	char *error;
	for (size_t i = 0; i < rules_builtin_count; i++)
		add_file(r, rules_builtin_files[i].name, text_copy(rules_builtin_files[i].text),
			 rules_builtin_files[i].text.len);
	r = finish(r, &error);
	if (!r)
		abort(); /* a test loads them */
	return r;
}

static char *read_file(struct rules *r, const char *path)
{
	FILE *file = fopen(path, "re");
	struct buffer bytes = {0};
	char piece[16384];
	if (!file)
		return fault(path, 0, 0, strerror(errno));
	for (size_t got; bytes.len < MAX_FILE && (got = fread(piece, 1, sizeof piece, file));)
		buffer_add(&bytes, piece, got);
	int failed = ferror(file) ? errno : bytes.len >= MAX_FILE ? EFBIG : 0;
	fclose(file);
	if (failed) {
		buffer_free(&bytes);
		return fault(path, 0, 0, strerror(failed));
	}
	buffer_string(&bytes);
	add_file(r, path, bytes.ptr, bytes.len);
	return NULL;
}

static int is_rules(const struct dirent *entry)
{
	return entry->d_name[0] != '.' && text_ends(text_of(entry->d_name), TEXT(".rules"));
}

static char *read_folder(struct rules *r, const char *path)
{
	struct dirent **names;
	char *error = NULL;
	int count = scandir(path, &names, is_rules, alphasort);
	if (count < 0)
		return fault(path, 0, 0, strerror(errno));
	for (int i = 0; i < count; i++) {
		struct buffer full = {0};
		buffer_format(&full, "%s/%s", path, names[i]->d_name);
		if (!error)
			error = read_file(r, buffer_string(&full));
		buffer_free(&full);
		free(names[i]);
	}
	free(names);
	return error || count ? error : fault(path, 0, 0, "this folder has no file *.rules");
}

struct rules *rules_load(const char *path, char **error)
{
	struct stat status;
	*error = NULL;
	if (!path)
		return rules_builtin();
	struct rules *r = memory_zero(1, sizeof *r);
	if (stat(path, &status))
		*error = fault(path, 0, 0, strerror(errno));
	else
		*error = S_ISDIR(status.st_mode) ? read_folder(r, path) : read_file(r, path);
	if (*error) {
		rules_free(&r);
		return NULL;
	}
	return finish(r, error);
}

size_t rules_count(const struct rules *rules)
{
	return rules->count;
}

const char *rules_version(const struct rules *rules)
{
	return rules->version;
}
