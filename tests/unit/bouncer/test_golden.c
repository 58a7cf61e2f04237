/* Whole logs against the events that they must give (tests/golden/bouncer), and what must hold for any log: the same log
 * gives the same events, and so does one that is cut anywhere and read on from the stored state. */

#include <dirent.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "bouncer/pipeline.h"
#include "bouncer/tail.h"

#define FOLDER "tests/golden/bouncer"
#define NOW_US (INT64_C(1795244400) * 1000000) /* 2026-11-21T07:00:00Z */

static const char *const names[EVENT_FIELD_MAX] = {
	[EVENT_TIME] = "time",
	[EVENT_HOST] = "host",
	[EVENT_INSTANCE] = "instance",
	[EVENT_QUEUE_ID] = "queue_id",
	[EVENT_ORIG_QUEUE_ID] = "orig_queue_id",
	[EVENT_MESSAGE_ID] = "message_id",
	[EVENT_SENDER] = "sender",
	[EVENT_RECIPIENT] = "recipient",
	[EVENT_ORIG_RECIPIENT] = "orig_recipient",
	[EVENT_RECIPIENT_DOMAIN] = "recipient_domain",
	[EVENT_SASL_USERNAME] = "sasl_username",
	[EVENT_CLIENT_IP] = "client_ip",
	[EVENT_SIZE] = "size",
	[EVENT_ATTEMPT] = "attempt",
	[EVENT_SMTP_CODE] = "smtp_code",
	[EVENT_ENHANCED_CODE] = "enhanced_code",
	[EVENT_REMOTE_ENHANCED_CODE] = "remote_enhanced_code",
	[EVENT_STAGE] = "stage",
	[EVENT_RESPONSE] = "response",
	[EVENT_REMOTE_MX] = "remote_mx",
	[EVENT_REMOTE_IP] = "remote_ip",
	[EVENT_REMOTE_PORT] = "remote_port",
	[EVENT_REMOTE_TLS] = "remote_tls",
	[EVENT_PROVIDER] = "provider",
	[EVENT_DELAY_TOTAL] = "delay_total",
	[EVENT_DELAY_QUEUE] = "delay_queue",
	[EVENT_DELAY_ACTIVE] = "delay_active",
	[EVENT_DELAY_CONNECT] = "delay_connect",
	[EVENT_DELAY_TRANSMIT] = "delay_transmit",
	[EVENT_BOUNCE_CLASS] = "class",
	[EVENT_BOUNCE_CATEGORY] = "category",
	[EVENT_BOUNCE_SCOPE] = "scope",
	[EVENT_BOUNCE_RULE] = "rule",
	[EVENT_REASON] = "reason",
	[EVENT_DETAIL] = "detail",
};

static void render(void *context, const struct event *event)
{
	struct buffer *out = context;
	struct event_texts texts;
	struct event_row row;
	event_row_of(event, &texts, &row);
	buffer_format(out, "%s %s%s%s\n", event_type_words[event->type], event->id, event->partial ? " partial" : "",
		      event_suppresses(event) ? " suppresses" : "");
	for (size_t i = 0; i < EVENT_FIELD_MAX; i++)
		if (names[i] && row.field[i].ptr)
			buffer_format(out, "  %s: %.*s\n", names[i], TEXT_ARG(row.field[i]));
}

static void render_unparsed(void *context, struct text line, const char *why)
{
	buffer_format(context, "? %s: %.*s\n", why, TEXT_ARG(line));
}

static struct pipeline *start(struct buffer *out)
{
	return pipeline_new(&(struct pipeline_sink){render, render_unparsed, out}, NULL);
}

/* Lines of LOG up to offset END. */
static size_t feed(struct pipeline *pipeline, struct text log, size_t from, size_t end)
{
	for (const char *stop; (stop = memchr(log.ptr + from, '\n', end - from)); from = (size_t)(stop - log.ptr) + 1)
		pipeline_line(pipeline, text_at(log.ptr + from, (size_t)(stop - log.ptr) - from), NOW_US);
	return from;
}

