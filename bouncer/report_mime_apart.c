/* Pieces travel over a pipe: kind and length, then the bytes. The reader believes neither. */

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bouncer/report_mime_internal.h"

/* What one mail may use. The files are those of character sets; none is written. */
#define MAX_CPU_S  20
#define MAX_MEMORY (512L << 20)
#define MAX_FILES  64

struct piece_head {
	uint32_t kind, len;
};

/* AddressSanitizer reserves more address space than any limit. */
#ifdef __SANITIZE_ADDRESS__
#define LIMIT_MEMORY 0
#else
#define LIMIT_MEMORY 1
#endif

static void limit_process(void)
{
	const struct rlimit cpu = {MAX_CPU_S, MAX_CPU_S}, memory = {MAX_MEMORY, MAX_MEMORY};
	const struct rlimit files = {MAX_FILES, MAX_FILES}, nothing = {0, 0};
	setrlimit(RLIMIT_CPU, &cpu);
	setrlimit(RLIMIT_NOFILE, &files);
	setrlimit(RLIMIT_FSIZE, &nothing);
	if (LIMIT_MEMORY)
		setrlimit(RLIMIT_AS, &memory);
	/* Postfix kills who takes too long; this process goes with it. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
}

static void send_piece(void *context, enum report_piece_kind kind, struct text lines)
{
	FILE *out = context;
	const struct piece_head head = {(uint32_t)kind, (uint32_t)lines.len};
	fwrite(&head, sizeof head, 1, out);
	fwrite(lines.len ? lines.ptr : "", 1, lines.len, out);
}

static void read_and_send(struct text raw, int fd)
{
	FILE *out = fdopen(fd, "wb");
	limit_process();
	if (!out)
		_exit(1);
	report_mime_parse(raw, send_piece, out);
	_exit(fclose(out) == 0 ? 0 : 1);
}

static void take_piece(FILE *in, const struct piece_head *head, struct report_mail *mail)
{
	struct buffer lines = {0};
	char chunk[65536];
	for (size_t left = head->len, got; left; left -= got) {
		got = fread(chunk, 1, left < sizeof chunk ? left : sizeof chunk, in);
		if (!got)
			break;
		if (lines.len <= REPORT_MAX_BYTES)
			buffer_add(&lines, chunk, got);
	}
	if (head->kind < PIECE_KIND_MAX)
		report_mail_add(mail, (enum report_piece_kind)head->kind, buffer_view(&lines));
	buffer_free(&lines);
}

static void take_pieces(int fd, struct report_mail *mail)
{
	struct piece_head head;
	FILE *in = fdopen(fd, "rb");
	if (!in)
		return;
	while (fread(&head, sizeof head, 1, in) == 1)
		take_piece(in, &head, mail);
	fclose(in);
}

int report_mime_read_apart(struct text raw, struct report_mail *out)
{
	int ends[2], status = 0;
	*out = (struct report_mail){0};
	if (pipe(ends) != 0)
		return -1;
	pid_t child = fork();
	if (child < 0) {
		int error = errno;
		close(ends[0]);
		close(ends[1]);
		errno = error;
		return -1;
	}
	if (child == 0) {
		close(ends[0]);
		read_and_send(raw, ends[1]);
	}
	close(ends[1]);
	take_pieces(ends[0], out);
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	report_mail_free(out);
	return 1;
}
