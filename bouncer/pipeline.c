#include <stdlib.h>
#include <time.h>

#include "common/classify.h"
#include "common/digest.h"
#include "common/event_id.h"
#include "common/memory.h"

#include "bouncer/line.h"
#include "bouncer/pipeline.h"

struct pipeline {
	struct pipeline_sink sink;
	struct line_clock clock;
	struct track *track;
	struct rules *builtin;
	const struct rules *rules; /* to judge by */
	struct buffer last, material;
	struct pipeline_counts counts;
};

static void identify(struct pipeline *p, struct event *event)
{
	unsigned char digest[32];
	const struct event_identity identity = {
		.host = event->host,
		.instance = event->instance,
		.queue_id = event->queue_id,
		.recipient = event->recipient,
		.type = text_of(event_type_words[event->type]),
		.session_start_us = event->session_start_us,
		.ordinal = event->ordinal,
	};
	p->material.len = 0;
	event_id_material(&identity, &p->material);
	digest_sha256(buffer_view(&p->material), digest);
	event_id_print(digest, event->id);
}

/* Postfix's own words stand in reason, a remote's in response. */
static void judge(const struct rules *rules, struct event *event)
{
	bool remote = event->response.len > 0;
	event->verdict = (struct verdict){.rule = ""};
	if (event->type != TYPE_DEFERRED && event->type != TYPE_BOUNCED)
		return;
	classify(rules,
		 &(struct reply_facts){
			 .words = remote ? event->response : event->reason,
			 .code = event->code,
			 .enhanced = event->dsn,
			 .remote_enhanced = event->remote_dsn,
			 .stage = event->stage,
			 .relay = event->remote_mx,
			 .own = !remote && !event->code,
			 .final = event->type == TYPE_BOUNCED,
			 .expired = event->expired,
		 },
		 &event->verdict);
}

static void finish(void *context, const struct event *told)
{
	struct pipeline *p = context;
	struct event event = *told;
	event.provider = classify_provider(event.remote_mx, event.response);
	judge(p->rules, &event);
	identify(p, &event);
	p->counts.events[event.type]++;
	p->sink.event(p->sink.context, &event);
}

struct pipeline *pipeline_new(const struct pipeline_sink *sink, int64_t (*zone_s)(int64_t local_s))
{
	struct pipeline *p = memory_zero(1, sizeof *p);
	p->sink = *sink;
	p->clock.zone_s = zone_s;
	p->track = track_new(finish, p);
	p->rules = p->builtin = rules_builtin();
	return p;
}

void pipeline_free(struct pipeline **pipeline)
{
	if (!*pipeline)
		return;
	track_free(&(*pipeline)->track);
	rules_free(&(*pipeline)->builtin);
	buffer_free(&(*pipeline)->last);
	buffer_free(&(*pipeline)->material);
	free(*pipeline);
	*pipeline = NULL;
}

void pipeline_rules(struct pipeline *p, const struct rules *rules)
{
	p->rules = rules;
}

/* A folded line counts as often as it was said. */
#define MAX_REPEAT 10000

static void repeat_last(struct pipeline *p, uint32_t times)
{
	struct record record;
	if (line_parse(buffer_view(&p->last), &p->clock, &record) || record.kind == RECORD_REPEATED)
		return;
	for (uint32_t i = 0; i < times && i < MAX_REPEAT; i++)
		track_record(p->track, &record);
}

void pipeline_line(struct pipeline *p, struct text line, int64_t now_us)
{
	struct record record;
	p->counts.lines++;
	p->clock.now_us = now_us;
	const char *why = line_parse(line, &p->clock, &record);
	if (why) {
		p->counts.unparsed++;
		if (p->sink.unparsed)
			p->sink.unparsed(p->sink.context, line, why);
	} else if (record.kind == RECORD_REPEATED) {
		repeat_last(p, record.repeat);
		return;
	} else if (record.kind == RECORD_OTHER) {
		p->counts.other++;
	} else {
		track_record(p->track, &record);
	}
	p->last.len = 0;
	buffer_text(&p->last, line);
}

void pipeline_gap(struct pipeline *p, struct text host, struct text source, int64_t at_us, struct text detail)
{
	finish(p, &(struct event){
			  .type = TYPE_LOG_GAP,
			  .time_us = at_us,
			  .session_start_us = at_us,
			  .host = host,
			  .instance = source,
			  .delay = -1,
			  .delays = {-1, -1, -1, -1},
			  .detail = detail,
		  });
}

struct track *pipeline_track(struct pipeline *p)
{
	return p->track;
}

struct pipeline_counts pipeline_counts(const struct pipeline *p)
{
	struct pipeline_counts counts = p->counts;
	counts.track = track_counts(p->track);
	counts.open = track_open(p->track);
	return counts;
}

int64_t pipeline_local_zone_s(int64_t local_s)
{
	struct tm local;
	time_t as_utc = (time_t)local_s;
	if (!gmtime_r(&as_utc, &local))
		return 0;
	local.tm_isdst = -1;
	time_t utc = mktime(&local);
	return utc == (time_t)-1 ? 0 : local_s - (int64_t)utc;
}
