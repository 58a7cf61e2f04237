#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/memory.h"

#include "milter/sampler.h"

#define WHY_SIZE 512

struct sampler {
	const char *const *command;
	int64_t every, timeout_ms;
	sampler_done *done;
	void *context;
	_Atomic int64_t seen;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool busy, ending;
	int wake;                    /* an eventfd: readable once it is to end */
	struct buffer name, message; /* BUSY: the sampler's thread owns them */
};

struct child {
	pid_t pid;
	int in, out; /* our ends: its standard input, its standard output */
	int wake;    /* readable: its time is over before END_MS */
	int64_t end_ms;
};

static int64_t now_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int spawn(const char *const *command, int in, int out, pid_t *pid)
{
	static char *const environment[] = {NULL};
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t none, all;
	sigemptyset(&none);
	sigfillset(&all);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, in, STDIN_FILENO);
	posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
	posix_spawn_file_actions_addclosefrom_np(&actions, STDERR_FILENO + 1);
	posix_spawnattr_init(&attributes);
	posix_spawnattr_setsigmask(&attributes, &none);
	posix_spawnattr_setsigdefault(&attributes, &all);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	union {
		const char *const *in;
		char *const *out;
	} words = {.in = command}; /* posix_spawn() does not write to them */
	int error = posix_spawn(pid, command[0], &actions, &attributes, words.out, environment);
	posix_spawnattr_destroy(&attributes);
	posix_spawn_file_actions_destroy(&actions);
	return error ? -1 : 0;
}

static int start(const struct sampler *sampler, struct child *child)
{
	int in[2], out[2];
	if (pipe2(in, O_CLOEXEC) != 0)
		return -1;
	if (pipe2(out, O_CLOEXEC) != 0) {
		close(in[0]);
		close(in[1]);
		return -1;
	}
	int failed = spawn(sampler->command, in[0], out[1], &child->pid);
	close(in[0]);
	close(out[1]);
	child->in = in[1];
	child->out = out[0];
	child->wake = sampler->wake;
	child->end_ms = now_ms() + sampler->timeout_ms;
	fcntl(child->in, F_SETFL, O_NONBLOCK);
	if (!failed)
		return 0;
	close(child->in);
	close(child->out);
	return -1;
}

static bool wait_ready(const struct child *child, int fd, short events)
{
	struct pollfd ready[] = {{.fd = fd, .events = events}, {.fd = child->wake, .events = POLLIN}};
	int64_t left_ms = child->end_ms - now_ms();
	return left_ms > 0 && poll(ready, 2, (int)left_ms) > 0 && !ready[1].revents;
}

static void write_message(struct child *child, struct text message)
{
	while (message.len && wait_ready(child, child->in, POLLOUT)) {
		ssize_t part = write(child->in, message.ptr, message.len);
		if (part < 0 && errno != EAGAIN && errno != EINTR)
			break;
		message = text_from(message, part > 0 ? (size_t)part : 0);
	}
	close(child->in);
}

/* The line that the child says, without its LF. */
static struct text read_line(const struct child *child, char *line)
{
	size_t used = 0;
	while (used < WHY_SIZE && wait_ready(child, child->out, POLLIN)) {
		ssize_t part = read(child->out, line + used, WHY_SIZE - used);
		if (part <= 0)
			break;
		used += (size_t)part;
	}
	return text_trim(text_at(line, used));
}

/* Its exit status; -1 when it had to be ended, or ended otherwise. */
static int reap(const struct child *child)
{
	int status, ended = pidfd_open(child->pid, 0);
	bool late = ended < 0 ? now_ms() >= child->end_ms : !wait_ready(child, ended, POLLIN);
	if (late)
		kill(child->pid, SIGKILL);
	while (waitpid(child->pid, &status, 0) < 0 && errno == EINTR)
		;
	if (ended >= 0)
		close(ended);
	close(child->out);
	return !late && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void check(const struct sampler *sampler)
{
	struct child child;
	char line[WHY_SIZE];
	struct text name = buffer_view(&sampler->name);
	if (start(sampler, &child) != 0) {
		sampler->done(sampler->context, SAMPLER_UNKNOWN, name, TEXT("the program cannot be started"));
		return;
	}
	write_message(&child, buffer_view(&sampler->message));
	struct text why = read_line(&child, line);
	int status = reap(&child);
	if (status < 0)
		why = TEXT("no answer in time");
	sampler->done(sampler->context,
		      status == 0   ? SAMPLER_PASSED
		      : status == 1 ? SAMPLER_FAILED
				    : SAMPLER_UNKNOWN,
		      name, why);
}

static void *work(void *argument)
{
	struct sampler *sampler = argument;
	sigset_t pipe_signal; /* of a child that reads no more */
	sigemptyset(&pipe_signal);
	sigaddset(&pipe_signal, SIGPIPE);
	pthread_sigmask(SIG_BLOCK, &pipe_signal, NULL);
	pthread_mutex_lock(&sampler->lock);
	for (;;) {
		while (!sampler->busy && !sampler->ending)
			pthread_cond_wait(&sampler->changed, &sampler->lock);
		if (!sampler->busy)
			break;
		pthread_mutex_unlock(&sampler->lock);
		check(sampler);
		pthread_mutex_lock(&sampler->lock);
		sampler->busy = false;
	}
	pthread_mutex_unlock(&sampler->lock);
	return NULL;
}

struct sampler *sampler_new(const char *const *command, int64_t every, int64_t timeout_ms, sampler_done *done,
			    void *context)
{
	struct sampler *sampler = memory_zero(1, sizeof *sampler);
	sampler->command = command;
	sampler->every = every;
	sampler->timeout_ms = timeout_ms;
	sampler->wake = eventfd(0, EFD_CLOEXEC);
	sampler->done = done;
	sampler->context = context;
	pthread_mutex_init(&sampler->lock, NULL);
	pthread_cond_init(&sampler->changed, NULL);
	if (sampler->wake < 0 || pthread_create(&sampler->thread, NULL, work, sampler) != 0)
		abort();
	return sampler;
}

void sampler_free(struct sampler **sampler)
{
	struct sampler *s = *sampler;
	if (!s)
		return;
	pthread_mutex_lock(&s->lock);
	s->ending = true;
	pthread_cond_signal(&s->changed);
	pthread_mutex_unlock(&s->lock);
	if (eventfd_write(s->wake, 1) != 0)
		abort();
	pthread_join(s->thread, NULL);
	close(s->wake);
	pthread_cond_destroy(&s->changed);
	pthread_mutex_destroy(&s->lock);
	buffer_free(&s->name);
	buffer_free(&s->message);
	free(s);
	*sampler = NULL;
}

static bool is_free(struct sampler *sampler)
{
	pthread_mutex_lock(&sampler->lock);
	bool free_now = !sampler->busy && !sampler->ending;
	pthread_mutex_unlock(&sampler->lock);
	return free_now;
}

bool sampler_wants(struct sampler *sampler)
{
	return sampler && atomic_fetch_add(&sampler->seen, 1) % sampler->every == 0 && is_free(sampler);
}

void sampler_submit(struct sampler *sampler, struct text name, struct buffer *message)
{
	pthread_mutex_lock(&sampler->lock);
	if (!sampler->busy && !sampler->ending) {
		struct buffer old = sampler->message;
		sampler->message = *message;
		*message = old;
		sampler->name.len = 0;
		buffer_text(&sampler->name, name);
		sampler->busy = true;
		pthread_cond_signal(&sampler->changed);
	}
	pthread_mutex_unlock(&sampler->lock);
}
