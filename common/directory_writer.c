/* The snapshot's writer. Its promise to readers, who leave no trace in a lock table (common/directory.c): no page that
 * a view of the last DIRECTORY_VIEW_MAX_S seconds can reach is ever reused. Two read transactions of its own hold them:
 * the older one is between one and two such spans old. A writer that starts has no such pins from its predecessor. When the
 * last change is younger than that, it first takes its own, and then waits for a moment without any view: each holds a shared
 * lock on the file. What begins after that moment, its pins protect. When there is no such moment, because a reader hangs or
 * is never idle, it goes on in a copy of the file. */

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <lmdb.h>

#include "common/directory.h"
#include "common/directory_writer.h"
#include "common/memory.h"

/* Half a second: the copy of a large file takes longer. */
#define IDLE_TRIES    1000
#define IDLE_PAUSE_NS 500000

#define BUILD_BATCH 100000 /* entries in one transaction of a build: its dirty pages stay in memory until then */

struct pin {
	MDB_txn *txn;
	int64_t since_s;
};

struct directory_writer {
	char *path, *new_path, *lock_path;
	struct directory_writer_options options;
	size_t map_bytes;
	bool full;    /* the map was too small for what came */
	int place;    /* the locked file that says who writes */
	MDB_env *env; /* the snapshot */
	dev_t device;
	ino_t inode;
	struct pin older, younger;
	MDB_env *build; /* the new file, while one is built */
	MDB_txn *txn;   /* of either */
	MDB_dbi dbi;
	size_t batched;
	char why[256];
};

static const char *failed(struct directory_writer *writer, const char *what, int error)
{
	snprintf(writer->why, sizeof(writer->why), "%s: %s: %s", writer->path, what, mdb_strerror(error));
	writer->full = writer->full || error == MDB_MAP_FULL;
	return writer->why;
}

static int64_t now_s(clockid_t clock)
{
	struct timespec now;
	clock_gettime(clock, &now);
	return now.tv_sec;
}

static char *path_with(const char *path, const char *suffix)
{
	struct buffer out = {0};
	buffer_format(&out, "%s%s", path, suffix);
	buffer_string(&out);
	return out.ptr;
}

static void pin_drop(struct pin *pin)
{
	if (pin->txn)
		mdb_txn_abort(pin->txn);
	pin->txn = NULL;
}

static int pin_take(struct directory_writer *writer, struct pin *pin)
{
	pin->since_s = now_s(CLOCK_MONOTONIC);
	return mdb_txn_begin(writer->env, NULL, MDB_RDONLY, &pin->txn);
}

/* Lets the pages go that no view can reach any more. */
static int pins_move(struct directory_writer *writer)
{
	if (now_s(CLOCK_MONOTONIC) - writer->younger.since_s <= DIRECTORY_VIEW_MAX_S)
		return 0;
	pin_drop(&writer->older);
	writer->older = writer->younger;
	writer->younger.txn = NULL;
	return pin_take(writer, &writer->younger);
}

static void snapshot_close(struct directory_writer *writer)
{
	pin_drop(&writer->older);
	pin_drop(&writer->younger);
	if (writer->env)
		mdb_env_close(writer->env);
	writer->env = NULL;
}

static int env_open(const struct directory_writer *writer, const char *path, unsigned flags, MDB_env **out)
{
	*out = NULL;
	int error = mdb_env_create(out);
	if (!error)
		error = mdb_env_set_mapsize(*out, writer->map_bytes);
	if (!error)
		error = mdb_env_open(*out, path, MDB_NOSUBDIR | MDB_NOTLS | MDB_NORDAHEAD | flags,
				     writer->options.mode);
	if (error) {
		mdb_env_close(*out);
		*out = NULL;
	}
	return error;
}

/* Opens the file at the path, which exists, for changes. */
static const char *snapshot_open(struct directory_writer *writer)
{
	struct stat file;
	/* A lock table left by another file would name that one's transactions; nobody but us keeps one. */
	unlink(writer->lock_path);
	int error = env_open(writer, writer->path, 0, &writer->env);
	if (!error)
		error = pin_take(writer, &writer->older);
	if (!error)
		error = pin_take(writer, &writer->younger);
	if (!error && stat(writer->path, &file))
		error = errno;
	if (error) {
		snapshot_close(writer);
		return failed(writer, "cannot be opened for writing", error);
	}
	writer->device = file.st_dev;
	writer->inode = file.st_ino;
	return NULL;
}

