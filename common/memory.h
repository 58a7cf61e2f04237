#ifndef COMMON_MEMORY_H
#define COMMON_MEMORY_H

#include <stddef.h>

/* As malloc(3) and its family, but never NULL: out of memory ends the process with abort(). systemd starts it again
 * and Postfix answers 4xx meanwhile; an allocation half way through a message has no better answer. */
void *memory_new(size_t size);
/* COUNT zeroed elements of SIZE bytes. */
void *memory_zero(size_t count, size_t size);
void *memory_resize(void *old, size_t count, size_t size);

#endif
