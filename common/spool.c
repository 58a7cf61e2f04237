/* The event spool: see spool.h. Lines are written by the caller, in one write(2) each; a thread of its own syncs them,
 * since fsync(2) takes as long as the disk likes. Whoever writes or renames a file holds its lock (flock(2)), and looks
 * whether it still has its name: another process of the same program may have renamed it. */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "common/log.h"
#include "common/memory.h"

#include "common/spool.h"

#define FOLDER_MODE 0750
#define FILE_MODE   0640
#define ENDING      ".jsonl"
#define RENAMED_MAX 8         /* renamed files that wait to be synced; the kernel writes further ones by itself */
#define TURNS_MAX   16        /* at finding the file that has the name */
#define RETRY_BYTES (1 << 20) /* a full file that cannot be renamed has grown by this: it is tried again */

struct spool {
	char *folder, *path;
	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t changed;
	pthread_t syncer;
	int fd; /* -1: not open */
	int renamed[RENAMED_MAX];
	size_t renamed_count;
	off_t rename_from; /* a file as large as this is renamed */
	bool unsynced, closing, complained;
};

static void complain(struct spool *spool, const char *what)
{
	if (!spool->complained)
		log_error("%s: %s: %s; events are lost until that is mended, mail is not", spool->path, what,
			  strerror(errno));
	spool->complained = true;
}

static void open_file(struct spool *spool)
{
	mkdir(spool->folder, FOLDER_MODE);
	spool->fd = open(spool->path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, FILE_MODE);
	if (spool->fd < 0)
		complain(spool, "open");
	spool->rename_from = SPOOL_MAX_BYTES;
}

static void numbered(const struct spool *spool, int number, char *out, size_t size)
{
	snprintf(out, size, number ? "%s.%d" : "%s", spool->path, number);
}

/* NAME.jsonl becomes NAME.jsonl.1 and so on; the last one is written over. False: NAME.jsonl keeps its name. */
static bool rotate(const struct spool *spool)
{
	char from[4096], to[4096];
	bool renamed = false;
	for (int number = SPOOL_FILES - 1; number >= 0; number--) {
		numbered(spool, number, from, sizeof from);
		numbered(spool, number + 1, to, sizeof to);
		renamed = rename(from, to) == 0;
	}
	return renamed;
}

/* False: the full file stays, and is written to. */
static bool rename_full(struct spool *spool, off_t size)
{
	if (size < spool->rename_from)
		return false;
	if (rotate(spool))
		return true;
	if (spool->rename_from == SPOOL_MAX_BYTES)
		log_error("%s: rename: %s; it grows until that is mended, and no event is lost", spool->path,
			  strerror(errno));
	spool->rename_from = size + RETRY_BYTES;
	return false;
}

/* Takes the file's lock. True when the file has its name and is to be written to; else whoever comes first renames it. */
static bool lock_file(struct spool *spool)
{
	struct stat open, named;
	flock(spool->fd, LOCK_EX);
	if (fstat(spool->fd, &open) != 0 || stat(spool->path, &named) != 0 || open.st_ino != named.st_ino ||
	    open.st_dev != named.st_dev)
		return false;
	return !rename_full(spool, open.st_size);
}

/* A file that has lost its name is left to the syncer. */
static void leave_file(struct spool *spool, int fd)
{
	flock(fd, LOCK_UN);
	if (spool->renamed_count < RENAMED_MAX)
		spool->renamed[spool->renamed_count++] = fd;
	else
		close(fd);
}

/* With the lock, unless it cannot be opened. */
static void open_and_lock(struct spool *spool)
{
	if (spool->fd < 0)
		open_file(spool);
	for (int turn = 0; turn < TURNS_MAX && spool->fd >= 0 && !lock_file(spool); turn++) {
		int old = spool->fd;
		open_file(spool);
		leave_file(spool, old);
	}
}

static void sync_and_close(const int *descriptors, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		fdatasync(descriptors[i]);
		close(descriptors[i]);
	}
}

/* Takes what is to be synced: files that were renamed, and a copy of the present one. */
static size_t take_unsynced(struct spool *spool, int out[RENAMED_MAX + 1])
{
	size_t count = spool->renamed_count;
	memcpy(out, spool->renamed, count * sizeof *out);
	spool->renamed_count = 0;
	spool->unsynced = false;
	out[count] = spool->fd < 0 ? -1 : fcntl(spool->fd, F_DUPFD_CLOEXEC, 0);
	return out[count] < 0 ? count : count + 1;
}

