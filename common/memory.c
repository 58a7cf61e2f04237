#include <stdlib.h>

#include "common/memory.h"

static void *checked(void *p)
{
	if (!p)
		abort();
	return p;
}

void *memory_new(size_t size)
{
	return checked(malloc(size ? size : 1));
}

void *memory_zero(size_t count, size_t size)
{
	return checked(calloc(count ? count : 1, size ? size : 1));
}

void *memory_resize(void *old, size_t count, size_t size)
{
	return checked(reallocarray(old, count ? count : 1, size ? size : 1));
}
