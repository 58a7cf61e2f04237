/* What the directory snapshot costs its readers: opening, and look-ups of logins and domains in random order.
 *
 *	bench_directory SNAPSHOT LOGINS DOMAINS     logins "login-0"…, domains "domain-0.test"…
 *
 * Prints one line of KEY=VALUE. Anonymous memory is what the reader itself holds; mapped pages belong to the file. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/directory.h"

#define ROUNDS 1000000

static double now_s(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static long anonymous_kb(void)
{
	char line[256];
	long kb = -1;
	FILE *status = fopen("/proc/self/status", "r");
	while (status && fgets(line, sizeof(line), status))
		if (!strncmp(line, "RssAnon:", 8))
			kb = strtol(line + 8, NULL, 10);
	if (status)
		fclose(status);
	return kb;
}

/* splitmix64: the same order in every run. */
static uint64_t next_random(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15u);
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

/* Microseconds for a view with one look-up in it. */
static double look_up(struct directory *directory, const char *format, uint64_t count, bool domains)
{
	uint64_t state = 1;
	size_t found = 0;
	double start = now_s();
	for (int i = 0; i < ROUNDS; i++) {
		struct directory_view view;
		struct directory_login login;
		struct directory_domain domain;
		char name[64];
		snprintf(name, sizeof(name), "%s-%llu%s", format, (unsigned long long)(next_random(&state) % count),
			 domains ? ".test" : "");
		if (directory_begin(directory, &view) != DIRECTORY_FOUND)
			exit(1);
		if (domains)
			found += directory_find_domain(&view, text_of(name), &domain) == DIRECTORY_FOUND;
		else
			found += directory_find_login(&view, text_of(name), &login) == DIRECTORY_FOUND;
		directory_end(&view);
	}
	if (found != ROUNDS) {
		fprintf(stderr, "only %zu of %d were found\n", found, ROUNDS);
		exit(1);
	}
	return (now_s() - start) / ROUNDS * 1e6;
}

int main(int argc, char **argv)
{
	struct directory_view view;
	if (argc != 4) {
		fputs("usage: bench_directory SNAPSHOT LOGINS DOMAINS\n", stderr);
		return 64;
	}
	long before_kb = anonymous_kb();
	double start = now_s();
	struct directory *directory = directory_new(argv[1]);
	if (directory_begin(directory, &view) != DIRECTORY_FOUND) {
		fprintf(stderr, "%s: %s\n", argv[1], directory_trouble(directory));
		return 1;
	}
	directory_end(&view);
	double opened_ms = (now_s() - start) * 1e3;
	double login_us = look_up(directory, "login", strtoull(argv[2], NULL, 10), false);
	double domain_us = look_up(directory, "domain", strtoull(argv[3], NULL, 10), true);
	printf("open_ms=%.3f login_us=%.3f domain_us=%.3f reader_anon_kb=%ld\n", opened_ms, login_us, domain_us,
	       anonymous_kb() - before_kb);
	directory_free(&directory);
	return 0;
}
