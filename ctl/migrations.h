#ifndef CTL_MIGRATIONS_H
#define CTL_MIGRATIONS_H

#include "common/text.h"

/* The files of schema/, in order; the build embeds them (ctl/CMakeLists.txt). */
struct migration {
	const char *name; /* "0001_directory" */
	struct text sql;
	const char *sha256; /* of the file, in hex */
};

extern const struct migration migrations[];
extern const size_t migration_count;

#endif
