/* The takeover guard's score and what follows from it. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/takeover.h"
#include "tests/unit/common/draw.h"

#define DAY   86400
#define STEPS 20000

static const struct takeover_marks marks = {
	.score = 80, .networks = 20, .volume = 500, .bounces = 50, .bounce_percent = 10, .shadow_s = 7 * DAY};

static const struct {
	const char *what;
	struct takeover_facts facts;
	struct takeover_score score;
} scores[] = {
	{"nothing yet", {0}, {0}},
	{"an office", {.networks = 5, .volume = 100}, {0}},
	{"a traveller", {.networks = 8, .volume = 20}, {20, 20, 0, 0}},
	{"many networks", {.networks = 17}, {80, 80, 0, 0}},
	{"at the mark", {.networks = 20}, {100, 100, 0, 0}},
	{"more than the mark", {.networks = 2000}, {100, 100, 0, 0}},
	{"many networks as usual", {.networks = 60, .networks_usual = 60}, {0}},
	{"four times as many", {.networks = 240, .networks_usual = 60}, {100, 100, 0, 0}},
	{"a campaign", {.networks = 1, .volume = 100000}, {60, 0, 60, 0}},
	{"a campaign as usual", {.volume = 100000, .volume_usual = 50000}, {0}},
	{"ten times as much", {.volume = 100000, .volume_usual = 10000}, {60, 0, 60, 0}},
	{"some networks and a campaign", {.networks = 8, .volume = 500}, {80, 20, 60, 0}},
	{"half of the volume", {.volume = 300}, {30, 0, 30, 0}},
	{"a few bad mailboxes", {.volume = 50, .bad_mailboxes = 10}, {0}},
	{"a burst of bad mailboxes", {.volume = 100, .bad_mailboxes = 50}, {100, 0, 0, 100}},
	{"the same among many", {.volume = 200000, .volume_usual = 200000, .bad_mailboxes = 50}, {0}},
	{"sent in the hour before", {.volume_before = 500, .bad_mailboxes = 50}, {100, 0, 0, 100}},
	{"bounces alone", {.bad_mailboxes = 42}, {80, 0, 0, 80}},
	{"all together", {.networks = 20, .volume = 500, .bad_mailboxes = 100}, {100, 100, 60, 100}},
	{"numbers without sense",
	 {.networks = -1,
	  .networks_usual = INT64_MAX,
	  .volume = INT64_MAX,
	  .volume_before = INT64_MAX,
	  .volume_usual = INT64_MIN,
	  .bad_mailboxes = INT64_MAX},
	 {100, 0, 60, 100}},
};

static void signs_give_points(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof scores / sizeof *scores; i++) {
		struct takeover_score got = takeover_score(&marks, &scores[i].facts), wanted = scores[i].score;
		if (memcmp(&got, &wanted, sizeof got) != 0)
			fail_msg("%s: %d = %d + %d + %d", scores[i].what, got.total, got.networks, got.volume,
				 got.bounces);
	}
}

static void more_of_a_sign_never_lowers_the_score(void **state)
{
	(void)state;
	for (int step = 0; step < STEPS; step++) {
		struct takeover_marks own = {.score = 80,
					     .networks = 2 + draw(100),
					     .volume = 1 + draw(2000),
					     .bounces = 1 + draw(200),
					     .bounce_percent = 1 + draw(100)};
		struct takeover_facts facts = {.networks = draw(200),
					       .networks_usual = draw(40),
					       .volume = draw(5000),
					       .volume_before = draw(5000),
					       .volume_usual = draw(300),
					       .bad_mailboxes = draw(2) ? draw(400) : 0};
		struct takeover_facts more = facts, unbounced;
		more.networks += draw(50);
		more.bad_mailboxes += draw(50);
		struct takeover_score low = takeover_score(&own, &facts), high = takeover_score(&own, &more);
		assert_true(low.networks <= high.networks && low.bounces <= high.bounces && low.total <= high.total);
		assert_true(low.total >= 0 && low.total <= 100);
		unbounced = facts;
		unbounced.bad_mailboxes = 0;
		more = unbounced;
		more.volume += draw(5000);
		assert_true(takeover_score(&own, &unbounced).total <= takeover_score(&own, &more).total);
		more.volume_usual += draw(300);
		more.networks_usual += draw(40);
		high = takeover_score(&own, &more);
		more.volume_usual = unbounced.volume_usual;
		more.networks_usual = unbounced.networks_usual;
		assert_true(high.total <= takeover_score(&own, &more).total);
	}
}

static const struct {
	enum takeover_action action;
	int64_t age_s;
	int networks;
	bool suspended;
	enum takeover_outcome outcome;
} judgements[] = {
	{TAKEOVER_OFF, 30 * DAY, 20, true, TAKEOVER_QUIET},
	{TAKEOVER_ALERT, 30 * DAY, 16, false, TAKEOVER_QUIET},
	{TAKEOVER_ALERT, 30 * DAY, 17, false, TAKEOVER_ALERTED},
	{TAKEOVER_HOLD, 30 * DAY, 17, false, TAKEOVER_HELD},
	{TAKEOVER_SUSPEND, 30 * DAY, 17, false, TAKEOVER_SUSPENDED},
	{TAKEOVER_SUSPEND, 7 * DAY - 1, 17, false, TAKEOVER_SHADOWED},
	{TAKEOVER_SUSPEND, 7 * DAY, 17, false, TAKEOVER_SUSPENDED},
	{TAKEOVER_ALERT, 7 * DAY - 1, 17, false, TAKEOVER_SHADOWED},
	{TAKEOVER_SUSPEND, 7 * DAY - 1, 1, false, TAKEOVER_QUIET},
	{TAKEOVER_SUSPEND, 30 * DAY, 1, true, TAKEOVER_SUSPENDED},
	{TAKEOVER_HOLD, 30 * DAY, 1, true, TAKEOVER_QUIET},
};

static void the_customers_action_is_taken(void **state)
{
	(void)state;
	const int64_t now_s = 1795262400;
	for (size_t i = 0; i < sizeof judgements / sizeof *judgements; i++) {
		struct takeover_rule rule = {judgements[i].action, now_s - judgements[i].age_s};
		struct takeover_facts facts = {.networks = judgements[i].networks,
					       .suspended = judgements[i].suspended};
		assert_int_equal(takeover_judge(&marks, &rule, &facts, now_s), judgements[i].outcome);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(signs_give_points),
		cmocka_unit_test(more_of_a_sign_never_lowers_the_score),
		cmocka_unit_test(the_customers_action_is_taken),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
