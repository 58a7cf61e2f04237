#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <time.h>

#include <zlib.h>

#include "bouncer/event_ascii.h"
#include "bouncer/format.h"
#include "bouncer/pipeline.h"
#include "bouncer/replay.h"

#define CHUNK (256 * 1024)

struct output {
	bool json, unparsed;
	struct buffer body;
};

static void print_event(void *context, const struct event *event)
{
	struct output *out = context;
	struct event_texts texts;
	struct event_row row;
	if (!out->json)
		return;
	event_row_ascii(event, &texts, &row);
	out->body.len = 0;
	format_body(FORMAT_WAYBILL, &row, &out->body);
	buffer_char(&out->body, '\n');
	fwrite(out->body.ptr, 1, out->body.len, stdout);
}

static void print_unparsed(void *context, struct text line, const char *why)
{
	struct output *out = context;
	if (out->unparsed)
		printf("%s: %.*s\n", why, TEXT_ARG(line));
}

/* A log without years is as old as its last write. */
static int64_t now_of(const char *path)
{
	struct stat status;
	return (strcmp(path, "-") != 0 && stat(path, &status) == 0 ? (int64_t)status.st_mtime : (int64_t)time(NULL)) *
	       1000000;
}

static size_t feed(struct pipeline *pipeline, struct text bytes, int64_t now_us, bool last)
{
	size_t used = 0;
	for (const char *end; (end = memchr(bytes.ptr + used, '\n', bytes.len - used));
	     used = (size_t)(end - bytes.ptr) + 1)
		pipeline_line(pipeline, text_at(bytes.ptr + used, (size_t)(end - bytes.ptr) - used), now_us);
	if (last && used < bytes.len)
		pipeline_line(pipeline, text_from(bytes, used), now_us);
	return used;
}

static int read_log(const char *path, struct pipeline *pipeline)
{
	int64_t now_us = now_of(path);
	gzFile file = strcmp(path, "-") == 0 ? gzdopen(0, "rb") : gzopen(path, "rb");
	if (!file) {
		fprintf(stderr, "waybill-bouncer: %s: %s\n", path, strerror(errno));
		return EX_NOINPUT;
	}
	gzbuffer(file, CHUNK);
	struct buffer held = {0};
	static char chunk[CHUNK];
	int got;
	while ((got = gzread(file, chunk, sizeof chunk)) > 0) {
		buffer_add(&held, chunk, (size_t)got);
		buffer_drop(&held, feed(pipeline, buffer_view(&held), now_us, false));
	}
	if (held.len)
		feed(pipeline, buffer_view(&held), now_us, true);
	int status = 0, number;
	const char *error = gzerror(file, &number);
	if (got < 0) {
		fprintf(stderr, "waybill-bouncer: %s: %s\n", path, number == Z_ERRNO ? strerror(errno) : error);
		status = EX_DATAERR;
	}
	gzclose(file);
	buffer_free(&held);
	return status;
}

static void summary(const struct pipeline_counts *c)
{
	fprintf(stderr, "lines %" PRIu64 ", of no interest %" PRIu64 ", not understood %" PRIu64 "\n", c->lines,
		c->other, c->unparsed);
	for (enum event_type type = 0; type < EVENT_TYPE_MAX; type++)
		if (c->events[type])
			fprintf(stderr, "%-20s %" PRIu64 "\n", event_type_words[type], c->events[type]);
	fprintf(stderr,
		"messages removed with all recipients accounted for %" PRIu64 ", with fewer %" PRIu64
		", start not seen %" PRIu64 "; given up before the queue %" PRIu64 "; still open %zu\n",
		c->track.reconciled, c->track.unreconciled, c->track.partial, c->track.aborted, c->open);
}

int replay_main(int argc, char **argv)
{
	struct output out = {0};
	int files = 0, status = 0;
	for (int i = 0; i < argc; i++) {
		out.json = out.json || strcmp(argv[i], "--json") == 0;
		out.unparsed = out.unparsed || strcmp(argv[i], "--unparsed") == 0;
		files += argv[i][0] != '-' || argv[i][1] == '\0';
		if (strncmp(argv[i], "--", 2) == 0 && strcmp(argv[i], "--json") != 0 &&
		    strcmp(argv[i], "--unparsed") != 0)
			status = EX_USAGE;
	}
	if (!files || status) {
		fprintf(stderr, "Usage: waybill-bouncer --replay FILE… [--json] [--unparsed]\n");
		return EX_USAGE;
	}
	struct pipeline *pipeline =
		pipeline_new(&(struct pipeline_sink){print_event, print_unparsed, &out}, pipeline_local_zone_s);
	for (int i = 0; i < argc && !status; i++)
		if (argv[i][0] != '-' || argv[i][1] == '\0')
			status = read_log(argv[i], pipeline);
	struct pipeline_counts counts = pipeline_counts(pipeline);
	summary(&counts);
	pipeline_free(&pipeline);
	buffer_free(&out.body);
	return fflush(stdout) == 0 ? status : EX_IOERR;
}