static bool load(const char *path, struct buffer *out)
{
	FILE *file = fopen(path, "rb");
	char chunk[4096];
	out->len = 0;
	for (size_t got; file && (got = fread(chunk, 1, sizeof chunk, file)) > 0;)
		buffer_add(out, chunk, got);
	return file && fclose(file) == 0;
}

static void summarise(const struct pipeline *pipeline, struct buffer *out)
{
	struct pipeline_counts c = pipeline_counts(pipeline);
	buffer_format(out,
		      "= lines %" PRIu64 " other %" PRIu64 " unparsed %" PRIu64 " reconciled %" PRIu64
		      " unreconciled %" PRIu64 " partial %" PRIu64 " aborted %" PRIu64 " open %zu\n",
		      c.lines, c.other, c.unparsed, c.track.reconciled, c.track.unreconciled, c.track.partial,
		      c.track.aborted, c.open);
}

static void first_difference(const char *path, const char *got, const char *expected)
{
	size_t line = 1, at = 0;
	for (; got[at] && got[at] == expected[at]; at++)
		line += got[at] == '\n';
	while (at && got[at - 1] != '\n')
		at--;
	fail_msg("%s:%zu\n      got: %.*s\n expected: %.*s", path, line, (int)strcspn(got + at, "\n"), got + at,
		 (int)strcspn(expected + at, "\n"), expected + at);
}

static void compare(const char *path, struct text log)
{
	char events[512];
	struct buffer got = {0}, expected = {0};
	struct pipeline *pipeline = start(&got);
	feed(pipeline, log, 0, log.len);
	summarise(pipeline, &got);
	pipeline_free(&pipeline);
	snprintf(events, sizeof events, "%.*s.events", (int)(strlen(path) - 4), path);
	if (getenv("BLESS")) {
		FILE *file = fopen(events, "wb");
		assert_non_null(file);
		fwrite(got.ptr, 1, got.len, file);
		fclose(file);
	}
	if (!load(events, &expected))
		fail_msg("%s is missing; BLESS=1 writes it", events);
	if (strcmp(buffer_string(&got), buffer_string(&expected)) != 0)
		first_difference(events, buffer_string(&got), buffer_string(&expected));
	buffer_free(&got);
	buffer_free(&expected);
}

/* Hands the state of FROM to a new pipeline, as a database would keep it: only what changed, from cut to cut. */
struct kept {
	struct text key[3];
	struct text state;
};

struct keep {
	struct kept rows[256];
	size_t count;
};

static bool same_key(const struct kept *row, const struct track_change *change)
{
	return text_equal(row->key[0], change->host) && text_equal(row->key[1], change->instance) &&
	       text_equal(row->key[2], change->queue_id);
}

static struct text copy(struct text t)
{
	return text_at(text_copy(t), t.len);
}

static void release(struct kept *row)
{
	for (size_t i = 0; i < 3; i++)
		free((char *)(uintptr_t)row->key[i].ptr);
	free((char *)(uintptr_t)row->state.ptr);
}

static void keep_change(struct keep *keep, const struct track_change *change)
{
	size_t i = 0;
	while (i < keep->count && !same_key(&keep->rows[i], change))
		i++;
	if (i < keep->count) {
		release(&keep->rows[i]);
		keep->rows[i] = keep->rows[--keep->count];
	}
	if (change->gone)
		return;
	assert_true(keep->count < 256);
	keep->rows[keep->count++] = (struct kept){{copy(change->host), copy(change->instance), copy(change->queue_id)},
						  copy(change->state)};
}

static struct pipeline *restart(struct pipeline *old, struct keep *keep, struct buffer *out)
{
	struct track_change change;
	while (track_change_next(pipeline_track(old), &change))
		keep_change(keep, &change);
	pipeline_free(&old);
	struct pipeline *new = start(out);
	for (size_t i = 0; i < keep->count; i++) {
		const struct kept *row = &keep->rows[i];
		assert_null(track_restore(pipeline_track(new), row->key[0], row->key[1], row->key[2], row->state));
	}
	return new;
}

