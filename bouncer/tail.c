#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/digest.h"
#include "common/memory.h"

#include "bouncer/tail_internal.h"

#define CHUNK (256 * 1024)

struct tail {
	char *path;
	struct tail_file file;
	bool ending;     /* it is complete; what was written to it just before that is still to be read */
	bool live;       /* file is the one under path, as far as we know */
	uint64_t offset; /* behind the last line handed out */
	uint64_t generation;
	char head[TAIL_HEAD]; /* the file's first bytes, as far as they were handed out */
	size_t head_len;
	struct tail_position wanted;   /* a place to be found again */
	struct tail_position previous; /* the end of the file before, as long as nothing was taken of this one */
	bool has_previous;
	bool searching;
	struct buffer ahead; /* read, from offset - used on */
	size_t used;         /* bytes of ahead that were handed out */
	bool skipping;       /* in the rest of a line that was cut */
	uint64_t cut;
	struct tail_loss loss;
	int trouble; /* errno */
	int inotify;
};

static void watch(struct tail *t)
{
	char *folder = text_copy(text_of(t->path)), *slash = strrchr(folder, '/');
	if (slash)
		slash[slash == folder] = '\0';
	t->inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (t->inotify >= 0)
		inotify_add_watch(t->inotify, slash ? folder : ".",
				  IN_MODIFY | IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE);
	free(folder);
}

struct tail *tail_open(const char *path, const struct tail_position *position)
{
	struct tail *t = memory_zero(1, sizeof *t);
	t->path = text_copy(text_of(path));
	t->file = TAIL_FILE_NONE;
	if (position) {
		t->wanted = *position;
		t->generation = position->generation;
		t->searching = true;
	}
	t->inotify = -1;
	return t;
}

void tail_close(struct tail **tail)
{
	struct tail *t = *tail;
	if (!t)
		return;
	tail_file_close(&t->file);
	if (t->inotify >= 0)
		close(t->inotify);
	buffer_free(&t->ahead);
	free(t->path);
	free(t);
	*tail = NULL;
}

/* Keeps the bytes in front of the place, by which it is known again. */
static void remember_guard(struct tail *t)
{
	char guard[TAIL_GUARD];
	size_t len = t->offset < TAIL_GUARD ? (size_t)t->offset : TAIL_GUARD;
	if (!len || tail_file_read(&t->file, t->offset - len, guard, len) != (long)len)
		return;
	buffer_add(&t->ahead, guard, len);
	t->used = len;
}

/* Reads FILE from OFFSET on; the first bytes are read again for the fingerprint. */
static void use(struct tail *t, struct tail_file *file, bool live, uint64_t offset)
{
	tail_file_close(&t->file);
	t->file = *file;
	t->live = live;
	t->offset = offset;
	t->ahead.len = t->used = 0;
	remember_guard(t);
	t->ending = false;
	t->skipping = false;
	t->head_len = offset < TAIL_HEAD ? (size_t)offset : TAIL_HEAD;
	if (t->head_len && tail_file_read(&t->file, 0, t->head, t->head_len) != (long)t->head_len)
		t->head_len = 0;
}

static void lose(struct tail *t, const char *why, uint64_t offset)
{
	if (!t->loss.why)
		t->loss = (struct tail_loss){why, offset};
}

static bool open_if_holds(const char *path, const struct tail_position *wanted, bool same_inode, struct tail_file *file)
{
	if (tail_file_open(path, file) != 0)
		return false;
	if ((!same_inode || file->inode == wanted->inode) && tail_file_holds(file, wanted))
		return true;
	tail_file_close(file);
	return false;
}

/* Finds the place again: in the file itself, or in a sibling; by its inode first, then by what it holds (a copy). */
static bool find_place(struct tail *t)
{
	struct tail_file file;
	struct tail_siblings siblings;
	bool found = false;
	tail_siblings_find(t->path, &siblings);
	for (int any_inode = 0; any_inode < 2 && !found; any_inode++) {
		found = open_if_holds(t->path, &t->wanted, !any_inode, &file);
		if (found)
			use(t, &file, true, t->wanted.offset);
		for (size_t i = siblings.count; i-- > 0 && !found;) {
			found = open_if_holds(siblings.paths[i], &t->wanted, !any_inode, &file);
			if (found)
				use(t, &file, false, t->wanted.offset);
		}
	}
	tail_siblings_free(&siblings);
	return found;
}

/* The file under the name, from its start. */
static bool start_live(struct tail *t)
{
	struct tail_file file;
	if (tail_file_open(t->path, &file) != 0) {
		t->trouble = errno;
		return false;
	}
	t->trouble = 0;
	use(t, &file, true, 0);
	return true;
}

