/* One file of a log, plain or gzip, its fingerprint, and its rotated siblings. */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <zlib.h>

#include "common/digest.h"
#include "common/memory.h"

#include "bouncer/tail_internal.h"

int tail_file_open(const char *path, struct tail_file *out)
{
	struct stat status;
	*out = TAIL_FILE_NONE;
	/* Non-blocking, lest a FIFO of that name stops us. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return -1;
	if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) {
		close(fd);
		errno = EINVAL;
		return -1;
	}
	out->fd = fd;
	out->inode = status.st_ino;
	unsigned char magic[2];
	if (pread(fd, magic, 2, 0) == 2 && magic[0] == 0x1f && magic[1] == 0x8b) { /* RFC 1952 section 2.3.1 */
		int copy = dup(fd);
		out->gzip = copy < 0 ? NULL : gzdopen(copy, "rb");
		if (!out->gzip) {
			if (copy >= 0)
				close(copy);
			tail_file_close(out);
			errno = ENOMEM;
			return -1;
		}
	}
	return 0;
}

void tail_file_close(struct tail_file *file)
{
	if (file->gzip)
		gzclose(file->gzip);
	if (file->fd >= 0)
		close(file->fd);
	*file = TAIL_FILE_NONE;
}

long tail_file_read(struct tail_file *file, uint64_t offset, char *out, size_t size)
{
	if (!file->gzip)
		return pread(file->fd, out, size, (off_t)offset);
	if (gztell(file->gzip) != (z_off_t)offset && gzseek(file->gzip, (z_off_t)offset, SEEK_SET) != (z_off_t)offset)
		return 0; /* shorter than that */
	int got = gzread(file->gzip, out, (unsigned)size);
	if (got < 0)
		errno = EIO;
	return got;
}

static bool read_all(struct tail_file *file, uint64_t offset, char *out, size_t size)
{
	for (size_t have = 0; have < size;) {
		long got = tail_file_read(file, offset + have, out + have, size - have);
		if (got <= 0)
			return false;
		have += (size_t)got;
	}
	return true;
}

bool tail_file_head(struct tail_file *file, size_t len, unsigned char out[32])
{
	char head[TAIL_HEAD];
	if (len > sizeof head || !read_all(file, 0, head, len))
		return false;
	digest_sha256(text_at(head, len), out);
	return true;
}

bool tail_file_is(struct tail_file *file, const struct tail_position *p)
{
	unsigned char head[32];
	/* Nothing was read of it yet: only the inode knows. */
	if (!p->head_len)
		return file->inode == p->inode;
	return tail_file_head(file, p->head_len, head) && memcmp(head, p->head, sizeof head) == 0;
}

bool tail_file_holds(struct tail_file *file, const struct tail_position *p)
{
	char guard[TAIL_GUARD];
	return tail_file_is(file, p) && p->guard_len <= sizeof guard && p->guard_len <= p->offset &&
	       read_all(file, p->offset - p->guard_len, guard, p->guard_len) &&
	       memcmp(guard, p->guard, p->guard_len) == 0;
}

struct sibling {
	char *path;
	struct timespec changed;
	uint64_t number; /* of ".3": the larger the older; 0: named by date */
};

/* ".1", "-20261121", ".20261121-010203", each also with ".gz": is it what a rotation appends? */
static bool is_rotated(struct text suffix, uint64_t *number)
{
	if (text_ends(suffix, TEXT(".gz")))
		suffix.len -= 3;
	if (suffix.len < 2 || (suffix.ptr[0] != '.' && suffix.ptr[0] != '-'))
		return false;
	for (size_t i = 1; i < suffix.len; i++)
		if (!strchr("0123456789-.:T", suffix.ptr[i]))
			return false;
	if (suffix.ptr[0] != '.' || text_uint(text_from(suffix, 1), 9999, number))
		*number = 0;
	return true;
}

static int by_age(const void *a, const void *b)
{
	const struct sibling *x = a, *y = b;
	if (x->number && y->number)
		return (x->number < y->number) - (x->number > y->number);
	if (!x->number && !y->number)
		return strcmp(x->path, y->path);
	if (x->changed.tv_sec != y->changed.tv_sec)
		return x->changed.tv_sec < y->changed.tv_sec ? -1 : 1;
	return (x->changed.tv_nsec > y->changed.tv_nsec) - (x->changed.tv_nsec < y->changed.tv_nsec);
}

/* While gzip is at work both names stand there; the plain one is whole. */
static bool has_plain(const struct sibling *list, size_t count, const char *path)
{
	struct text plain = text_of(path);
	if (!text_ends(plain, TEXT(".gz")))
		return false;
	plain.len -= 3;
	for (size_t i = 0; i < count; i++)
		if (text_equal(text_of(list[i].path), plain))
			return true;
	return false;
}

static void add_sibling(struct sibling **list, size_t *count, const char *folder, const char *name, uint64_t number)
{
	char path[4096];
	struct stat status;
	int len = snprintf(path, sizeof path, "%s/%s", folder, name);
	if (len < 0 || (size_t)len >= sizeof path || stat(path, &status) != 0 || !S_ISREG(status.st_mode))
		return;
	*list = memory_resize(*list, *count + 1, sizeof **list);
	(*list)[(*count)++] = (struct sibling){text_copy(text_of(path)), status.st_mtim, number};
}

void tail_siblings_find(const char *path, struct tail_siblings *out)
{
	*out = (struct tail_siblings){0};
	struct text whole = text_of(path);
	size_t slash = text_rfind(whole, '/');
	char *folder = slash == SIZE_MAX ? text_copy(TEXT(".")) : text_copy(text_head(whole, slash ? slash : 1));
	struct text name = slash == SIZE_MAX ? whole : text_from(whole, slash + 1);
	struct sibling *list = NULL;
	size_t count = 0;
	DIR *open = opendir(folder);
	for (struct dirent *entry; open && (entry = readdir(open));) {
		struct text other = text_of(entry->d_name);
		uint64_t number;
		if (text_starts(other, name) && is_rotated(text_from(other, name.len), &number))
			add_sibling(&list, &count, folder, entry->d_name, number);
	}
	if (open)
		closedir(open);
	free(folder);
	if (count)
		qsort(list, count, sizeof *list, by_age);
	out->paths = memory_zero(count + 1, sizeof *out->paths);
	for (size_t i = 0; i < count; i++)
		if (!has_plain(list, count, list[i].path))
			out->paths[out->count++] = text_copy(text_of(list[i].path));
	for (size_t i = 0; i < count; i++)
		free(list[i].path);
	free(list);
}

void tail_siblings_free(struct tail_siblings *siblings)
{
	for (size_t i = 0; i < siblings->count; i++)
		free(siblings->paths[i]);
	free(siblings->paths);
	*siblings = (struct tail_siblings){0};
}
