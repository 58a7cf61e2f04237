#ifndef BOUNCER_TRACK_H
#define BOUNCER_TRACK_H

/* Follows queue sessions: log records go in, events come out. A core: time comes with the records.
 *
 * A session is (host, instance, queue id) from its first line, or the time in a long queue id, to "removed". Short queue
 * ids are used again, so a line that opens a queue file ends an older session of the same id. Everything that a tracker
 * does depends on the records alone, so the same log gives the same events with the same ids, in one run or in many: what
 * a restarted tracker needs is handed out as changes (track_change_next) and taken back (track_restore).
 *
 * Facts that shape it: "expired, returned to sender" names no recipients, so each recipient's last deferral is kept;
 * nrcpt at the queue manager is compared with the recipients that had an end, and a shortfall is an event log.gap; a
 * requeued message comes back under a new id and inherits login, client and recipients; a content filter's second pass
 * inherits the first one's. */

#include "bouncer/event.h"
#include "bouncer/line.h"

struct track;

/* Called for each event; its texts live until the call returns. id and verdict are still empty. */
typedef void track_event(void *context, const struct event *event);

struct track *track_new(track_event *event, void *context);
void track_free(struct track **track);

void track_record(struct track *track, const struct record *record);

/* Sessions that are followed now. */
size_t track_open(const struct track *track);

struct track_counts {
	uint64_t reconciled;   /* messages removed with every recipient accounted for */
	uint64_t unreconciled; /* with fewer; each is a log.gap */
	uint64_t partial;      /* whose start was not seen, so nobody can tell */
	uint64_t aborted;      /* given up before they were queued */
};
struct track_counts track_counts(const struct track *track);

/* One session's state after its last change; gone: it is over, forget it. The texts live until the next call for TRACK. */
struct track_change {
	struct text host, instance, queue_id;
	bool gone;
	struct text state;
};
/* Hands out each session that changed since it was last handed out, ended ones first; false when there is no more. A
 * session that began and ended in between is not mentioned. */
bool track_change_next(struct track *track, struct track_change *out);

/* Takes a session back as it was handed out. NULL, or why STATE cannot be read; it is gone then, and handed out as such. */
const char *track_restore(struct track *track, struct text host, struct text instance, struct text queue_id,
			  struct text state);

/* How long a session may say nothing, in microseconds of log time: a transaction that was never queued; a queued message
 * (longer than Postfix's maximal_queue_lifetime of five days); one on hold. Older queued ones end as log.gap. Each is longer
 * than a clock may be ahead (LINE_AHEAD_US). */
#define TRACK_ABORTED_US (2LL * 24 * 3600 * 1000000)
#define TRACK_SILENT_US  (8LL * 24 * 3600 * 1000000)
#define TRACK_HELD_US    (90LL * 24 * 3600 * 1000000)

#endif
