#ifndef CTL_COMPRESS_H
#define CTL_COMPRESS_H

/* Zstandard (RFC 8878) as a stream into a file, and back. The checksum of RFC 8878 section 3.1.1 stands in each frame. */

#include <stdio.h>

#include "common/text.h"

struct compress;

struct compress *compress_new(void);
/* Compresses BYTES and writes what is ready to OUT. 0, or -1 with errno. */
int compress_add(struct compress *compress, struct text bytes, FILE *out);
/* Writes what is left. 0, or -1 with errno. */
int compress_end(struct compress *compress, FILE *out);
void compress_free(struct compress **compress);

/* Gives VISIT what stands uncompressed in the file PATH, piece by piece. 0, or -1: it cannot be read, is none, is damaged
 * or ends in the middle. */
typedef void compress_visit(void *context, struct text piece);
int compress_read(const char *path, compress_visit *visit, void *context);

#endif
