/* The snapshot's reader: the one place besides its writer (ctl/snapshot.c) that knows LMDB.
 *
 * Readers run under other accounts than the follower, sandboxed, with nothing but the right to read one file. So they
 * open it without LMDB's lock file (MDB_NOLOCK), which every reader would have to write. What the lock file protects,
 * the writer promises instead: it never reuses a page that a view begun less than DIRECTORY_VIEW_MAX_S ago can reach
 * (it holds read transactions of its own, in its own lock table, that pin those pages).
 *
 * A writer that starts has no such pins from its predecessor. Views therefore hold a shared lock on the file (of the open
 * file description, fcntl(2): it goes with its process, never waits and keeps nobody waiting), so that the writer can
 * see that no view of before is left.
 *
 * A rebuild replaces the file by rename, so each view compares the path's inode with the mapped one. A map in use is
 * counted, and goes away with its last view. */

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include <lmdb.h>

#include "common/directory.h"
#include "common/memory.h"

/* A map of one file. */
struct directory_snapshot {
	MDB_env *env;
	MDB_dbi dbi;
	dev_t device;
	ino_t inode;
	uint64_t number; /* of all files that this process has opened: inodes come again */
	size_t last_txn; /* of the last view begun */
	unsigned users;  /* views, and 1 while it is the current one */
	unsigned views;
};

struct directory {
	char *path;
	pthread_mutex_t lock; /* of what follows */
	struct directory_snapshot *current;
	uint64_t opened; /* files */
	const char *trouble;
	/* A file that could not be opened is not tried again before it changes. */
	dev_t refused_device;
	ino_t refused_inode;
	struct timespec refused_changed;
};

struct directory *directory_new(const char *path)
{
	struct directory *directory = memory_zero(1, sizeof(*directory));
	directory->path = text_copy(text_of(path));
	pthread_mutex_init(&directory->lock, NULL);
	return directory;
}

static void snapshot_release(struct directory_snapshot *snapshot)
{
	if (!snapshot || --snapshot->users)
		return;
	mdb_env_close(snapshot->env);
	free(snapshot);
}

void directory_free(struct directory **directory)
{
	if (!*directory)
		return;
	snapshot_release((*directory)->current);
	pthread_mutex_destroy(&(*directory)->lock);
	free((*directory)->path);
	free(*directory);
	*directory = NULL;
}

const char *directory_trouble(struct directory *directory)
{
	pthread_mutex_lock(&directory->lock);
	const char *trouble = directory->trouble;
	pthread_mutex_unlock(&directory->lock);
	return trouble ? trouble : "";
}

static const char *state_trouble(struct directory_snapshot *snapshot, MDB_txn *txn)
{
	char key[DIRECTORY_ENTRY_KEY_MAX];
	size_t len = directory_entry_key(DIRECTORY_STATE, TEXT(""), key);
	MDB_val name = {len, key}, value;
	if (mdb_dbi_open(txn, NULL, 0, &snapshot->dbi) || mdb_get(txn, snapshot->dbi, &name, &value))
		return "the snapshot has no state: it is damaged, or no snapshot";
	return directory_record_check(DIRECTORY_STATE, text_at(value.mv_data, value.mv_size));
}

/* Opens the handle on the one database in ENV, and looks whether this is a snapshot that we understand. */
static const char *snapshot_check(struct directory_snapshot *snapshot)
{
	MDB_txn *txn;
	if (mdb_txn_begin(snapshot->env, NULL, MDB_RDONLY, &txn))
		return "the snapshot cannot be read";
	const char *why = state_trouble(snapshot, txn);
	/* Committing, not aborting, keeps the handle open for every later view. */
	if (why)
		mdb_txn_abort(txn);
	else
		mdb_txn_commit(txn);
	return why;
}

static const char *open_error(int error)
{
	switch (error) {
	case ENOENT: return "the snapshot does not exist yet: is waybill directory follow running?";
	case EACCES: return "this account may not read the snapshot";
	case MDB_INVALID: return "the snapshot is no LMDB file";
	case MDB_VERSION_MISMATCH: return "the snapshot was written by another version of LMDB";
	default: return "the snapshot cannot be opened";
	}
}