static uint64_t nanoseconds(struct timespec time)
{
	return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

/* The place in the file that is open. */
static void place(struct tail *t, struct tail_position *out)
{
	struct stat status;
	*out = (struct tail_position){.inode = t->file.inode, .offset = t->offset, .generation = t->generation};
	if (fstat(t->file.fd, &status) == 0)
		out->changed_ns = nanoseconds(status.st_mtim);
	out->head_len = (uint32_t)t->head_len;
	digest_sha256(text_at(t->head, t->head_len), out->head);
	size_t guard = t->used < TAIL_GUARD ? t->used : TAIL_GUARD;
	if (guard)
		memcpy(out->guard, t->ahead.ptr + t->used - guard, guard);
	out->guard_len = (uint32_t)guard;
}

/* The first sibling that was changed after CHANGED_NS: younger than the file that was read then and has no name any more.
 * The count: none. */
static size_t younger(const struct tail_siblings *siblings, uint64_t changed_ns)
{
	struct stat status;
	size_t i = 0;
	while (i < siblings->count &&
	       (stat(siblings->paths[i], &status) != 0 || nanoseconds(status.st_mtim) <= changed_ns))
		i++;
	return i;
}

static bool is_file_of(const char *path, const struct tail_position *place, bool same_inode)
{
	struct tail_file file;
	if (tail_file_open(path, &file) != 0)
		return false;
	bool same = (!same_inode || file.inode == place->inode) && tail_file_is(&file, place);
	tail_file_close(&file);
	return same;
}

/* The position of the file with PLACE among SIBLINGS; SIZE_MAX: it is not there. What it holds decides: the inode of a file
 * that is gone may be another's by now. */
static size_t sibling_of(const struct tail_siblings *siblings, const struct tail_position *place)
{
	for (int any_inode = 0; any_inode < 2; any_inode++)
		for (size_t i = siblings->count; i-- > 0;)
			if (is_file_of(siblings->paths[i], place, !any_inode))
				return i;
	return SIZE_MAX;
}

/* Opens the first sibling from position FROM on that can be opened. */
static bool use_sibling(struct tail *t, const struct tail_siblings *siblings, size_t from)
{
	struct tail_file file;
	for (size_t i = from; i < siblings->count; i++)
		if (tail_file_open(siblings->paths[i], &file) == 0) {
			use(t, &file, false, 0);
			return true;
		}
	return false;
}

/* The file that is read has ended: the sibling that follows it, or the file under the name. */
static bool next_file(struct tail *t)
{
	struct tail_position here;
	struct tail_siblings siblings;
	place(t, &here);
	tail_siblings_find(t->path, &siblings);
	size_t at = sibling_of(&siblings, &here);
	t->generation++;
	/* A file of which nothing was read has no fingerprint yet: until then the end of the last one marks the place. */
	if (t->offset) {
		t->previous = here;
		t->has_previous = true;
	}
	bool ok = use_sibling(t, &siblings, at == SIZE_MAX ? younger(&siblings, here.changed_ns) : at + 1);
	tail_siblings_free(&siblings);
	return ok || start_live(t);
}

/* At the start of the file under the name: has it been rotated away since it was opened, before anything was read of it?
 * Then there is a sibling behind the file that was read last. */
static bool was_overtaken(struct tail *t)
{
	struct tail_siblings siblings;
	if (!t->live || t->offset || !t->has_previous)
		return false;
	tail_siblings_find(t->path, &siblings);
	size_t at = sibling_of(&siblings, &t->previous);
	bool ok = at != SIZE_MAX && use_sibling(t, &siblings, at + 1);
	tail_siblings_free(&siblings);
	return ok;
}

/* The file that was read is gone: on with what was written after it. */
static bool start_over(struct tail *t)
{
	struct tail_siblings siblings;
	if (t->wanted.offset)
		lose(t, "position-lost", t->wanted.offset);
	tail_siblings_find(t->path, &siblings);
	bool ok = t->wanted.offset && use_sibling(t, &siblings, younger(&siblings, t->wanted.changed_ns));
	tail_siblings_free(&siblings);
	return ok || start_live(t);
}

static bool acquire(struct tail *t)
{
	if (t->searching) {
		t->searching = false;
		if (find_place(t))
			return true;
		struct stat status;
		if (stat(t->path, &status) != 0) {
			/* Between rename and create: the file may come with the next look. */
			t->trouble = errno;
			t->searching = true;
			return false;
		}
		return start_over(t);
	}
	return start_live(t);
}

/* Does the file still hold what was read of it? Its first bytes, and those around the place, are compared with what
 * memory holds. */
static bool is_intact(struct tail *t)
{
	char bytes[TAIL_HEAD];
	size_t from = t->used < TAIL_GUARD ? 0 : t->used - TAIL_GUARD, len = t->ahead.len - from;
	len = len < sizeof bytes ? len : sizeof bytes;
	if (t->head_len && (tail_file_read(&t->file, 0, bytes, t->head_len) != (long)t->head_len ||
			    memcmp(bytes, t->head, t->head_len) != 0))
		return false;
	return !len || (tail_file_read(&t->file, t->offset - t->used + from, bytes, len) == (long)len &&
			memcmp(bytes, t->ahead.ptr + from, len) == 0);
}

/* Truncated under us. Its copy, if one was made, has the rest. */
static bool recover(struct tail *t)
{
	if (!t->offset && t->has_previous)
		return was_overtaken(t) || start_live(t);
	place(t, &t->wanted);
	t->wanted.inode = 0;
	if (t->offset && find_place(t))
		return true;
	lose(t, "truncated", t->wanted.offset);
	t->generation++;
	t->has_previous = false;
	return start_live(t);
}

/* Is a rotated file complete? Its writer goes on in it until it opens the next one: a younger sibling, or the file under
 * the name, which holds something then. */
static bool is_over(struct tail *t, bool live_has_text)
{
	struct tail_position here;
	struct tail_siblings siblings;
	if (live_has_text)
		return true;
	place(t, &here);
	tail_siblings_find(t->path, &siblings);
	size_t at = sibling_of(&siblings, &here);
	bool over = at == SIZE_MAX ? younger(&siblings, here.changed_ns) < siblings.count : at + 1 < siblings.count;
	tail_siblings_free(&siblings);
	return over;
}

/* At the end of what is there: is this still the right file? True: look again. */
static bool changed(struct tail *t)
{
	struct stat path, open;
	if (fstat(t->file.fd, &open) != 0)
		return false;
	bool exists = stat(t->path, &path) == 0;
	if (!t->live)
		return is_over(t, exists && path.st_size > 0) && (t->ending ? next_file(t) : (t->ending = true));
	if (!is_intact(t))
		return recover(t);
	if (exists && path.st_ino == open.st_ino && path.st_dev == open.st_dev)
		return false;
	/* Renamed. The writer goes on in it until it opens the new one, so wait for that one's first byte. */
	if (!exists || path.st_size == 0)
		return false;
	t->live = false;
	return true;
}

static long fill(struct tail *t)
{
	static char chunk[CHUNK];
	uint64_t at = t->offset - t->used + t->ahead.len;
	size_t keep = t->used < TAIL_GUARD ? t->used : TAIL_GUARD;
	buffer_drop(&t->ahead, t->used - keep);
	t->used = keep;
	long got = tail_file_read(&t->file, at, chunk, sizeof chunk);
	if (got > 0)
		buffer_add(&t->ahead, chunk, (size_t)got);
	return got;
}

/* LEN bytes are handed out. */
static void advance(struct tail *t, size_t len)
{
	size_t head = TAIL_HEAD - t->head_len < len ? TAIL_HEAD - t->head_len : len;
	if (t->offset < TAIL_HEAD && head)
		memcpy(t->head + t->head_len, t->ahead.ptr + t->used, head), t->head_len += head;
	t->used += len;
	t->offset += len;
}

/* A whole line, or what there is of one that is too long or that nothing follows (WHOLE false). */
static bool take_line(struct tail *t, bool whole, struct text *line)
{
	for (;;) {
		struct text rest = text_from(buffer_view(&t->ahead), t->used);
		size_t end = text_find(rest, '\n');
		if (end == SIZE_MAX && (whole ? rest.len < TAIL_LINE_MAX : !rest.len))
			return false;
		size_t len = end == SIZE_MAX ? rest.len : end;
		bool skip = t->skipping, cut = len > TAIL_LINE_MAX || (end == SIZE_MAX && whole);
		t->skipping = end == SIZE_MAX && whole;
		if (!skip && cut)
			t->cut++;
		*line = text_head(rest, len < TAIL_LINE_MAX ? len : TAIL_LINE_MAX);
		advance(t, end == SIZE_MAX ? len : end + 1);
		if (!skip)
			return true;
	}
}

bool tail_next(struct tail *t, struct text *line)
{
	for (;;) {
		if (t->file.fd < 0 && !acquire(t))
			return false;
		if (take_line(t, true, line))
			return true;
		long got = fill(t);
		if (got < 0)
			t->trouble = errno;
		if (got > 0) {
			/* What was read may be another file's by now. */
			if (t->live && !is_intact(t)) {
				t->ahead.len -= (size_t)got;
				if (!recover(t))
					return false;
			}
			was_overtaken(t);
			continue;
		}
		/* Nobody will write here any more: a last line without its end is all there is of it. */
		if (t->ending && take_line(t, false, line))
			return true;
		if (!changed(t))
			return false;
	}
}

void tail_position(struct tail *t, struct tail_position *out)
{
	if (t->file.fd < 0)
		*out = t->wanted;
	else if (!t->offset && t->has_previous)
		*out = t->previous;
	else
		place(t, out);
}

bool tail_take_loss(struct tail *t, struct tail_loss *out)
{
	*out = t->loss;
	t->loss = (struct tail_loss){0};
	return out->why;
}

uint64_t tail_behind(struct tail *t)
{
	struct stat status;
	if (t->file.fd < 0 || fstat(t->file.fd, &status) != 0 || (uint64_t)status.st_size < t->offset)
		return 0;
	return (uint64_t)status.st_size - t->offset;
}

const char *tail_trouble(const struct tail *t)
{
	return t->trouble ? strerror(t->trouble) : NULL;
}

int tail_fd(struct tail *t)
{
	if (t->inotify < 0)
		watch(t);
	return t->inotify;
}

void tail_drain(struct tail *t)
{
	char events[4096];
	while (t->inotify >= 0 && read(t->inotify, events, sizeof events) > 0)
		;
}

uint64_t tail_cut(const struct tail *t)
{
	return t->cut;
}
