#include "ctl/sendmail.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int64_t now_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static bool wait_fd(int fd, short events, int64_t end)
{
	struct pollfd wait = {.fd = fd, .events = events};
	int64_t left = end - now_ms();
	return left > 0 && poll(&wait, 1, (int)left) > 0;
}

/* A program that ends early is told by its status. */
static void feed(int fd, struct text mail, int64_t end)
{
	while (mail.len && wait_fd(fd, POLLOUT, end)) {
		ssize_t sent = send(fd, mail.ptr, mail.len, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (sent < 0 && errno != EAGAIN && errno != EINTR)
			return;
		mail = text_from(mail, sent > 0 ? (size_t)sent : 0);
	}
}

/* Its exit status, or -1 when it had to be ended. */
static int await(pid_t child, int64_t end)
{
	int status, fd = (int)syscall(SYS_pidfd_open, child, 0);
	if (fd < 0 || !wait_fd(fd, POLLIN, end))
		kill(child, SIGKILL);
	if (fd >= 0)
		close(fd);
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int start(const char *program, char *const *argv, int in, pid_t *child)
{
	char path[] = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";
	char *const environment[] = {path, NULL};
	posix_spawn_file_actions_t files;
	posix_spawn_file_actions_init(&files);
	posix_spawn_file_actions_adddup2(&files, in, STDIN_FILENO);
	int error = posix_spawn(child, program, &files, NULL, argv, environment);
	posix_spawn_file_actions_destroy(&files);
	return error;
}

const char *sendmail_send(const char *program, const char *sender, const char *recipient, struct text mail, char *why,
			  size_t size)
{
	int64_t end = now_ms() + SENDMAIL_LIFE_MS;
	int ends[2]; /* a socket and no pipe: writing to one whose reader is gone raises no signal */
	pid_t child;
	char *argv[] = {(char *)(uintptr_t)program,
			(char[]){"-i"},
			(char[]){"-f"},
			(char *)(uintptr_t)sender,
			(char[]){"--"},
			(char *)(uintptr_t)recipient,
			NULL};
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends)) {
		snprintf(why, size, "%s", strerror(errno));
		return why;
	}
	int error = start(program, argv, ends[1], &child);
	close(ends[1]);
	if (!error)
		feed(ends[0], mail, end);
	close(ends[0]);
	if (error) {
		snprintf(why, size, "%s cannot be run: %s", program, strerror(error));
		return why;
	}
	int status = await(child, end);
	if (!status)
		return NULL;
	snprintf(why, size, status < 0 ? "%s did not end within %d s" : "%s ended with status %d", program,
		 status < 0 ? SENDMAIL_LIFE_MS / 1000 : status);
	return why;
}