static const char *snapshot_open(const char *path, const struct stat *file, struct directory_snapshot **out)
{
	struct directory_snapshot *snapshot = memory_zero(1, sizeof(*snapshot));
	snapshot->users = 1;
	snapshot->device = file->st_dev;
	snapshot->inode = file->st_ino;
	if (mdb_env_create(&snapshot->env))
		abort();
	int error = mdb_env_open(snapshot->env, path,
				 MDB_NOSUBDIR | MDB_RDONLY | MDB_NOLOCK | MDB_NOTLS | MDB_NORDAHEAD, 0);
	const char *why = error ? open_error(error) : snapshot_check(snapshot);
	if (why)
		snapshot_release(snapshot);
	else
		*out = snapshot;
	return why;
}

static bool was_refused(const struct directory *directory, const struct stat *file)
{
	return directory->trouble && directory->refused_inode == file->st_ino &&
	       directory->refused_device == file->st_dev && directory->refused_changed.tv_sec == file->st_ctim.tv_sec &&
	       directory->refused_changed.tv_nsec == file->st_ctim.tv_nsec;
}

/* Makes FILE, which now stands at the path, the current map. Until one that can be read is there, there is none: an
 * old map would hide for ever that changes no longer arrive. */
static void take_file(struct directory *directory, const struct stat *file)
{
	if (was_refused(directory, file))
		return;
	snapshot_release(directory->current);
	directory->current = NULL;
	directory->trouble = snapshot_open(directory->path, file, &directory->current);
	if (directory->current)
		directory->current->number = ++directory->opened;
	directory->refused_device = file->st_dev;
	directory->refused_inode = file->st_ino;
	directory->refused_changed = file->st_ctim;
}

/* Tells a writer that starts whether there is a view of this process. */
static int view_lock(const struct directory_snapshot *snapshot, short type)
{
	int file = -1;
	struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_len = 1};
	mdb_env_get_fd(snapshot->env, &file);
	return fcntl(file, F_OFD_SETLK, &lock);
}

/* One view more; NULL in trouble. */
static struct directory_snapshot *snapshot_enter(struct directory *directory, struct directory_snapshot *snapshot)
{
	if (!snapshot->views && view_lock(snapshot, F_RDLCK)) {
		directory->trouble = "the snapshot cannot be locked for reading";
		return NULL;
	}
	snapshot->views++;
	snapshot->users++;
	return snapshot;
}

/* The current map, counted once more; NULL in trouble. A missing file does not end the use of the map: the follower
 * writes a new one within a second, and mail flows on meanwhile. */
static struct directory_snapshot *snapshot_take(struct directory *directory)
{
	struct stat file;
	int missing = stat(directory->path, &file) ? errno : 0;
	pthread_mutex_lock(&directory->lock);
	struct directory_snapshot *current = directory->current;
	if (missing && !current)
		directory->trouble = open_error(missing);
	else if (!missing && (!current || current->inode != file.st_ino || current->device != file.st_dev))
		take_file(directory, &file);
	current = directory->current ? snapshot_enter(directory, directory->current) : NULL;
	pthread_mutex_unlock(&directory->lock);
	return current;
}

static void snapshot_give(struct directory *directory, struct directory_snapshot *snapshot)
{
	pthread_mutex_lock(&directory->lock);
	if (!--snapshot->views)
		view_lock(snapshot, F_UNLCK);
	snapshot_release(snapshot);
	pthread_mutex_unlock(&directory->lock);
}

/* Without the lock table a view learns its transaction from the file's two meta pages alone. Of a transaction not seen
 * before, the page may just be coming in; and the one chosen may be overtaken twice while it is copied. So a view is
 * begun again until its number is known and still the last: then its page was at rest meanwhile. */
static int txn_begin(struct directory_snapshot *snapshot, MDB_txn **txn)
{
	int error = mdb_txn_begin(snapshot->env, NULL, MDB_RDONLY, txn);
	while (!error) {
		size_t id = mdb_txn_id(*txn);
		MDB_envinfo info;
		mdb_env_info(snapshot->env, &info);
		if (__atomic_exchange_n(&snapshot->last_txn, id, __ATOMIC_RELAXED) == id && info.me_last_txnid == id)
			return 0;
		mdb_txn_reset(*txn);
		error = mdb_txn_renew(*txn);
	}
	return error;
}

enum directory_answer directory_begin(struct directory *directory, struct directory_view *view)
{
	MDB_txn *txn;
	struct directory_snapshot *snapshot = snapshot_take(directory);
	if (!snapshot)
		return DIRECTORY_TROUBLE;
	if (txn_begin(snapshot, &txn)) {
		snapshot_give(directory, snapshot);
		return DIRECTORY_TROUBLE;
	}
	*view = (struct directory_view){directory, snapshot, txn};
	return DIRECTORY_FOUND;
}

