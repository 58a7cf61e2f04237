#ifndef COMMON_DIRECTORY_WRITER_H
#define COMMON_DIRECTORY_WRITER_H

/* Writing the directory snapshot: "waybill directory follow", and tests that need one. One writer at a time.
 *
 * A change is a transaction: begin, put and remove, commit. It is on the disk before commit returns, and seen by every
 * view begun after it. A build fills a new file beside the snapshot, which takes its place by rename: readers see the
 * old or the new one, never a part. Functions return NULL, or why they failed; the text lives until the next call. */

#include <sys/types.h>

#include "common/directory_record.h"

struct directory_writer;

struct directory_writer_options {
	mode_t mode;      /* of the file: who may read it */
	gid_t group;      /* its group; (gid_t)-1: leave it */
	size_t map_bytes; /* the largest file, to begin with; 0: the standard, DIRECTORY_WRITER_MAP */
};
#define DIRECTORY_WRITER_MAP ((size_t)16 << 30) /* address space, not memory: the file is as large as what is in it */

/* Takes the writer's place for the snapshot at PATH, which need not exist. *OUT is set also on failure, for the text;
 * close it. */
const char *directory_writer_open(const char *path, const struct directory_writer_options *options,
				  struct directory_writer **out);
/* Gives up what is not committed. */
void directory_writer_close(struct directory_writer **writer);
/* Is there a snapshot that can be changed? If not, build one. */
bool directory_writer_has_snapshot(const struct directory_writer *writer);
/* Is the file that is being written still the one at the path? False once somebody removed or replaced it. */
bool directory_writer_in_place(const struct directory_writer *writer);

/* Did the file outgrow its map? A build then makes one of twice the size. */
bool directory_writer_is_full(const struct directory_writer *writer);

/* Begin a change of the snapshot, or a build of a new one. */
const char *directory_writer_begin(struct directory_writer *writer);
const char *directory_writer_build(struct directory_writer *writer);
/* NAME as directory_entry_key() takes it. */
const char *directory_writer_put(struct directory_writer *writer, enum directory_kind kind, struct text name,
				 struct text record);
const char *directory_writer_remove(struct directory_writer *writer, enum directory_kind kind, struct text name);
/* Writes STATE, and makes all of it durable and visible. */
const char *directory_writer_commit(struct directory_writer *writer, const struct directory_state *state);
/* Forgets the change or build. */
void directory_writer_abort(struct directory_writer *writer);

#endif
