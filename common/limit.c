/* Limits: see limit.h. A speed is GCRA in its virtual scheduling form: the theoretical arrival time (TAT) is when the
 * bucket will be empty, the backlog is how far it lies ahead of now. One charge of COST units moves it by
 * COST * period / N microseconds, rounded down, so that B units at once always pass; the bucket is full at
 * B * period / N. counters_charge.lua does the same additions in doubles, which are exact below 2^53: hence the bound. */

#include <stdio.h>
#include <string.h>

#include "common/limit.h"

#define SECOND_US        INT64_C(1000000)
#define DAY_S            INT64_C(86400)
#define WINDOW_SLACK_S   (3 * 3600) /* a change of daylight saving time moves a window's start, never by more */
#define MONTH_SHIFT_DAYS 719468     /* from 0000-03-01 to 1970-01-01 in the proleptic Gregorian calendar */
#define ERA_DAYS         146097     /* 400 years */

const char *const limit_unit_names[LIMIT_UNIT_MAX] = {"messages", "recipients", "bytes"};
const char *const limit_period_names[LIMIT_PERIOD_MAX] = {"s", "min", "h", "day", "month"};
const char *const limit_scope_names[LIMIT_SCOPE_MAX] = {"login",  "network",     "customer",
							"domain", "destination", "relay"};
const char *const limit_action_names[LIMIT_ACTION_MAX] = {"defer", "reject", "hold", "shadow"};

/* Where the parser stands in a spec. */
struct cursor {
	struct text spec;
	size_t at;
};

static char peek(const struct cursor *c)
{
	return c->at < c->spec.len ? c->spec.ptr[c->at] : '\0';
}

static void skip_blanks(struct cursor *c)
{
	while (peek(c) == ' ' || peek(c) == '\t')
		c->at++;
}

static int64_t suffix_factor(char c)
{
	switch (c) {
	case 'k': return 1000;
	case 'M': return 1000000;
	case 'G': return 1000000000;
	}
	return 1;
}

static const char *parse_amount(struct cursor *c, int64_t *out)
{
	size_t start = c->at, end = start;
	while (end < c->spec.len && c->spec.ptr[end] >= '0' && c->spec.ptr[end] <= '9')
		end++;
	uint64_t value;
	const char *why = text_uint(text_head(text_from(c->spec, start), end - start), LIMIT_MAX_AMOUNT, &value);
	if (why)
		return why;
	c->at = end;
	int64_t factor = suffix_factor(peek(c));
	if ((int64_t)value > LIMIT_MAX_AMOUNT / factor) {
		c->at = start;
		return "the number is too large";
	}
	c->at += factor > 1;
	*out = (int64_t)value * factor;
	return NULL;
}

static const char *parse_period(struct cursor *c, enum limit_period *out)
{
	size_t end = c->at;
	while (end < c->spec.len && c->spec.ptr[end] >= 'a' && c->spec.ptr[end] <= 'z')
		end++;
	struct text word = text_head(text_from(c->spec, c->at), end - c->at);
	for (int i = 0; i < LIMIT_PERIOD_MAX; i++)
		if (text_equal(word, text_of(limit_period_names[i]))) {
			*out = (enum limit_period)i;
			c->at = end;
			return NULL;
		}
	return "the period must be s, min, h, day or month";
}

static const char *parse_burst(struct cursor *c, struct limit_spec *spec)
{
	if (!text_starts(text_from(c->spec, c->at), TEXT("burst")))
		return "only \"burst B\" may follow the period";
	if (limit_is_quota(spec->period))
		return "a day or month has no burst";
	c->at += strlen("burst");
	skip_blanks(c);
	size_t number = c->at;
	const char *why = parse_amount(c, &spec->burst);
	if (!why && (spec->burst == 0) != (spec->amount == 0)) {
		c->at = number;
		why = spec->amount ? "a burst must be at least 1" : "a limit of 0 has no burst";
	}
	return why;
}

