#include <errno.h>
#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/text.h"
#include "ctl/spf.h"

#define HELPER  "waybill-spf-check"
#define LIFE_MS 25000 /* a little more than the helper gives itself */

static void find_helper(const char *program, char *out, size_t size)
{
	if (program) {
		snprintf(out, size, "%s", program);
		return;
	}
	ssize_t len = readlink("/proc/self/exe", out, size - sizeof(HELPER) - 1);
	out[len < 0 ? 0 : len] = '\0';
	char *slash = strrchr(out, '/');
	text_put(TEXT(HELPER), slash ? slash + 1 : out, sizeof(HELPER));
}

/* In the child: nothing of the parent's but three descriptors; not root; no environment. */
static void become_helper(const char *path, char *const *argv, int out)
{
	char *const nothing[] = {NULL};
	const struct passwd *nobody = getpwnam("nobody");
	dup2(out, STDOUT_FILENO);
	close_range(STDERR_FILENO + 1, ~0U, 0);
	if (!geteuid() && (!nobody || setgroups(0, NULL) || setgid(nobody->pw_gid) || setuid(nobody->pw_uid)))
		_exit(126);
	execve(path, argv, nothing);
	_exit(127);
}

static int64_t now_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Reads until the other end closes, or time is up. */
static size_t read_answer(int in, char *out, size_t size)
{
	size_t len = 0;
	int64_t end = now_ms() + LIFE_MS;
	for (int64_t left; len + 1 < size && (left = end - now_ms()) > 0;) {
		struct pollfd fd = {.fd = in, .events = POLLIN};
		if (poll(&fd, 1, (int)left) <= 0)
			break;
		ssize_t got = read(in, out + len, size - 1 - len);
		if (got <= 0)
			break;
		len += (size_t)got;
	}
	out[len] = '\0';
	return len;
}

static void parse(char *line, struct spf_answer *answer)
{
	char *rest = line;
	line[strcspn(line, "\n")] = '\0';
	const char *result = strsep(&rest, " "), *lookups = strsep(&rest, " "), *empty = strsep(&rest, " ");
	if (!result || !lookups || !empty)
		return;
	text_put(text_of(result), answer->result, sizeof(answer->result));
	answer->lookups = (unsigned)strtoul(lookups, NULL, 10);
	answer->empty = (unsigned)strtoul(empty, NULL, 10);
	text_put(text_of(rest), answer->reason, sizeof(answer->reason));
}

static void run(const char *path, char *const *argv, struct spf_answer *answer)
{
	int ends[2], status = 0;
	char line[512];
	if (pipe(ends))
		return;
	pid_t child = fork();
	if (!child)
		become_helper(path, argv, ends[1]);
	close(ends[1]);
	size_t len = child > 0 ? read_answer(ends[0], line, sizeof(line)) : 0;
	close(ends[0]);
	if (child > 0) {
		kill(child, SIGKILL); /* it has answered, or its time is up */
		waitpid(child, &status, 0);
	}
	if (len)
		parse(line, answer);
	else if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
		snprintf(answer->reason, sizeof(answer->reason), "%.200s cannot be run", path);
}

void spf_ask(const char *program, const char *resolver, int64_t timeout_ms, const char *address, const char *domain,
	     struct spf_answer *answer)
{
	char path[4096], timeout[24];
	*answer = (struct spf_answer){.result = "temperror", .reason = "the helper gave no answer"};
	find_helper(program, path, sizeof(path));
	snprintf(timeout, sizeof(timeout), "%lld", (long long)timeout_ms);
	char *argv[] = {
		path, text_copy(text_of(resolver)), timeout, text_copy(text_of(address)), text_copy(text_of(domain)),
		NULL};
	run(path, argv, answer);
	free(argv[1]);
	free(argv[3]);
	free(argv[4]);
}
