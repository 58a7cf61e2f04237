#ifndef BENCH_LOG_READER_H
#define BENCH_LOG_READER_H

/* What the readers of a log that are measured have in common: lines out of a file, and what it cost. */

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LOG_CHUNK (256 * 1024)

static inline double log_cpu_s(void)
{
	struct timespec t;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Calls TAKE for each line of PATH, without its end. Returns their number; ends the process when there is no file. */
static inline uint64_t log_each(const char *path, void (*take)(void *context, const char *line, size_t len),
				void *context)
{
	static char chunk[LOG_CHUNK];
	size_t held = 0;
	uint64_t lines = 0;
	int fd = open(path, O_RDONLY);
	if (fd < 0) {
		perror(path);
		exit(1);
	}
	for (ssize_t got; (got = read(fd, chunk + held, sizeof chunk - held)) > 0;) {
		char *at = chunk, *end = chunk + held + got, *stop;
		for (; (stop = memchr(at, '\n', (size_t)(end - at))); at = stop + 1, lines++)
			take(context, at, (size_t)(stop - at));
		held = (size_t)(end - at);
		memmove(chunk, at, held);
	}
	close(fd);
	return lines;
}

#endif
