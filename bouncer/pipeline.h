#ifndef BOUNCER_PIPELINE_H
#define BOUNCER_PIPELINE_H

/* From a line of the log to a judged event with its id: parse, track, classify, identify. The same for a live log and
 * for a replay, so that both tell the same. Counts what it saw. */

#include "bouncer/event.h"
#include "bouncer/track.h"

struct pipeline;
struct rules;

struct pipeline_sink {
	/* A finished event; its texts live until the call returns. */
	void (*event)(void *context, const struct event *event);
	/* A line of Postfix's own that is not understood, and why. May be NULL. */
	void (*unparsed)(void *context, struct text line, const char *why);
	void *context;
};

struct pipeline_counts {
	uint64_t lines, other, unparsed;
	uint64_t events[EVENT_TYPE_MAX];
	struct track_counts track;
	size_t open;
};

/* ZONE_S as in struct line_clock. SINK is copied. */
struct pipeline *pipeline_new(const struct pipeline_sink *sink, int64_t (*zone_s)(int64_t local_s));
void pipeline_free(struct pipeline **pipeline);

/* Judges by RULES instead of the built-in ones; they must stay until others are given, or the pipeline ends. */
void pipeline_rules(struct pipeline *pipeline, const struct rules *rules);

/* One line without its end. NOW_US gives a year to a time that has none. */
void pipeline_line(struct pipeline *pipeline, struct text line, int64_t now_us);

/* An event that does not come from a line: lines of SOURCE are lost, from AT_US on; DETAIL is JSON. */
void pipeline_gap(struct pipeline *pipeline, struct text host, struct text source, int64_t at_us, struct text detail);

struct track *pipeline_track(struct pipeline *pipeline);
struct pipeline_counts pipeline_counts(const struct pipeline *pipeline);

/* Seconds that the machine's zone is ahead of UTC at a local time, for logs without a zone. */
int64_t pipeline_local_zone_s(int64_t local_s);

#endif
