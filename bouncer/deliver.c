#include "bouncer/deliver.h"

#include <stdlib.h>
#include <time.h>

#include <event2/event.h>

#include "common/digest.h"
#include "common/guard.h"
#include "common/log.h"
#include "common/memory.h"

#include "bouncer/envelope.h"
#include "bouncer/post.h"
#include "bouncer/webhook_stats.h"

struct deliver {
	struct deliver_settings settings;
	struct clerk *clerk;
	struct post *post;
	struct event *woken;
	bool stopping;
};

static int64_t seconds(clockid_t clock)
{
	struct timespec t;
	clock_gettime(clock, &t);
	return t.tv_sec;
}

static int64_t monotonic_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void log_attempt(const struct delivery *d)
{
	if (d->ok)
		log_debug("%s: customer=%s, endpoint=%s, attempt=%d, delay=%.3f, status=%s (%d)", d->id,
			  d->endpoint->customer, d->endpoint->id, d->attempt, (double)d->duration_ms / 1000, d->outcome,
			  d->status);
	else
		log_info("%s: customer=%s, endpoint=%s, attempt=%d, delay=%.3f, status=%s (%s%.0d), next=%llds", d->id,
			 d->endpoint->customer, d->endpoint->id, d->attempt, (double)d->duration_ms / 1000, d->outcome,
			 d->error ? d->error : "", d->status, (long long)d->wait_ms / 1000);
}

static void finish(struct deliver *deliver, struct delivery *d)
{
	uint32_t random = 0;
	if (d->status / 100 != 2) /* no wait, no jitter */
		digest_random(&random, sizeof(random));
	d->state = DELIVERY_POSTED;
	delivery_judge(d, random);
	log_attempt(d);
	webhook_stats_note(deliver->settings.metrics, d);
	clerk_done(deliver->clerk, d);
}

/* What Postgres cannot keep in a text. */
static void blank_nul(struct buffer *answer)
{
	for (size_t i = 0; i < answer->len; i++)
		if (!answer->ptr[i])
			answer->ptr[i] = ' ';
}

static void pump(struct deliver *deliver);

static void on_answer(void *cookie, void *user, const struct post_answer *answer)
{
	struct deliver *deliver = cookie;
	struct delivery *d = user;
	d->started_us = answer->started_us;
	d->duration_ms = answer->duration_ms;
	d->status = answer->status;
	d->retry_after_ms = answer->retry_after_ms;
	if (answer->error)
		d->error = text_copy(text_of(answer->error));
	buffer_text(&d->answer, answer->body);
	blank_nul(&d->answer);
	finish(deliver, d);
	pump(deliver);
}

/* Signed for each attempt: the time in the signature is the attempt's. */
static void post(struct deliver *deliver, struct delivery *d)
{
	struct envelope envelope;
	const char *headers[ENVELOPE_HEADERS_MAX];
	envelope_headers(d, seconds(CLOCK_REALTIME), &envelope);
	for (size_t i = 0; i < envelope.count; i++)
		headers[i] = buffer_string(&envelope.lines[i]);
	post_start(deliver->post, &(struct post_request){.url = d->endpoint->url,
							 .headers = headers,
							 .header_count = envelope.count,
							 .body = buffer_view(&d->body),
							 .total_ms = d->endpoint->timeout_ms,
							 .patient = d->endpoint->patient,
							 .certificate = buffer_view(&d->endpoint->certificate),
							 .user = d});
	envelope_free(&envelope);
}

static void start(struct deliver *deliver, struct delivery *d)
{
	struct guard_url url;
	if (monotonic_ms() >= d->start_until_ms) {
		d->state = DELIVERY_UNUSED;
		clerk_done(deliver->clerk, d);
		return;
	}
	const char *why = guard_url_check(text_of(d->endpoint->url), deliver->settings.policy, &url);
	if (why) {
		d->started_us = seconds(CLOCK_REALTIME) * 1000000;
		d->error = text_copy(text_of(why));
		finish(deliver, d);
		return;
	}
	post(deliver, d);
}

static void pump(struct deliver *deliver)
{
	for (struct delivery *d; (d = clerk_next(deliver->clerk));)
		start(deliver, d);
	if (deliver->stopping && !clerk_under_way(deliver->clerk))
		event_base_loopexit(deliver->settings.loop, NULL);
}

static void on_woken(evutil_socket_t fd, short what, void *cookie)
{
	struct deliver *deliver = cookie;
	(void)fd;
	(void)what;
	clerk_woken(deliver->clerk);
	pump(deliver);
}

struct deliver *deliver_new(const struct deliver_settings *settings)
{
	struct deliver *deliver = memory_zero(1, sizeof(*deliver));
	deliver->settings = *settings;
	deliver->post = post_new(&(struct post_settings){.loop = settings->loop,
							 .policy = settings->policy,
							 .ca_file = settings->ca_file,
							 .connect_ms = settings->connect_ms,
							 .connections = settings->clerk.concurrency,
							 .done = on_answer,
							 .cookie = deliver});
	deliver->clerk = clerk_new(&settings->clerk);
	deliver->woken = event_new(settings->loop, clerk_fd(deliver->clerk), EV_READ | EV_PERSIST, on_woken, deliver);
	event_add(deliver->woken, NULL);
	return deliver;
}

void deliver_stop(struct deliver *deliver)
{
	deliver->stopping = true;
	clerk_stop(deliver->clerk);
	pump(deliver);
}

void deliver_free(struct deliver **deliver)
{
	struct deliver *d = *deliver;
	*deliver = NULL;
	if (!d)
		return;
	post_free(&d->post);
	event_free(d->woken);
	clerk_free(&d->clerk);
	free(d);
}
