#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/digest.h"
#include "common/encode.h"
#include "common/memory.h"
#include "ctl/accounting.h"
#include "ctl/compress.h"

struct accounting_writer {
	FILE *out;
	struct compress *compress; /* NULL: as it is */
	int error;                 /* errno of the first write that failed */
	char *path, *aside;        /* where it will be, and where it is written */
};

static char *join(const char *folder, const char *prefix, const char *name)
{
	struct buffer path = {0};
	buffer_format(&path, "%s/%s%s", folder, prefix, name);
	buffer_string(&path);
	return path.ptr;
}

static void free_writer(struct accounting_writer **writer)
{
	compress_free(&(*writer)->compress);
	free((*writer)->path);
	free((*writer)->aside);
	free(*writer);
	*writer = NULL;
}

static bool is_compressed(const char *name)
{
	return text_ends(text_of(name), TEXT(".zst"));
}

static struct accounting_writer *begin(const char *folder, const char *name)
{
	struct accounting_writer *w = memory_zero(1, sizeof *w);
	w->path = join(folder, "", name);
	w->aside = join(folder, ".", name);
	w->out = fopen(w->aside, "we");
	if (!w->out)
		free_writer(&w);
	else if (is_compressed(name))
		w->compress = compress_new();
	return w;
}

struct accounting_writer *accounting_begin(const struct accounting_file *file)
{
	if (mkdir(file->folder, 0755) && errno != EEXIST)
		return NULL;
	return begin(file->folder, file->name);
}

void accounting_add(struct accounting_writer *writer, struct text bytes)
{
	bool failed = writer->compress ? compress_add(writer->compress, bytes, writer->out) != 0
				       : fwrite(bytes.ptr, 1, bytes.len, writer->out) != bytes.len;
	if (failed && !writer->error)
		writer->error = errno;
}

void accounting_drop(struct accounting_writer **writer)
{
	if (!*writer)
		return;
	if ((*writer)->out)
		fclose((*writer)->out);
	unlink((*writer)->aside);
	free_writer(writer);
}

static void hex_of(struct text bytes, char out[65])
{
	unsigned char digest[32];
	struct buffer hex = {0};
	digest_sha256(bytes, digest);
	encode_hex(text_at(digest, sizeof digest), &hex);
	text_put(buffer_view(&hex), out, 65);
	buffer_free(&hex);
}

/* Size and hash of a file. */
static int measure(const char *path, uint64_t *bytes, char sha256[65])
{
	struct stat status;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	int result = fstat(fd, &status);
	void *map =
		!result && status.st_size ? mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0) : NULL;
	close(fd);
	if (result || map == MAP_FAILED)
		return -1;
	*bytes = (uint64_t)status.st_size;
	hex_of(text_at(map, (size_t)status.st_size), sha256);
	if (map)
		munmap(map, (size_t)status.st_size);
	return 0;
}

/* All of it on the disk, still aside. */
static int settle(struct accounting_writer *w)
{
	errno = w->error;
	bool failed = w->error || (w->compress && compress_end(w->compress, w->out)) || fflush(w->out) ||
		      fsync(fileno(w->out));
	int error = errno;
	failed |= fclose(w->out) != 0;
	w->out = NULL;
	errno = error ? error : EIO;
	return failed ? -1 : 0;
}

static int sync_folder(const char *folder)
{
	int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int result = fd < 0 ? -1 : fsync(fd);
	if (fd >= 0)
		close(fd);
	return result;
}

static char *manifest_text(const struct accounting_file *f)
{
	json_t *object = json_pack("{ss ss sI sI sI sI ss ss}", "customer", f->customer, "file", f->name, "events",
				   (json_int_t)f->events, "first_seq", (json_int_t)f->first_seq, "last_seq",
				   (json_int_t)f->last_seq, "bytes", (json_int_t)f->bytes, "sha256", f->sha256,
				   "previous_manifest_sha256", f->previous);
	char *text = json_dumps(object, JSON_INDENT(2));
	json_decref(object);
	return text;
}

static char *manifest_name(const char *name)
{
	struct buffer out = {0};
	buffer_format(&out, "%.*s.manifest.json", (int)strcspn(name, "."), name);
	buffer_string(&out);
	return out.ptr;
}

static int write_manifest(struct accounting_file *file)
{
	char *text = manifest_text(file), *name = manifest_name(file->name);
	struct accounting_writer *w = begin(file->folder, name);
	hex_of(text_of(text), file->manifest);
	if (w)
		accounting_add(w, text_of(text));
	int result = w && !settle(w) && !rename(w->aside, w->path) ? 0 : -1, error = errno;
	accounting_drop(&w);
	free(text);
	free(name);
	errno = error;
	return result;
}

int accounting_end(struct accounting_writer **writer, struct accounting_file *file)
{
	struct accounting_writer *w = *writer;
	bool placed = false;
	int result = settle(w);
	if (!result)
		result = measure(w->aside, &file->bytes, file->sha256);
	if (!result)
		result = rename(w->aside, w->path);
	placed = !result;
	if (!result)
		result = write_manifest(file);
	if (!result)
		result = sync_folder(file->folder);
	int error = errno;
	if (result && placed)
		unlink(w->path);
	accounting_drop(writer);
	errno = error;
	return result;
}

