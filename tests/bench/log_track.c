/* waybill's parser and tracker alone, as the bouncer runs them. Prints its microseconds of CPU and, behind them, the bytes of
 * memory that one message takes which is still open: all that the process grew by, divided by their number.
 *
 *	log_track FILE */

#include <malloc.h>

#include "log_reader.h"

#include "bouncer/line.h"
#include "bouncer/track.h"

struct reader {
	struct line_clock clock;
	struct track *track;
	uint64_t events[EVENT_TYPE_MAX];
};

static void on_event(void *context, const struct event *event)
{
	((struct reader *)context)->events[event->type]++;
}

static void take(void *context, const char *line, size_t len)
{
	struct reader *reader = context;
	struct record record;
	if (!line_parse(text_at(line, len), &reader->clock, &record))
		track_record(reader->track, &record);
}

static size_t allocated(void)
{
	struct mallinfo2 info = mallinfo2();
	return info.uordblks + info.hblkhd;
}

int main(int argc, char **argv)
{
	struct reader reader = {.clock = {.now_us = INT64_C(1795244400) * 1000000}};
	if (argc != 2)
		return 64;
	reader.track = track_new(on_event, &reader);
	size_t before = allocated();
	double start = log_cpu_s();
	uint64_t lines = log_each(argv[1], take, &reader);
	double spent = log_cpu_s() - start;
	size_t open = track_open(reader.track);
	fprintf(stderr, "%ju lines, %ju delivered, %ju bounced, %ju deferred, %zu open\n", (uintmax_t)lines,
		(uintmax_t)reader.events[TYPE_DELIVERED], (uintmax_t)reader.events[TYPE_BOUNCED],
		(uintmax_t)reader.events[TYPE_DEFERRED], open);
	printf("%.0f %.0f\n", spent * 1e6, open ? (double)(allocated() - before) / (double)open : 0);
	track_free(&reader.track);
	return 0;
}
