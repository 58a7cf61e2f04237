#ifndef COMMON_SPOOL_H
#define COMMON_SPOOL_H

/* The event spool: what a daemon of the mail path knows and Postfix's log does not say, one JSON object a line, in
 * FOLDER/NAME.jsonl. A line is in the kernel's hands when spool_add() returns, so a killed process loses none, and on the
 * disk within SPOOL_SYNC_MS. A full file is renamed NAME.jsonl.1, that one .2, and so on: whoever follows it reads on
 * after the renaming; the oldest is removed. One that cannot be renamed grows on. A line is there whole or, when the disk
 * is full, not at all. Thread-safe; several processes may have the same spool. */

#include "common/text.h"

#define SPOOL_SYNC_MS   200
#define SPOOL_MAX_BYTES (16 * 1024 * 1024) /* of one file */
#define SPOOL_FILES     8                  /* besides the one being written */

struct spool;

/* Never fails: the folder is made and the file opened when they are needed; trouble is logged once, and mail does not
 * wait for it. NAME is kept, not copied. */
struct spool *spool_open(const char *folder, const char *name);
/* Syncs what is not on the disk yet. */
void spool_close(struct spool **spool);

/* Appends LINE, which holds no newline. */
void spool_add(struct spool *spool, struct text line);

/* Calls FOUND with each line of FOLDER's spools that contains NEEDLE. 0, or -1 when the folder cannot be read (errno). */
typedef void spool_found(void *context, struct text line);
int spool_search(const char *folder, struct text needle, spool_found *found, void *context);

#endif