/* Reads LOG with a restart after every STEP lines, the first after FIRST of them. */
static void read_in_pieces(struct text log, size_t first, size_t step, struct buffer *out)
{
	struct keep keep = {0};
	struct pipeline *pipeline = start(out);
	size_t next = first, line = 0;
	for (size_t at = 0; at < log.len; line++) {
		if (line == next) {
			pipeline = restart(pipeline, &keep, out);
			next += step;
		}
		size_t end = text_find(text_from(log, at), '\n');
		end = end == SIZE_MAX ? log.len : at + end + 1;
		feed(pipeline, log, at, end);
		at = end;
	}
	pipeline_free(&pipeline);
	for (size_t i = 0; i < keep.count; i++)
		release(&keep.rows[i]);
}

/* Lines of the text that name an event, or are not understood: what must be equal however the log is read. TLS is known by
 * the process that is asked, and a restart forgets it, so the fields behind may differ in it. */
static void only_events(const struct buffer *full, struct buffer *out)
{
	struct text rest = buffer_view(full), line;
	while (text_take(&rest, '\n', &line))
		if (line.len && line.ptr[0] != '=' && !text_starts(line, TEXT("  remote_tls:")))
			buffer_text(out, line), buffer_char(out, '\n');
}

static size_t count_lines(struct text log)
{
	size_t count = 0;
	for (size_t i = 0; i < log.len; i++)
		count += log.ptr[i] == '\n';
	return count;
}

/* So many runs with a restart each; of each OFTEN runs one restarts again and again. */
#define CUTS  60
#define OFTEN 30

static void cut_anywhere(const char *path, struct text log)
{
	struct buffer whole = {0}, wanted = {0};
	struct pipeline *pipeline = start(&whole);
	feed(pipeline, log, 0, log.len);
	pipeline_free(&pipeline);
	only_events(&whole, &wanted);
	/* Each restart takes the rules apart again, so a long log is not cut at every line. */
	size_t lines = count_lines(log), stride = lines / CUTS + 1;
	for (size_t k = 0; k < CUTS; k++) {
		bool often = k % OFTEN == 0;
		size_t first = often ? 1 + k / OFTEN : 1 + k * stride + k % stride,
		       step = often ? stride : SIZE_MAX / 2;
		struct buffer pieces = {0}, got = {0};
		/* No cut at all, or the same ones again. */
		if (first >= lines || (often && first > stride))
			continue;
		read_in_pieces(log, first, step, &pieces);
		only_events(&pieces, &got);
		if (strcmp(buffer_string(&got), buffer_string(&wanted)) != 0) {
			print_message("restart after line %zu, every %zu\n", first, step);
			first_difference(path, buffer_string(&got), buffer_string(&wanted));
		}
		buffer_free(&pieces);
		buffer_free(&got);
	}
	buffer_free(&whole);
	buffer_free(&wanted);
}

/* The bouncer's own reading: what stands in FILE behind POSITION, which moves. */
static void follow(const char *file, struct tail_position *position, struct pipeline *pipeline)
{
	struct text line;
	struct tail_loss loss;
	struct tail *tail = tail_open(file, position->inode ? position : NULL);
	while (tail_next(tail, &line))
		pipeline_line(pipeline, line, NOW_US);
	assert_false(tail_take_loss(tail, &loss));
	tail_position(tail, position);
	tail_close(&tail);
}

static void append(const char *file, struct text bytes)
{
	FILE *out = fopen(file, "ab");
	assert_non_null(out);
	assert_int_equal(fwrite(bytes.ptr, 1, bytes.len, out), bytes.len);
	assert_int_equal(fclose(out), 0);
}

static void grow_past(struct text log, size_t byte, struct buffer *out)
{
	char file[] = "/tmp/waybill-golden-XXXXXX";
	struct keep keep = {0};
	struct tail_position position = {0};
	struct pipeline *pipeline = start(out);
	close(mkstemp(file));
	append(file, text_head(log, byte));
	follow(file, &position, pipeline);
	pipeline = restart(pipeline, &keep, out);
	append(file, text_from(log, byte));
	follow(file, &position, pipeline);
	pipeline_free(&pipeline);
	for (size_t i = 0; i < keep.count; i++)
		release(&keep.rows[i]);
	unlink(file);
}

#define BYTES 12

