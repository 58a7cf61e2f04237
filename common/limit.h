#ifndef COMMON_LIMIT_H
#define COMMON_LIMIT_H

/* Limits: their grammar and their arithmetic. A core: no I/O, time is an argument.
 *
 * Spec:   N/PERIOD [burst B]      100/h     20/s burst 100     50000/day     1000000/month
 * PERIOD  s | min | h             a speed: GCRA in microseconds (the virtual scheduling form of ITU-T I.371), B units
 *                                 at once, by default N
 *         day | month             a quota: a counter per calendar day or month in the customer's time zone
 * N and B are 1 to LIMIT_MAX_AMOUNT, or N is 0: nothing may pass. A suffix k, M or G multiplies by 10^3, 10^6, 10^9. */

#include "common/text.h"

#define LIMIT_MAX_AMOUNT 1000000000000 /* 10^12: a terabyte a month fits, and N * 2^20 still fits an int64 */

enum limit_unit { LIMIT_MESSAGES, LIMIT_RECIPIENTS, LIMIT_BYTES, LIMIT_UNIT_MAX };
enum limit_period { LIMIT_SECOND, LIMIT_MINUTE, LIMIT_HOUR, LIMIT_DAY, LIMIT_MONTH, LIMIT_PERIOD_MAX };
enum limit_scope {
	LIMIT_LOGIN,       /* per login */
	LIMIT_NETWORK,     /* per login and source network, /24 or /48 */
	LIMIT_CUSTOMER,    /* per customer */
	LIMIT_DOMAIN,      /* per header From domain of a customer */
	LIMIT_DESTINATION, /* per customer and recipient domain */
	LIMIT_RELAY,       /* the whole installation */
	LIMIT_SCOPE_MAX
};
enum limit_action { LIMIT_DEFER, LIMIT_REJECT, LIMIT_HOLD, LIMIT_SHADOW, LIMIT_ACTION_MAX };

/* The words used in SQL, on the command line and in logs, indexed by the enums: "messages", "min", "login", "defer". */
extern const char *const limit_unit_names[LIMIT_UNIT_MAX];
extern const char *const limit_period_names[LIMIT_PERIOD_MAX];
extern const char *const limit_scope_names[LIMIT_SCOPE_MAX];
extern const char *const limit_action_names[LIMIT_ACTION_MAX];

struct limit_spec {
	int64_t amount; /* N, units per period */
	int64_t burst;  /* B, units; for quotas equal to amount */
	enum limit_period period;
};

struct limit {
	struct text id; /* stable when the spec is edited: usage is kept; [a-z0-9-], at most LIMIT_ID_MAX bytes */
	enum limit_scope scope;
	enum limit_unit unit;
	struct limit_spec spec;
	enum limit_action action;
	struct text destination; /* of scope destination: only this domain, as A-labels; empty: each by itself */
};
#define LIMIT_ID_MAX 32

/* NULL and *OUT; or what is wrong, and *AT, the offset of the first wrong byte. */
const char *limit_spec_parse(struct text spec, struct limit_spec *out, size_t *at);
/* The normal spelling, "100/h burst 200"; OUT has at least LIMIT_SPEC_TEXT_MAX bytes. */
#define LIMIT_SPEC_TEXT_MAX 64
void limit_spec_print(const struct limit_spec *spec, char *out);
/* day and month are quotas, the others speeds. */
bool limit_is_quota(enum limit_period period);
/* The most units that can pass within one period, bursts included: what a contract must reckon with. */
int64_t limit_worst_case(const struct limit_spec *spec);

/* The state of one limit: what Redis and the local store keep. Zero is "never used". */
struct limit_state {
	int64_t tat_us;       /* speeds: theoretical arrival time, microseconds since 1970 */
	int64_t amount;       /* speeds: N and period for which tat_us was reckoned, so that an edited */
	int64_t period_us;    /* limit keeps its usage */
	int64_t used;         /* quotas: units in this window */
	int64_t window_start; /* quotas: seconds since 1970 */
};

/* The calendar window that holds NOW_S, where the local time is UTC + UTC_OFFSET_S: [*START, *END), seconds since
 * 1970. PERIOD is a quota's. */
void limit_window(enum limit_period period, int64_t now_s, int32_t utc_offset_s, int64_t *start, int64_t *end);

/* The civil date of a day counted since 1970-01-01; month and day of month from 1. */
void limit_date(int64_t day, int64_t *year, int *month, int *day_of_month);

struct limit_usage {
	bool allowed;           /* COST more units fit */
	int64_t used;           /* units in use before the charge, rounded up */
	int64_t allowed_units;  /* B of a speed, N of a quota: what "used" is compared with */
	int64_t retry_after_us; /* 0 when allowed; else when COST would fit; INT64_MAX when it never will */
};

/* What charging COST units at NOW_US would do to STATE; changes nothing. WINDOW_END (seconds) matters to quotas. A
 * fuller state than the limit has room for (an edit made it smaller, or the clock went back) counts as just full, so
 * that nobody waits longer than the limit itself asks for. */
struct limit_usage limit_check(const struct limit_spec *spec, const struct limit_state *state, int64_t cost,
			       int64_t now_us, int64_t window_start, int64_t window_end);
/* Charges COST units; a negative COST gives back. The caller has checked: a limit without room is not charged, neither
 * an enforced nor a shadow one, so that a shadow limit shows what an enforced one would do. */
void limit_charge(const struct limit_spec *spec, struct limit_state *state, int64_t cost, int64_t now_us,
		  int64_t window_start);

/* The same arithmetic in the one unit that a limit's state is kept in, as counters_charge.lua does it: microseconds of
 * backlog of a speed, units of a quota. UNITS fit when fill + limit_cost() <= limit_room(). Speeds are exact to a
 * microsecond a charge. No cost or room exceeds LIMIT_MAX_COST, so that doubles hold them and TATs exactly. */
#define LIMIT_MAX_COST (INT64_C(1) << 52)
int64_t limit_cost(const struct limit_spec *spec, int64_t units);
int64_t limit_room(const struct limit_spec *spec); /* -1 for a limit of 0 */
int64_t limit_period_us(enum limit_period period); /* 0 for quotas */
/* How full STATE is, and STATE made as full as FILL (at least 0); a limit of 0 keeps no state. */
int64_t limit_fill(const struct limit_spec *spec, const struct limit_state *state, int64_t now_us,
		   int64_t window_start);
void limit_refill(const struct limit_spec *spec, struct limit_state *state, int64_t fill, int64_t now_us,
		  int64_t window_start);
/* What a state filled to FILL means for UNITS more. */
struct limit_usage limit_usage_of(const struct limit_spec *spec, int64_t fill, int64_t units, int64_t now_us,
				  int64_t window_end);

#endif