struct verify {
	accounting_visit *visit;
	void *context;
	const char *folder;
	char previous[65];
	json_int_t last_seq;
	bool first;
};

static void count_lines(void *context, struct text piece)
{
	uint64_t *lines = context;
	for (size_t i = 0; i < piece.len; i++)
		*lines += piece.ptr[i] == '\n';
}

static int read_plain(const char *path, compress_visit *visit, void *context)
{
	FILE *in = fopen(path, "re");
	char piece[65536];
	for (size_t got; in && (got = fread(piece, 1, sizeof piece, in));)
		visit(context, text_at(piece, got));
	int result = in && !ferror(in) ? 0 : -1;
	if (in)
		fclose(in);
	return result;
}

/* A CSV file's first line names the columns. */
static const char *check_lines(const char *path, const char *name, uint64_t events)
{
	bool csv = text_ends(text_of(name), TEXT(".csv")) || text_ends(text_of(name), TEXT(".csv.zst"));
	uint64_t lines = 0;
	if ((is_compressed(name) ? compress_read : read_plain)(path, count_lines, &lines))
		return "its file cannot be read to the end";
	return lines == events + csv ? NULL : "its file has another number of events";
}

static const char *check_file(const char *folder, const json_t *m)
{
	const char *name = json_string_value(json_object_get(m, "file"));
	const char *sha256 = json_string_value(json_object_get(m, "sha256"));
	uint64_t bytes = 0;
	char real[65];
	if (!name || !sha256 || strchr(name, '/'))
		return "is not a manifest";
	char *path = join(folder, "", name);
	int failed = measure(path, &bytes, real);
	const char *why = NULL;
	if (failed)
		why = "its file is missing or cannot be read";
	else if (strcmp(real, sha256) != 0)
		why = "its file is not the one that was written: SHA-256 differs";
	else
		why = check_lines(path, name, (uint64_t)json_integer_value(json_object_get(m, "events")));
	free(path);
	return why;
}

static const char *check_chain(struct verify *v, const json_t *m)
{
	const char *previous = json_string_value(json_object_get(m, "previous_manifest_sha256"));
	json_int_t first = json_integer_value(json_object_get(m, "first_seq"));
	json_int_t last = json_integer_value(json_object_get(m, "last_seq"));
	bool linked = previous && strcmp(previous, v->previous) == 0, next = first == v->last_seq + 1;
	bool start = v->first; /* older files may have been taken away */
	v->first = false;
	v->last_seq = last;
	if (!start && !linked)
		return "does not follow the manifest before it: one is missing or was changed";
	return start || next ? NULL : "its first seq does not follow the last one before it";
}

static void verify_manifest(struct verify *v, const char *name)
{
	char *path = join(v->folder, "", name);
	json_error_t error;
	json_t *m = json_load_file(path, 0, &error);
	uint64_t bytes;
	char hash[65] = "";
	const char *fault = json_is_object(m) ? check_file(v->folder, m) : "is not JSON";
	const char *broken = json_is_object(m) ? check_chain(v, m) : NULL;
	measure(path, &bytes, hash);
	text_put(text_of(hash), v->previous, sizeof v->previous);
	if (fault)
		v->visit(v->context, path, fault);
	if (broken)
		v->visit(v->context, path, broken);
	json_decref(m);
	free(path);
}

static int is_manifest(const struct dirent *entry)
{
	return entry->d_name[0] != '.' && text_ends(text_of(entry->d_name), TEXT(".manifest.json"));
}

static int is_visible(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

/* How many manifests FOLDER itself holds; -1 with errno when it cannot be read. */
static long verify_folder(const char *folder, accounting_visit *visit, void *context)
{
	struct dirent **names;
	struct verify v = {.visit = visit, .context = context, .folder = folder, .first = true};
	int count = scandir(folder, &names, is_manifest, alphasort);
	for (int i = 0; i < count; i++) {
		verify_manifest(&v, names[i]->d_name);
		free(names[i]);
	}
	if (count >= 0)
		free(names);
	return count;
}

/* A customer's folder: what cannot be read is a fault, a file beside the folders is none. */
static long verify_customer(const char *folder, accounting_visit *visit, void *context)
{
	long manifests = verify_folder(folder, visit, context);
	if (manifests < 0 && errno != ENOTDIR)
		visit(context, folder, strerror(errno));
	return manifests < 0 ? 0 : manifests;
}

long accounting_verify(const char *dir, accounting_visit *visit, void *context)
{
	struct dirent **names;
	long manifests = verify_folder(dir, visit, context);
	int count = manifests < 0 ? -1 : scandir(dir, &names, is_visible, alphasort);
	if (count < 0)
		return -1;
	for (int i = 0; i < count; i++) {
		char *folder = join(dir, "", names[i]->d_name);
		manifests += verify_customer(folder, visit, context);
		free(folder);
		free(names[i]);
	}
	free(names);
	return manifests;
}