/* Lines can be added meanwhile. Called with the lock held. */
static void sync_unlocked(struct spool *spool)
{
	int descriptors[RENAMED_MAX + 1];
	size_t count = take_unsynced(spool, descriptors);
	pthread_mutex_unlock(&spool->lock);
	sync_and_close(descriptors, count);
	pthread_mutex_lock(&spool->lock);
}

static void *sync_often(void *context)
{
	struct spool *spool = context;
	const struct timespec pause = {0, SPOOL_SYNC_MS * 1000000L};
	pthread_mutex_lock(&spool->lock);
	while (!spool->closing) {
		if (!spool->unsynced && !spool->renamed_count) {
			pthread_cond_wait(&spool->changed, &spool->lock);
			continue;
		}
		sync_unlocked(spool);
		pthread_mutex_unlock(&spool->lock);
		nanosleep(&pause, NULL); /* what comes meanwhile is synced together */
		pthread_mutex_lock(&spool->lock);
	}
	pthread_mutex_unlock(&spool->lock);
	return NULL;
}

/* Signals are for the program's own thread. */
static void start_syncer(struct spool *spool)
{
	sigset_t all, before;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	if (pthread_create(&spool->syncer, NULL, sync_often, spool) != 0)
		abort();
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

struct spool *spool_open(const char *folder, const char *name)
{
	struct spool *spool = memory_zero(1, sizeof *spool);
	struct buffer path = {0};
	buffer_format(&path, "%s/%s" ENDING, folder, name);
	spool->folder = text_copy(text_of(folder));
	spool->path = text_copy(buffer_view(&path));
	buffer_free(&path);
	spool->fd = -1;
	pthread_mutex_init(&spool->lock, NULL);
	pthread_cond_init(&spool->changed, NULL);
	start_syncer(spool);
	return spool;
}

void spool_close(struct spool **spool)
{
	struct spool *s = *spool;
	if (!s)
		return;
	pthread_mutex_lock(&s->lock);
	s->closing = true;
	pthread_cond_signal(&s->changed);
	pthread_mutex_unlock(&s->lock);
	pthread_join(s->syncer, NULL);
	sync_and_close(s->renamed, s->renamed_count);
	sync_and_close(&s->fd, s->fd >= 0);
	pthread_cond_destroy(&s->changed);
	pthread_mutex_destroy(&s->lock);
	free(s->folder);
	free(s->path);
	free(s);
	*spool = NULL;
}

/* The beginning of a line would spoil the next one. */
static void take_back(struct spool *spool, ssize_t written)
{
	struct stat status;
	if (written > 0)
		errno = ENOSPC;
	complain(spool, "write");
	if (written > 0 && fstat(spool->fd, &status) == 0 && ftruncate(spool->fd, status.st_size - written) != 0)
		log_error("%s: a line stays cut: %s", spool->path, strerror(errno));
}

static void append(struct spool *spool, struct text line)
{
	char newline = '\n';
	struct iovec parts[] = {{(void *)(uintptr_t)line.ptr, line.len}, {&newline, 1}};
	if (spool->fd < 0)
		return;
	ssize_t written = writev(spool->fd, parts, 2);
	if (written == (ssize_t)line.len + 1)
		spool->complained = false;
	else
		take_back(spool, written);
	flock(spool->fd, LOCK_UN);
	spool->unsynced = true;
}

void spool_add(struct spool *spool, struct text line)
{
	pthread_mutex_lock(&spool->lock);
	open_and_lock(spool);
	append(spool, line);
	pthread_cond_signal(&spool->changed);
	pthread_mutex_unlock(&spool->lock);
}

static void search_file(const char *path, struct text needle, spool_found *found, void *context)
{
	char *line = NULL;
	size_t size = 0;
	FILE *file = fopen(path, "re");
	if (!file)
		return;
	for (ssize_t len; (len = getline(&line, &size, file)) > 0;) {
		struct text text = text_at(line, (size_t)len - (line[len - 1] == '\n'));
		if (text_search(text, needle) != SIZE_MAX)
			found(context, text);
	}
	free(line);
	fclose(file);
}

int spool_search(const char *folder, struct text needle, spool_found *found, void *context)
{
	DIR *files = opendir(folder);
	if (!files)
		return -1;
	for (struct dirent *entry; (entry = readdir(files));) {
		char path[4096];
		snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
		if (strstr(entry->d_name, ENDING))
			search_file(path, needle, found, context);
	}
	closedir(files);
	return 0;
}
