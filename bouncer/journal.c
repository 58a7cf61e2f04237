#include "bouncer/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/memory.h"

#include "bouncer/journal_entry.h"

#define PROGRAM "journalctl"
#define CHUNK   (64 * 1024)

/* Between its end and its next start. */
#define PAUSE_FIRST_MS 500
#define PAUSE_MAX_MS   60000

struct journal {
	char *folder, *unit;
	pid_t child; /* 0: none */
	int fd;      /* of what it writes; -1: none */
	struct journal_entry entry;
	char *chunk;
	struct text stream; /* what of the chunk is still to be read */
	struct buffer line, cursor;
	bool checking; /* the first entry must be the one at the cursor */
	bool lost;
	int64_t start_at_ms, pause_ms;
	char trouble[96];
};

static int64_t now_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

struct journal *journal_open(const char *folder, const char *unit, const char *cursor)
{
	struct journal *j = memory_zero(1, sizeof *j);
	j->folder = folder ? text_copy(text_of(folder)) : NULL;
	j->unit = text_copy(text_of(unit));
	buffer_text(&j->cursor, text_of(cursor));
	j->chunk = memory_new(CHUNK);
	j->fd = -1;
	j->pause_ms = PAUSE_FIRST_MS;
	return j;
}

/* Ends the child, whose pipe is of no more use; its status as waitpid(2) has it. */
static int end_child(struct journal *j)
{
	int status = 0;
	if (j->fd >= 0)
		close(j->fd);
	j->fd = -1;
	if (j->child > 0) {
		kill(j->child, SIGTERM);
		while (waitpid(j->child, &status, 0) < 0 && errno == EINTR)
			;
	}
	j->child = 0;
	j->stream = (struct text){0};
	journal_entry_free(&j->entry);
	return status;
}

void journal_close(struct journal **journal)
{
	struct journal *j = *journal;
	if (!j)
		return;
	end_child(j);
	buffer_free(&j->line);
	buffer_free(&j->cursor);
	free(j->chunk);
	free(j->folder);
	free(j->unit);
	free(j);
	*journal = NULL;
}

/* Only what is read of an entry, so that a core dump in the journal does not pass through here. */
static void fields_option(struct buffer *out)
{
	buffer_text(out, TEXT("--output-fields="));
	for (size_t i = JOURNAL_HOST; i < JOURNAL_FIELD_MAX; i++) {
		buffer_text(out, journal_fields[i]);
		buffer_char(out, ',');
	}
	out->len--;
}

/* In the child: its standard output is the pipe, signals are as usual, and it does not outlive us. */
static void become_journalctl(const char *const *words, int out)
{
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (dup2(out, STDOUT_FILENO) >= 0)
		execvp(PROGRAM, (char *const *)(uintptr_t)words);
	_exit(127);
}

static bool start(struct journal *j)
{
	struct buffer fields = {0}, folder = {0}, cursor = {0};
	int ends[2];
	if (now_ms() < j->start_at_ms || pipe2(ends, O_CLOEXEC) != 0)
		return false;
	fields_option(&fields);
	buffer_format(&folder, "--directory=%s", j->folder ? j->folder : "");
	buffer_format(&cursor, "--cursor=%s", buffer_string(&j->cursor));
	const char *words[] = {PROGRAM,   "--output=export",      "--follow", "--no-tail", "--all",
			       "--quiet", buffer_string(&fields), NULL,       NULL,        NULL};
	size_t count = 7;
	if (j->folder)
		words[count++] = buffer_string(&folder);
	if (j->cursor.len)
		words[count] = buffer_string(&cursor);
	j->child = fork();
	if (j->child == 0)
		become_journalctl(words, ends[1]);
	buffer_free(&fields);
	buffer_free(&folder);
	buffer_free(&cursor);
	close(ends[1]);
	j->fd = ends[0];
	fcntl(j->fd, F_SETFL, O_NONBLOCK);
	j->checking = j->cursor.len > 0;
	return true;
}

/* Why it ended, and when it may start again. */
static void rest(struct journal *j, int status)
{
	if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
		snprintf(j->trouble, sizeof j->trouble, PROGRAM " cannot be run");
	else if (WIFEXITED(status))
		snprintf(j->trouble, sizeof j->trouble, PROGRAM " ended with status %d", WEXITSTATUS(status));
	else
		snprintf(j->trouble, sizeof j->trouble, PROGRAM " was ended by signal %d", WTERMSIG(status));
	j->start_at_ms = now_ms() + j->pause_ms;
	j->pause_ms = j->pause_ms * 2 > PAUSE_MAX_MS ? PAUSE_MAX_MS : j->pause_ms * 2;
}

/* Reads what the child wrote; false: nothing now. */
static bool fill(struct journal *j)
{
	ssize_t got = read(j->fd, j->chunk, CHUNK);
	if (got > 0) {
		j->stream = text_at(j->chunk, (size_t)got);
		return true;
	}
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	rest(j, end_child(j));
	return false;
}

/* The entry at the cursor was taken before; any other in its place means that it is gone. */
static bool is_taken(struct journal *j)
{
	bool same = text_equal(buffer_view(&j->entry.field[JOURNAL_CURSOR]), buffer_view(&j->cursor));
	j->checking = false;
	j->lost = j->lost || !same;
	return same;
}

bool journal_next(struct journal *j, struct text *line)
{
	if (j->fd < 0 && !start(j))
		return false;
	for (;;) {
		if (!journal_entry_next(&j->entry, &j->stream)) {
			if (!fill(j))
				return false;
			continue;
		}
		j->trouble[0] = '\0';
		j->pause_ms = PAUSE_FIRST_MS;
		if (j->checking && is_taken(j))
			continue;
		j->cursor.len = j->line.len = 0;
		buffer_text(&j->cursor, buffer_view(&j->entry.field[JOURNAL_CURSOR]));
		journal_entry_line(&j->entry, text_of(j->unit), &j->line);
		*line = buffer_view(&j->line);
		return true;
	}
}

const char *journal_cursor(struct journal *j)
{
	return buffer_string(&j->cursor);
}

bool journal_take_loss(struct journal *j)
{
	bool lost = j->lost;
	j->lost = false;
	return lost;
}

const char *journal_trouble(const struct journal *j)
{
	return j->trouble[0] ? j->trouble : NULL;
}

int journal_fd(const struct journal *j)
{
	return j->fd;
}
