/* Any log, line by line, into a tracker that is stopped and started again now and then: it neither crashes nor leaks, and
 * takes back every state that it handed out; what it tells goes to Postgres as UTF-8 without NUL, and unchanged where it was
 * that. The input's first byte says how often it restarts. The rest of the input is also tried as a stored state. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "bouncer/line.h"
#include "bouncer/told_event.h"
#include "bouncer/track.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool is_clean(struct text t)
{
	return text_utf8_head(t) == t.len && text_find(t, '\0') == SIZE_MAX;
}

static void on_event(void *context, const struct event *event)
{
	struct event_texts texts;
	struct event_row row, told;
	struct buffer wire = {0};
	char time[40];
	(void)context;
	event_row_of(event, &texts, &row);
	told_event_add(&row, event->time_us, &wire);
	told_event_read(wire.ptr, time, &told);
	for (size_t i = 0; i < EVENT_FIELD_MAX; i++) {
		struct text was = row.field[i], is = told.field[i];
		if (is.ptr && (!is_clean(is) || !was.ptr || (is_clean(was) && !text_equal(was, is))))
			abort();
	}
	buffer_free(&wire);
}

static struct track *restart(struct track *old)
{
	struct track *new = track_new(on_event, NULL);
	struct track_change change;
	while (track_change_next(old, &change))
		if (!change.gone && track_restore(new, change.host, change.instance, change.queue_id, change.state))
			abort();
	track_free(&old);
	return new;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size)
		return 0;
	struct track *track = track_new(on_event, NULL);
	struct text rest = text_at(data + 1, size - 1), line;
	struct line_clock clock = {.now_us = INT64_C(1795244400000000)};
	struct record record;
	track_restore(track, TEXT("mx1"), TEXT("postfix"), TEXT("ABCDEF0"), rest);
	track_restore(track, TEXT(""), TEXT(""), TEXT("NOQUEUE"), rest);
	for (unsigned n = 1; text_take(&rest, '\n', &line); n++) {
		if (!line_parse(line, &clock, &record))
			track_record(track, &record);
		if (data[0] && n % data[0] == 0)
			track = restart(track);
	}
	track_free(&track);
	return 0;
}