static int sync_folder(const char *path)
{
	char *copy = text_copy(text_of(path));
	int folder = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int error = folder < 0 || fsync(folder) ? errno : 0;
	if (folder >= 0)
		close(folder);
	free(copy);
	return error;
}

/* Puts the new file, closed and complete, in the snapshot's place. */
static const char *new_file_switch(struct directory_writer *writer)
{
	if (writer->options.group != (gid_t)-1 && chown(writer->new_path, (uid_t)-1, writer->options.group))
		return failed(writer, "its group cannot be set", errno);
	/* The process's umask may have taken the group's right to read. */
	if (chmod(writer->new_path, writer->options.mode))
		return failed(writer, "its mode cannot be set", errno);
	snapshot_close(writer);
	if (rename(writer->new_path, writer->path))
		return failed(writer, "the new file cannot take its place", errno);
	int error = sync_folder(writer->path);
	if (error)
		return failed(writer, "its folder cannot be synced", error);
	return snapshot_open(writer);
}

static int file_sync(const char *path)
{
	int file = open(path, O_RDWR | O_CLOEXEC);
	int error = file < 0 || fsync(file) ? errno : 0;
	if (file >= 0)
		close(file);
	return error;
}

/* Is there a moment without a view? */
static bool views_end(const struct directory_writer *writer)
{
	int file = -1;
	mdb_env_get_fd(writer->env, &file);
	for (int tries = 0; tries < IDLE_TRIES; tries++) {
		/* The first byte is what directory_begin() locks. Only asked for, never taken: readers must not fail. */
		struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1};
		if (fcntl(file, F_OFD_GETLK, &lock))
			return false;
		if (lock.l_type == F_UNLCK)
			return true;
		nanosleep(&(struct timespec){.tv_nsec = IDLE_PAUSE_NS}, NULL);
	}
	return false;
}

static const char *continue_in_copy(struct directory_writer *writer)
{
	unlink(writer->new_path);
	int error = mdb_env_copy2(writer->env, writer->new_path, MDB_CP_COMPACT);
	if (!error)
		error = file_sync(writer->new_path);
	return error ? failed(writer, "cannot be copied", error) : new_file_switch(writer);
}

static const char *snapshot_take_over(struct directory_writer *writer)
{
	struct stat file;
	struct directory *reader = directory_new(writer->path);
	struct directory_view view;
	bool readable = directory_begin(reader, &view) == DIRECTORY_FOUND;
	if (readable)
		directory_end(&view);
	directory_free(&reader);
	if (!readable || stat(writer->path, &file))
		return NULL;
	int64_t age_s = now_s(CLOCK_REALTIME) - file.st_mtim.tv_sec;
	const char *why = snapshot_open(writer);
	return why || age_s > DIRECTORY_VIEW_MAX_S || views_end(writer) ? why : continue_in_copy(writer);
}

static const char *place_take(struct directory_writer *writer)
{
	char *path = path_with(writer->path, ".writer");
	writer->place = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	free(path);
	if (writer->place < 0)
		return failed(writer, "its folder cannot be written to", errno);
	if (!flock(writer->place, LOCK_EX | LOCK_NB))
		return NULL;
	snprintf(writer->why, sizeof(writer->why), "%s: another process writes this snapshot", writer->path);
	return writer->why;
}

const char *directory_writer_open(const char *path, const struct directory_writer_options *options,
				  struct directory_writer **out)
{
	struct directory_writer *writer = memory_zero(1, sizeof(*writer));
	*out = writer;
	writer->options = *options;
	writer->map_bytes = options->map_bytes ? options->map_bytes : DIRECTORY_WRITER_MAP;
	writer->path = text_copy(text_of(path));
	writer->new_path = path_with(path, ".new");
	writer->lock_path = path_with(path, "-lock"); /* LMDB's name for it */
	const char *why = place_take(writer);
	return why ? why : snapshot_take_over(writer);
}

void directory_writer_close(struct directory_writer **writer)
{
	if (!*writer)
		return;
	directory_writer_abort(*writer);
	snapshot_close(*writer);
	if ((*writer)->place >= 0)
		close((*writer)->place);
	free((*writer)->path);
	free((*writer)->new_path);
	free((*writer)->lock_path);
	free(*writer);
	*writer = NULL;
}

