/* The guard's memory: see watch.h, and counters_charge.lua, whose steps these are. */

#include <string.h>

#include "common/reminders.h"

#include "common/watch.h"

#define HOUR_S     3600
#define DAY_HOURS  24
#define KEEP       0.75 /* of an average, from week to week */
#define BACK_HOURS 2    /* a clock that goes back no further changes nothing */
#define FORGOTTEN  1e-30

/* What a habit is worth in WEEK. */
static double habit_at(const struct watch_memory *m, int64_t slot, int64_t week)
{
	double factor = 1;
	if (!m->habits[slot].week)
		return 0;
	for (int64_t weeks = week - m->habits[slot].week; weeks > 0 && factor > FORGOTTEN; weeks--)
		factor *= KEEP;
	return m->habits[slot].recipients * factor;
}

static int64_t rounded_up(double value)
{
	int64_t whole = (int64_t)value;
	return (double)whole < value ? whole + 1 : whole;
}

static int64_t usual_at(const struct watch_memory *m, int64_t hour)
{
	double most = 0;
	for (int64_t near = hour - 1; near <= hour + 1; near++) {
		double value = habit_at(m, near % WATCH_WEEK, hour / WATCH_WEEK);
		most = value > most ? value : most;
	}
	return rounded_up(most);
}

static void remember(struct watch_memory *m)
{
	int64_t week = m->hour / WATCH_WEEK, slot = m->hour % WATCH_WEEK, most = 4 * m->usual + 100;
	double average = (double)m->volume;
	if (!m->first_week)
		m->first_week = (int32_t)week + 1;
	if (m->first_week - 1 < week)
		average = habit_at(m, slot, week) * KEEP + (double)(m->volume < most ? m->volume : most) * (1 - KEEP);
	m->habits[slot].week = week + 1;
	m->habits[slot].recipients = average;
}

static void turn(struct watch_memory *m, int64_t hour)
{
	if (hour <= m->hour && hour >= m->hour - BACK_HOURS)
		return;
	bool next_hour = hour == m->hour + 1;
	int64_t usual = usual_at(m, hour);
	if (m->volume > 0)
		remember(m);
	if (!next_hour) /* what goes on for two hours is none the more usual */
		usual = usual_at(m, hour);
	if (hour / DAY_HOURS != m->hour / DAY_HOURS) {
		int64_t networks = m->networks_count;
		if (networks)
			m->networks_usual =
				m->networks_usual
					? rounded_up((double)m->networks_usual * KEEP + (double)networks * (1 - KEEP))
					: networks;
		m->networks_count = 0;
	}
	m->before = next_hour ? m->volume : 0;
	m->volume = 0;
	m->hour = hour;
	m->usual = usual;
}

static void forget(struct watch_memory *m, int64_t since)
{
	m->since = since;
	m->volume = m->before = m->bounces = m->bounces_before = 0;
	m->networks_count = 0;
}

static void add_network(struct watch_memory *m, struct text network)
{
	uint64_t name = reminders_name(0, network, 0);
	uint32_t hash = (uint32_t)(name ^ name >> 32);
	for (uint32_t i = 0; i < m->networks_count; i++)
		if (m->networks[i] == hash)
			return;
	if (m->networks_count < WATCH_NETWORKS_MAX)
		m->networks[m->networks_count++] = hash;
}

static int64_t bad_mailboxes(const struct watch_memory *m, int64_t now_s)
{
	int64_t age = now_s / HOUR_S - m->bounce_hour;
	return age == 0 ? m->bounces + m->bounces_before : age == 1 ? m->bounces : 0;
}

struct takeover_facts watch_ask(struct watch_memory *m, const struct counters_watch *watch, int64_t recipients,
				bool counts, int64_t now_s)
{
	int64_t hour = (now_s + watch->utc_offset) / HOUR_S;
	if (!m->hour) {
		m->since = watch->since;
		m->hour = hour;
		m->usual = usual_at(m, hour);
	}
	turn(m, hour);
	if (watch->since > m->since)
		forget(m, watch->since);
	if (counts && watch->network.len)
		add_network(m, watch->network);
	m->volume += recipients;
	return (struct takeover_facts){.networks = m->networks_count,
				       .networks_usual = m->networks_usual,
				       .volume = m->volume,
				       .volume_before = m->before,
				       .volume_usual = m->usual,
				       .bad_mailboxes = bad_mailboxes(m, now_s),
				       .suspended = m->suspended_since > m->since};
}

void watch_bounces(struct watch_memory *m, int64_t count, int64_t now_s)
{
	int64_t hour = now_s / HOUR_S;
	if (hour != m->bounce_hour) {
		m->bounces_before = hour == m->bounce_hour + 1 ? m->bounces : 0;
		m->bounces = 0;
		m->bounce_hour = hour;
	}
	m->bounces += count;
}

void watch_suspend(struct watch_memory *m, int64_t since)
{
	m->suspended_since = since + 1;
}
