#ifndef COMMON_COUNTERS_SCRIPT_H
#define COMMON_COUNTERS_SCRIPT_H

/* The Lua calls of the counters, as bytes for Redis and back. A core: the shells counters_sync.c and counters_async.c
 * only carry them. The scripts themselves are common/counters_*.lua, built in. */

#include "common/counters.h"

enum counters_script { COUNTERS_SCRIPT_CHARGE, COUNTERS_SCRIPT_REFUND, COUNTERS_SCRIPT_BOUNCES, COUNTERS_SCRIPT_MAX };

struct counters_script_text {
	struct text source;
	const char *sha1; /* 40 hex digits, as EVALSHA wants them */
};
extern const struct counters_script_text counters_scripts[COUNTERS_SCRIPT_MAX];

/* Append one command (RESP arrays of bulk strings) to OUT: the call by EVALSHA. COUNT of the request is at most
 * COUNTERS_MAX_ITEMS. */
void counters_script_charge(const struct counters_request *request, struct buffer *out);
void counters_script_refund(struct text customer, struct text node, struct text queue_id, struct buffer *out);
/* COUNT more bounces of unknown mailboxes for a login. */
void counters_script_bounces(struct text customer, struct text login, int64_t count, struct buffer *out);
/* The takeover guard suspends a login, whose facts count from SINCE on: SET, whose answer is a status. */
void counters_script_suspend(struct text customer, struct text login, int64_t since, struct buffer *out);
/* The same call by EVAL, which also teaches Redis the script: for the answer NOSCRIPT. CALL is what the functions above
 * appended. */
void counters_script_spell_out(enum counters_script script, struct text call, struct buffer *out);
/* SCRIPT LOAD of SCRIPT, and AUTH with PASSWORD, as commands. */
void counters_script_load(enum counters_script script, struct buffer *out);
void counters_script_auth(const char *password, struct buffer *out);

/* The keys of an item and of a receipt; their lengths. */
size_t counters_script_key(const struct counters_request *request, size_t item, char out[COUNTERS_KEY_MAX]);
size_t counters_script_receipt_key(struct text customer, struct text node, struct text queue_id,
				   char out[COUNTERS_KEY_MAX]);

/* A key of the takeover guard's: KIND is the letter behind its last colon (counters.h). */
struct text counters_script_watch_key(struct text customer, struct text login, char kind, char out[COUNTERS_KEY_MAX]);

/* What an answer is compared with: the part of a request that must outlive it. */
struct counters_expected {
	size_t count;
	bool watched;
	struct {
		struct limit_spec spec;
		int64_t cost, window_end;
		enum limit_action action;
	} items[COUNTERS_MAX_ITEMS];
};
void counters_script_expect(const struct counters_request *request, struct counters_expected *out);
/* The most integers that an answer has: two, a fill for each limit, and some facts of the takeover guard. */
#define COUNTERS_SCRIPT_FACTS  2
#define COUNTERS_SCRIPT_VALUES (2 + COUNTERS_MAX_ITEMS + COUNTERS_SCRIPT_FACTS)
/* The integers of Redis' answer, and the one string of it that has the other FACTS, as a result. NULL; or why they are
 * none, and *OUT is UNAVAILABLE. */
const char *counters_script_result(const struct counters_expected *expected, const int64_t *values, size_t count,
				   struct text facts, struct counters_result *out);
/* The same from NOW_US and fills that are known already, refused or charged as they say. */
void counters_script_judge(const struct counters_expected *expected, int64_t now_us, const int64_t *fill,
			   struct counters_result *out);

#endif