bool directory_writer_has_snapshot(const struct directory_writer *writer)
{
	return writer->env != NULL;
}

bool directory_writer_in_place(const struct directory_writer *writer)
{
	struct stat file;
	return writer->env && !stat(writer->path, &file) && file.st_ino == writer->inode &&
	       file.st_dev == writer->device;
}

bool directory_writer_is_full(const struct directory_writer *writer)
{
	return writer->full;
}

static const char *txn_begin(struct directory_writer *writer, MDB_env *env)
{
	int error = mdb_txn_begin(env, NULL, 0, &writer->txn);
	if (error) {
		writer->txn = NULL;
		return failed(writer, "no change can be begun", error);
	}
	error = mdb_dbi_open(writer->txn, NULL, 0, &writer->dbi);
	return error ? failed(writer, "no change can be begun", error) : NULL;
}

const char *directory_writer_begin(struct directory_writer *writer)
{
	int error = pins_move(writer);
	return error ? failed(writer, "no change can be begun", error) : txn_begin(writer, writer->env);
}

const char *directory_writer_build(struct directory_writer *writer)
{
	writer->batched = 0;
	if (writer->full)
		writer->map_bytes *= 2;
	writer->full = false;
	if (unlink(writer->new_path) && errno != ENOENT)
		return failed(writer, "an old new file cannot be removed", errno);
	/* Nobody else knows the file yet, and a crash throws it away: no locks, no syncs before the end. */
	int error = env_open(writer, writer->new_path, MDB_NOLOCK | MDB_NOSYNC, &writer->build);
	return error ? failed(writer, "no new file can be made", error) : txn_begin(writer, writer->build);
}

static const char *txn_commit(struct directory_writer *writer)
{
	MDB_txn *txn = writer->txn;
	writer->txn = NULL;
	int error = mdb_txn_commit(txn);
	return error ? failed(writer, "a change cannot be committed", error) : NULL;
}

const char *directory_writer_put(struct directory_writer *writer, enum directory_kind kind, struct text name,
				 struct text record)
{
	char key[DIRECTORY_ENTRY_KEY_MAX];
	MDB_val slot = {directory_entry_key(kind, name, key), key};
	MDB_val value = {record.len, memory_new(record.len)};
	if (record.len)
		memcpy(value.mv_data, record.ptr, record.len);
	int error = mdb_put(writer->txn, writer->dbi, &slot, &value, 0);
	free(value.mv_data);
	if (error)
		return failed(writer, "an entry cannot be written", error);
	if (!writer->build || ++writer->batched % BUILD_BATCH)
		return NULL;
	const char *why = txn_commit(writer);
	return why ? why : txn_begin(writer, writer->build);
}

const char *directory_writer_remove(struct directory_writer *writer, enum directory_kind kind, struct text name)
{
	char key[DIRECTORY_ENTRY_KEY_MAX];
	MDB_val slot = {directory_entry_key(kind, name, key), key};
	int error = mdb_del(writer->txn, writer->dbi, &slot, NULL);
	return error && error != MDB_NOTFOUND ? failed(writer, "an entry cannot be removed", error) : NULL;
}

static const char *build_finish(struct directory_writer *writer)
{
	int error = mdb_env_sync(writer->build, 1);
	mdb_env_close(writer->build);
	writer->build = NULL;
	return error ? failed(writer, "the new file cannot be synced", error) : new_file_switch(writer);
}

const char *directory_writer_commit(struct directory_writer *writer, const struct directory_state *state)
{
	struct buffer record = {0};
	directory_state_encode(state, &record);
	const char *why = directory_writer_put(writer, DIRECTORY_STATE, TEXT(""), buffer_view(&record));
	buffer_free(&record);
	if (!why)
		why = txn_commit(writer);
	if (!why && writer->build)
		why = build_finish(writer);
	if (why)
		directory_writer_abort(writer);
	return why;
}

void directory_writer_abort(struct directory_writer *writer)
{
	if (writer->txn)
		mdb_txn_abort(writer->txn);
	writer->txn = NULL;
	if (!writer->build)
		return;
	mdb_env_close(writer->build);
	writer->build = NULL;
	unlink(writer->new_path);
}