static const char *parse_spec(struct cursor *c, struct limit_spec *spec)
{
	skip_blanks(c);
	const char *why = parse_amount(c, &spec->amount);
	if (why)
		return why;
	if (peek(c) != '/')
		return "a slash must follow the number, as in 100/h";
	c->at++;
	why = parse_period(c, &spec->period);
	if (why)
		return why;
	spec->burst = spec->amount;
	skip_blanks(c);
	if (c->at < c->spec.len)
		why = parse_burst(c, spec);
	if (why)
		return why;
	skip_blanks(c);
	return c->at < c->spec.len ? "more text than a limit has" : NULL;
}

const char *limit_spec_parse(struct text spec, struct limit_spec *out, size_t *at)
{
	struct cursor c = {spec, 0};
	struct limit_spec parsed = {0};
	const char *why = parse_spec(&c, &parsed);
	if (why)
		*at = c.at;
	else
		*out = parsed;
	return why;
}

void limit_spec_print(const struct limit_spec *spec, char *out)
{
	int len = snprintf(out, LIMIT_SPEC_TEXT_MAX, "%lld/%s", (long long)spec->amount,
			   limit_period_names[spec->period]);
	if (spec->burst != spec->amount)
		snprintf(out + len, (size_t)(LIMIT_SPEC_TEXT_MAX - len), " burst %lld", (long long)spec->burst);
}

bool limit_is_quota(enum limit_period period)
{
	return period == LIMIT_DAY || period == LIMIT_MONTH;
}

int64_t limit_worst_case(const struct limit_spec *spec)
{
	return limit_is_quota(spec->period) ? spec->amount : spec->amount + spec->burst;
}

int64_t limit_period_us(enum limit_period period)
{
	switch (period) {
	case LIMIT_SECOND: return SECOND_US;
	case LIMIT_MINUTE: return 60 * SECOND_US;
	case LIMIT_HOUR: return 3600 * SECOND_US;
	case LIMIT_DAY:
	case LIMIT_MONTH:
	case LIMIT_PERIOD_MAX: break;
	}
	return 0;
}

/* A * B / C rounded down, at most LIMIT_MAX_COST. */
static int64_t scaled(int64_t a, int64_t b, int64_t c)
{
	__extension__ typedef __int128 wide;
	wide value = (wide)a * b / c;
	if (value > LIMIT_MAX_COST)
		return LIMIT_MAX_COST;
	return value < -LIMIT_MAX_COST ? -LIMIT_MAX_COST : (int64_t)value;
}

int64_t limit_cost(const struct limit_spec *spec, int64_t units)
{
	if (limit_is_quota(spec->period))
		return units;
	return spec->amount ? scaled(units, limit_period_us(spec->period), spec->amount) : 0;
}

int64_t limit_room(const struct limit_spec *spec)
{
	return spec->amount ? limit_cost(spec, spec->burst) : -1;
}

/* A backlog reckoned at another rate, in microseconds of this one: the same units. The order of the operations is that
 * of the Lua script, so that the doubles agree. */
static int64_t rerated(const struct limit_spec *spec, const struct limit_state *state, int64_t backlog_us)
{
	int64_t period_us = limit_period_us(spec->period);
	if (state->amount == spec->amount && state->period_us == period_us)
		return backlog_us;
	double there = (double)backlog_us * (double)state->amount / (double)state->period_us;
	double here = there * (double)period_us / (double)spec->amount;
	if (here >= (double)LIMIT_MAX_COST)
		return LIMIT_MAX_COST;
	int64_t whole = (int64_t)here;
	return (double)whole < here ? whole + 1 : whole;
}

static int64_t backlog(const struct limit_spec *spec, const struct limit_state *state, int64_t now_us)
{
	if (state->tat_us <= now_us || !spec->amount || state->amount <= 0 || state->period_us <= 0)
		return 0;
	int64_t backlog_us = rerated(spec, state, state->tat_us - now_us);
	int64_t room = limit_room(spec);
	return backlog_us < room ? backlog_us : room;
}

static int64_t quota_used(const struct limit_state *state, int64_t window_start)
{
	int64_t apart = state->window_start - window_start;
	return apart > -WINDOW_SLACK_S && apart < WINDOW_SLACK_S ? state->used : 0;
}

