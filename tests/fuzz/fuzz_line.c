/* Any line: no read out of bounds, every text of the record lies inside the line, and the same line gives the same. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "bouncer/line.h"
#include "bouncer/reply.h"
#include "bouncer/unparsed.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void inside(struct text t, const uint8_t *data, size_t size)
{
	const uint8_t *start = (const uint8_t *)t.ptr;
	/* Words of our own, such as a stage, are not the line's. */
	if (t.len && start >= data && start < data + size && (size_t)(data + size - start) < t.len)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct line_clock clock = {.now_us = INT64_C(1795244400000000)};
	struct record r;
	struct reply reply;
	struct buffer shape = {0};
	line_parse(text_at(data, size), &clock, &r);
	const struct text texts[] = {
		r.host,  r.instance,   r.daemon,      r.queue_id,  r.sender, r.recipient,     r.orig_recipient,
		r.login, r.message_id, r.client_host, r.client_ip, r.helo,   r.orig_queue_id, r.child,
		r.relay, r.dsn,        r.tls,         r.reason,    r.verb,   r.stage};
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
		inside(texts[i], data, size);
	line_queue_time(r.queue_id);
	reply_parse(r.reason, &reply);
	reply_parse(text_at(data, size), &reply);
	unparsed_template(text_at(data, size), &shape);
	buffer_free(&shape);
	return 0;
}
