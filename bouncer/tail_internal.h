#ifndef BOUNCER_TAIL_INTERNAL_H
#define BOUNCER_TAIL_INTERNAL_H

#include <time.h>

#include "bouncer/tail.h"

/* An open file of the log, plain or gzip. */
struct tail_file {
	int fd;     /* -1: none */
	void *gzip; /* gzFile, when it is compressed; owns a duplicate of fd */
	uint64_t inode;
};

#define TAIL_FILE_NONE ((struct tail_file){.fd = -1})

/* 0, or -1 with errno. */
int tail_file_open(const char *path, struct tail_file *out);
void tail_file_close(struct tail_file *file);
/* Reads up to SIZE bytes of text at OFFSET; 0 at the end, -1 when it cannot be read. */
long tail_file_read(struct tail_file *file, uint64_t offset, char *out, size_t size);
/* Is this the file in which POSITION lies, with all that was read of it? Equal fingerprint, and the guard in its place. */
bool tail_file_holds(struct tail_file *file, const struct tail_position *position);
/* The same file as POSITION's by its fingerprint, whatever happened behind the head. */
bool tail_file_is(struct tail_file *file, const struct tail_position *position);
/* SHA-256 of the first LEN bytes (at most TAIL_HEAD); false when the file is shorter. */
bool tail_file_head(struct tail_file *file, size_t len, unsigned char out[32]);

/* The rotated files beside PATH, oldest first, PATH itself not among them. free() names and list. */
struct tail_siblings {
	char **paths;
	size_t count;
};
void tail_siblings_find(const char *path, struct tail_siblings *out);
void tail_siblings_free(struct tail_siblings *siblings);

#endif