/* A log that ends in the midst of a line, or of one's end, when the bouncer is started anew. */
static void cut_at_bytes(const char *path, struct text log)
{
	struct buffer whole = {0}, wanted = {0};
	grow_past(log, 0, &whole);
	only_events(&whole, &wanted);
	for (size_t k = 1; k <= BYTES; k++) {
		struct buffer pieces = {0}, got = {0};
		size_t byte = k * log.len / (BYTES + 1);
		/* Before and behind a line's end, too. */
		if (k % 4 < 2)
			byte += text_find(text_from(log, byte), '\n') + k % 4;
		grow_past(log, byte, &pieces);
		only_events(&pieces, &got);
		if (strcmp(buffer_string(&got), buffer_string(&wanted)) != 0) {
			print_message("restart at byte %zu\n", byte);
			first_difference(path, buffer_string(&got), buffer_string(&wanted));
		}
		buffer_free(&pieces);
		buffer_free(&got);
	}
	buffer_free(&whole);
	buffer_free(&wanted);
}

static size_t each_log(void (*check)(const char *path, struct text log))
{
	size_t count = 0;
	DIR *folder = opendir(FOLDER);
	assert_non_null(folder);
	for (struct dirent *entry; (entry = readdir(folder));) {
		char path[512];
		struct buffer log = {0};
		snprintf(path, sizeof path, FOLDER "/%s", entry->d_name);
		if (!text_ends(text_of(path), TEXT(".log")))
			continue;
		assert_true(load(path, &log));
		check(path, buffer_view(&log));
		buffer_free(&log);
		count++;
	}
	closedir(folder);
	return count;
}

static void golden(void **state)
{
	(void)state;
	assert_true(each_log(compare) > 0);
}

static void restarts(void **state)
{
	(void)state;
	assert_true(each_log(cut_anywhere) > 0);
}

static void bytes(void **state)
{
	(void)state;
	assert_true(each_log(cut_at_bytes) > 0);
}

static void name_instances(struct pipeline *pipeline, unsigned count, bool end)
{
	for (unsigned i = 0; i < count; i++) {
		struct buffer line = {0};
		buffer_format(&line, "Nov 20 10:00:00 mx1 i%u/cleanup[17]: A%07X: message-id=<x>", i, i);
		pipeline_line(pipeline, buffer_view(&line), NOW_US);
		line.len = 0;
		buffer_format(&line, "Nov 20 10:00:00 mx1 i%u/qmgr[2]: A%07X: removed", i, i);
		if (end)
			pipeline_line(pipeline, buffer_view(&line), NOW_US);
		buffer_free(&line);
	}
}

/* Any local user can make up instances: those without a message make room, and what finds none is told once. */
static void instances(void **state)
{
	(void)state;
	struct buffer out = {0};
	struct pipeline *pipeline = start(&out);
	const struct text last =
		TEXT("Nov 20 10:00:01 mx1 postfix/smtp[9]: B00000000001: to=<a@ex.net>, relay=none, delay=1, "
		     "delays=0/0/0/1, dsn=2.0.0, status=sent (250 ok)");
	name_instances(pipeline, 3000, true);
	pipeline_line(pipeline, last, NOW_US);
	assert_true(text_starts(buffer_view(&out), TEXT("message.delivered ")));
	out.len = 0;
	name_instances(pipeline, 3000, false);
	assert_true(text_starts(buffer_view(&out), TEXT("log.gap ")));
	const char *first = strstr(buffer_string(&out), "log.gap");
	assert_non_null(strstr(first, "too-many-instances"));
	assert_null(strstr(first + 1, "log.gap"));
	/* Known ones are followed on, the lines of others are dropped until there is room. */
	name_instances(pipeline, 1000, true);
	out.len = 0;
	pipeline_line(pipeline,
		      TEXT("Nov 20 10:00:01 mx2 postfix/smtp[9]: B00000000002: to=<a@ex.net>, relay=none, delay=1, "
			   "delays=0/0/0/1, dsn=2.0.0, status=sent (250 ok)"),
		      NOW_US);
	assert_true(text_starts(buffer_view(&out), TEXT("message.delivered ")));
	pipeline_free(&pipeline);
	buffer_free(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(golden), cmocka_unit_test(restarts),
					   cmocka_unit_test(bytes), cmocka_unit_test(instances)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