int64_t limit_fill(const struct limit_spec *spec, const struct limit_state *state, int64_t now_us, int64_t window_start)
{
	return limit_is_quota(spec->period) ? quota_used(state, window_start) : backlog(spec, state, now_us);
}

static int64_t units_of_backlog(const struct limit_spec *spec, int64_t backlog_us)
{
	__extension__ typedef __int128 wide;
	int64_t period_us = limit_period_us(spec->period);
	return (int64_t)(((wide)backlog_us * spec->amount + period_us - 1) / period_us);
}

struct limit_usage limit_usage_of(const struct limit_spec *spec, int64_t fill, int64_t units, int64_t now_us,
				  int64_t window_end)
{
	bool quota = limit_is_quota(spec->period);
	int64_t cost = limit_cost(spec, units), room = limit_room(spec);
	struct limit_usage usage = {.used = quota ? fill : units_of_backlog(spec, fill), .allowed_units = spec->burst};
	usage.allowed = fill + cost <= room;
	if (usage.allowed)
		return usage;
	if (cost > room)
		usage.retry_after_us = INT64_MAX;
	else if (quota)
		usage.retry_after_us = window_end * SECOND_US > now_us ? window_end * SECOND_US - now_us : SECOND_US;
	else
		usage.retry_after_us = fill + cost - room;
	return usage;
}

struct limit_usage limit_check(const struct limit_spec *spec, const struct limit_state *state, int64_t cost,
			       int64_t now_us, int64_t window_start, int64_t window_end)
{
	return limit_usage_of(spec, limit_fill(spec, state, now_us, window_start), cost, now_us, window_end);
}

void limit_refill(const struct limit_spec *spec, struct limit_state *state, int64_t fill, int64_t now_us,
		  int64_t window_start)
{
	if (!spec->amount)
		return;
	if (fill < 0)
		fill = 0;
	if (limit_is_quota(spec->period)) {
		state->used = fill;
		state->window_start = window_start;
	} else {
		state->tat_us = now_us + fill;
		state->amount = spec->amount;
		state->period_us = limit_period_us(spec->period);
	}
}

void limit_charge(const struct limit_spec *spec, struct limit_state *state, int64_t cost, int64_t now_us,
		  int64_t window_start)
{
	int64_t fill = limit_fill(spec, state, now_us, window_start);
	limit_refill(spec, state, fill + limit_cost(spec, cost), now_us, window_start);
}

/* The civil calendar by Hinnant's days-from-civil: years begin in March, so that the leap day is the last. */
static int64_t day_of(int64_t year, int month, int day)
{
	year -= month <= 2;
	int64_t era = (year >= 0 ? year : year - 399) / 400;
	int64_t year_of_era = year - era * 400;
	int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
	return era * ERA_DAYS + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year -
	       MONTH_SHIFT_DAYS;
}

void limit_date(int64_t day, int64_t *year, int *month, int *day_of_month)
{
	day += MONTH_SHIFT_DAYS;
	int64_t era = (day >= 0 ? day : day - (ERA_DAYS - 1)) / ERA_DAYS;
	int64_t day_of_era = day - era * ERA_DAYS;
	int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
	int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
	int from_march = (int)((5 * day_of_year + 2) / 153);
	*day_of_month = (int)(day_of_year - (153 * from_march + 2) / 5) + 1;
	*month = from_march < 10 ? from_march + 3 : from_march - 9;
	*year = year_of_era + era * 400 + (*month <= 2);
}

void limit_window(enum limit_period period, int64_t now_s, int32_t utc_offset_s, int64_t *start, int64_t *end)
{
	int64_t local = now_s + utc_offset_s;
	int64_t first = local / DAY_S - (local % DAY_S < 0), last = first + 1;
	if (period == LIMIT_MONTH) {
		int64_t year;
		int month, day;
		limit_date(first, &year, &month, &day);
		first = day_of(year, month, 1);
		last = month == 12 ? day_of(year + 1, 1, 1) : day_of(year, month + 1, 1);
	}
	*start = first * DAY_S - utc_offset_s;
	*end = last * DAY_S - utc_offset_s;
}
