#ifndef COMMON_COUNTERS_H
#define COMMON_COUNTERS_H

/* Charging limits in Redis: what goes in and what comes out. The two shells, counters_sync.h (the milter's threads) and
 * counters_async.h (policyd's event loop), share this vocabulary; counters_script.c turns a request into the arguments
 * of one Lua call and its answer into a result, without I/O.
 *
 * Keys, all of one customer in one Redis Cluster slot by their hash tag:
 *	wb:{CUSTOMER}:l:LIMIT-ID:SUBJECT            a speed: "tat_us amount period_us"
 *	wb:{CUSTOMER}:l:LIMIT-ID:SUBJECT:YYYYMMDD   a quota of the window that starts on that day: units used
 *	wb:{CUSTOMER}:r:NODE:QUEUE-ID               the receipt: instances, and key and cost of each charge
 *	wb:{CUSTOMER}:t:LOGIN:s                     the takeover guard's present: "since network hour volume before usual
 *	                                            networks usual-networks", 40 days
 *	wb:{CUSTOMER}:t:LOGIN:n                     the networks of its day (HyperLogLog), 2 days
 *	wb:{CUSTOMER}:t:LOGIN:h                     its habits: hour of the week -> "week recipients", 60 days
 *	wb:{CUSTOMER}:t:LOGIN:b                     bounces of unknown mailboxes: "hour count before", 3 hours
 *	wb:{CUSTOMER}:t:LOGIN:x                     the guard has suspended it: the "since" of then, 7 days
 * SUBJECT is the login, login/network, customer, domain or destination domain. Limits of scope relay live under the
 * customer "*". Bytes that could make two keys one (":", "{", "}", "%", blanks, controls, non-ASCII) stand as %XX, and
 * overlong parts are cut and hashed, so that a key has at most COUNTERS_KEY_MAX bytes. All keys expire by themselves.
 *
 * The receipt makes a repeated question free and lets the milter give back what policyd charged. It belongs to one use
 * of the queue id: the step that comes first, policyd's at DATA, says so (begins), and what an earlier message with the
 * same id left behind is forgotten. */

#include "common/limit.h"
#include "common/takeover.h"

#define COUNTERS_MAX_ITEMS        32
#define COUNTERS_RECEIPT_TTL      3600 /* seconds: longer than the longest content transfer that Postfix allows */
#define COUNTERS_KEY_MAX          1024
#define COUNTERS_STAND_IN_RETRY_S 60 /* Redis may be back at any moment, and judges anew */

struct counters_item {
	struct limit limit;
	struct text subject;              /* whom the limit counts */
	int64_t cost;                     /* units */
	int64_t window_start, window_end; /* quotas: seconds since 1970, from limit_window(); else 0 */
	/* The cost is final: what the receipt already holds for this limit and subject is part of it, only the difference
	 * is charged or given back. So the milter corrects the claimed size once it knows the real one. */
	bool settles;
};

/* What the takeover guard wants to know of a login, in the same call: its network is counted whatever becomes of the
 * limits, its recipients when they are charged, and neither when the question is repeated. What is given back later stays
 * counted: an attempt is one, also where the milter refuses it. */
struct counters_watch {
	struct text login;   /* empty: the guard is not asked */
	struct text network; /* the client's /24 or /48; empty: not known */
	int64_t since;       /* seconds since 1970: facts of before count no more; 0: all count */
	int32_t utc_offset;  /* of the customer's time zone, seconds: whose hours and days these are */
	int64_t recipients;
	bool looks; /* what is known is told, and nothing is counted */
};

struct counters_request {
	struct text customer;
	struct text node;     /* this host's name in the log and in keys */
	struct text queue_id; /* may be empty: then no receipt is written */
	struct text instance; /* Postfix's policy instance; or a name for this question, unique within the queue id */
	bool begins;          /* the first question about this message: older receipts of the queue id are another's */
	struct counters_item items[COUNTERS_MAX_ITEMS];
	size_t count;
	struct counters_watch watch;
};

enum counters_answer {
	COUNTERS_CHARGED,     /* every limit that defers or rejects has room; all that have room were charged */
	COUNTERS_REPEATED,    /* this (node, queue id, instance) was charged before: nothing charged now */
	COUNTERS_REFUSED,     /* one that defers or rejects is used up, none was charged */
	COUNTERS_UNAVAILABLE, /* Redis did not answer in time or answered with an error */
	COUNTERS_ANSWER_MAX
};

/* What becomes of a limit while Redis is away: counted on this host, mail under it deferred, or not counted. */
enum counters_unavailable { COUNTERS_FALL_LOCAL, COUNTERS_FALL_DEFER, COUNTERS_FALL_ACCEPT, COUNTERS_FALL_MAX };

struct counters_result {
	enum counters_answer answer;
	/* UNAVAILABLE: DEFER when that is the rule for one of the limits, ACCEPT when it is for all of them, LOCAL when this
	 * host should have counted and could not. */
	enum counters_unavailable rule;
	/* REFUSED, or held: index of the limit behind it, that of its kind that waits longest. */
	size_t binding;
	bool held; /* CHARGED, and a hold limit is used up; REPEATED, and that was so the first time (binding is not told) */
	size_t count; /* usage entries: the request's count, 0 unless CHARGED or REFUSED */
	struct limit_usage usage[COUNTERS_MAX_ITEMS]; /* before this charge */
	bool shadowed;                                /* CHARGED, though a shadow limit would have refused */
	/* Redis is away and this host judged by its part of the limits: what that refuses the limits themselves may let
	 * pass, so it is put off, never refused for good. No wait exceeds COUNTERS_STAND_IN_RETRY_S. */
	bool stood_in;
	int64_t waited_ms; /* for Redis, by a caller who waits (counters_sync.h) */
	bool watched;      /* the takeover guard was asked, and what it was told follows; never while Redis is away */
	struct takeover_facts takeover;
};

/* How Redis is reached; from the configuration. */
struct counters_options {
	const char *socket; /* unix socket, or NULL for host and port */
	const char *host;
	int port;
	const char *password; /* NULL: none */
	int timeout_ms;       /* for one operation; at most 20 on the mail path */
	/* The local store (counters_local.h): the file, or NULL for none; whether it counts alone, without Redis, or only
	 * while Redis is away; and how many hosts share the limits, which then matters. */
	const char *local_path;
	bool only_local;
	int nodes;
	enum counters_unavailable unavailable[LIMIT_SCOPE_MAX]; /* while Redis is away, by the limit's scope */
};

#endif
