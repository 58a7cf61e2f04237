#ifndef BOUNCER_POST_H
#define BOUNCER_POST_H

/* HTTP POSTs to strangers: libcurl's multi interface on a libevent loop, with every door shut that a hostile URL or
 * server could use. The address is judged when the socket is made (common/guard.h), so neither names that resolve to
 * inside addresses nor names that change help; redirects are not followed; proxies and credentials from the environment
 * or files are not used; certificates are verified; answers are neither decompressed nor read to the end. */

#include "common/text.h"

struct event_base;
struct guard_policy;
struct post;

/* Beyond this an answer is not read; its status counts. */
#define POST_ANSWER_READ_MAX (16 * 1024)
/* Header fields of an answer, interim answers (1xx) included. */
#define POST_ANSWER_HEADER_MAX (16 * 1024)

struct post_answer {
	int status;             /* of a complete answer (or one that was cut at the limit); 0: none */
	int64_t retry_after_ms; /* what Retry-After asked for; 0: nothing */
	const char *error;      /* why there is no status; NULL */
	struct text body;       /* the first bytes, DELIVERY_ANSWER_MAX at most */
	int64_t started_us, duration_ms;
};

struct post_settings {
	struct event_base *loop;
	const struct guard_policy *policy;
	const char *ca_file; /* certificates trusted besides the system's; NULL */
	int64_t connect_ms;
	size_t connections; /* kept open, at most */
	/* Called from the loop with each answer, never from within post_start(). */
	void (*done)(void *cookie, void *user, const struct post_answer *answer);
	void *cookie;
};

struct post *post_new(const struct post_settings *settings);
/* Abandons what is under way, without calling done(). */
void post_free(struct post **post);

struct post_request {
	const char *url;
	const char *const *headers; /* "name: value" */
	size_t header_count;
	struct text body; /* stays where it is until done() */
	int64_t total_ms;
	struct text certificate; /* of ours, PEM with its key; empty: none */
	bool patient;            /* an answer may be silent all that time; else only for a while */
	void *user;
};

void post_start(struct post *post, const struct post_request *request);

#endif