void directory_end(struct directory_view *view)
{
	mdb_txn_abort(view->txn);
	snapshot_give(view->directory, view->snapshot);
	*view = (struct directory_view){0};
}

struct directory_version directory_version(const struct directory_view *view)
{
	return (struct directory_version){view->snapshot->number, mdb_txn_id(view->txn)};
}

static enum directory_answer find(struct directory_view *view, enum directory_kind kind, struct text name,
				  struct text *record)
{
	char key[DIRECTORY_ENTRY_KEY_MAX];
	size_t len = directory_entry_key(kind, name, key);
	if (!len)
		return DIRECTORY_ABSENT;
	MDB_val slot = {len, key}, value;
	int error = mdb_get(view->txn, view->snapshot->dbi, &slot, &value);
	if (error)
		return error == MDB_NOTFOUND ? DIRECTORY_ABSENT : DIRECTORY_TROUBLE;
	*record = text_at(value.mv_data, value.mv_size);
	return DIRECTORY_FOUND;
}

#define FIND(kind, name, decode)                                        \
	struct text record;                                             \
	enum directory_answer answer = find(view, kind, name, &record); \
	return answer == DIRECTORY_FOUND && decode(record, out) ? DIRECTORY_TROUBLE : answer

enum directory_answer directory_find_login(struct directory_view *view, struct text name, struct directory_login *out)
{
	FIND(DIRECTORY_LOGINS, name, directory_login_decode);
}

enum directory_answer directory_find_customer(struct directory_view *view, struct text customer,
					      struct directory_customer *out)
{
	FIND(DIRECTORY_CUSTOMERS, customer, directory_customer_decode);
}

enum directory_answer directory_find_domain(struct directory_view *view, struct text domain,
					    struct directory_domain *out)
{
	FIND(DIRECTORY_DOMAINS, domain, directory_domain_decode);
}

enum directory_answer directory_find_senders(struct directory_view *view, struct text name,
					     struct directory_senders *out)
{
	FIND(DIRECTORY_SENDERS, name, directory_senders_decode);
}

enum directory_answer directory_find_return_path(struct directory_view *view, struct text name,
						 struct directory_return_path *out)
{
	FIND(DIRECTORY_RETURN_PATHS, name, directory_return_path_decode);
}

enum directory_answer directory_find_relay(struct directory_view *view, struct directory_relay *out)
{
	FIND(DIRECTORY_RELAY, TEXT(""), directory_relay_decode);
}

enum directory_answer directory_find_state(struct directory_view *view, struct directory_state *out)
{
	FIND(DIRECTORY_STATE, TEXT(""), directory_state_decode);
}

enum directory_answer directory_find_suppression(struct directory_view *view, struct text customer, struct text address,
						 struct directory_suppression *out)
{
	char name[DIRECTORY_ENTRY_KEY_MAX];
	size_t len = customer.len + 1 + address.len;
	if (len >= sizeof(name))
		return DIRECTORY_ABSENT;
	text_put(customer, name, sizeof(name));
	name[customer.len] = ' ';
	text_put(address, name + customer.len + 1, sizeof(name) - customer.len - 1);
	FIND(DIRECTORY_SUPPRESSIONS, text_at(name, len), directory_suppression_decode);
}

const char *directory_verify(struct directory_view *view, size_t *entries)
{
	MDB_cursor *cursor;
	MDB_val key, value;
	const char *why = NULL;
	*entries = 0;
	if (mdb_cursor_open(view->txn, view->snapshot->dbi, &cursor))
		return "the snapshot cannot be walked";
	int error = mdb_cursor_get(cursor, &key, &value, MDB_FIRST);
	for (; !error && !why; error = mdb_cursor_get(cursor, &key, &value, MDB_NEXT), ++*entries) {
		enum directory_kind kind;
		struct text name;
		why = directory_entry_kind(text_at(key.mv_data, key.mv_size), &kind, &name);
		if (!why)
			why = directory_record_check(kind, text_at(value.mv_data, value.mv_size));
	}
	mdb_cursor_close(cursor);
	return why || error == MDB_NOTFOUND ? why : "the snapshot's tree is damaged";
}
