#ifndef BOUNCER_TAIL_H
#define BOUNCER_TAIL_H

/* Follows one log file, line by line, across rotations of every kind, and knows how to go on after a restart.
 *
 * A place in the log is not a byte offset of a name: files are renamed, copied and truncated, compressed, deleted. It is
 * a fingerprint of the file (inode, and the SHA-256 of what was read of its first KiB) and an offset with the bytes in
 * front of it. Whenever the file under the name is no longer the one that was read, the place is looked for among the
 * file and its siblings (NAME.1, NAME-20261121, NAME.20261121-010203, each also with .gz), the rest of what is found is
 * read first, then the younger ones in their order, then the file. What cannot be found again is reported as lost. */

#include "common/text.h"

#define TAIL_HEAD  1024 /* bytes of the file's start in the fingerprint */
#define TAIL_GUARD 64   /* bytes in front of the offset */
/* A longer line is cut to this and counted: Postfix writes at most 2,000 bytes and the envelope. */
#define TAIL_LINE_MAX 16384

struct tail_position {
	uint64_t inode;
	uint64_t offset;     /* behind the last line that was taken; of the uncompressed text */
	uint64_t generation; /* files read to their end so far */
	uint64_t changed_ns; /* the file's last change before the position was taken, since 1970 */
	uint32_t head_len, guard_len;
	unsigned char head[32]; /* SHA-256 of the file's first head_len bytes */
	char guard[TAIL_GUARD];
};

struct tail;

/* Follows PATH (copied) from POSITION on, or from the start of the file when it is NULL. Never fails: the file may come
 * later. */
struct tail *tail_open(const char *path, const struct tail_position *position);
void tail_close(struct tail **tail);

/* The next line without its end, a view until the next call; false when there is none now. */
bool tail_next(struct tail *tail, struct text *line);

/* The place behind the last line. */
void tail_position(struct tail *tail, struct tail_position *out);

/* What was found to be missing since the last call; false: nothing. */
struct tail_loss {
	const char *why; /* "truncated", "position-lost": a word for log.gap */
	uint64_t offset; /* where reading would have gone on */
};
bool tail_take_loss(struct tail *tail, struct tail_loss *out);

/* Bytes that stand in the file behind the place, siblings not counted. */
uint64_t tail_behind(struct tail *tail);
/* Why the file cannot be read just now (a constant or errno's text), or NULL. */
const char *tail_trouble(const struct tail *tail);
/* Readable when something happened to the file's folder; -1: poll. tail_drain() makes it unreadable again. */
int tail_fd(struct tail *tail);
void tail_drain(struct tail *tail);
/* Lines that were cut. */
uint64_t tail_cut(const struct tail *tail);

#endif
