/* The score: see takeover.h. */

#include "common/takeover.h"

#define FULL           100
#define NETWORKS_TIMES 4
#define NETWORKS_FROM  4 /* a quarter of the mark */
#define VOLUME_TIMES   10
#define VOLUME_FROM    5 /* a fifth */
#define BOUNCES_FROM   5
#define FACT_MAX       (INT64_C(1) << 40) /* products of two facts fit an int64 */

const char *const takeover_action_names[TAKEOVER_ACTION_MAX + 1] = {"off", "alert", "hold", "suspend", NULL};
const char *const takeover_outcome_names[TAKEOVER_OUTCOME_MAX + 1] = {"quiet", "shadow",  "alert",
								      "hold",  "suspend", NULL};

static int64_t larger(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

static int64_t bounded(int64_t fact)
{
	return fact < 0 ? 0 : fact > FACT_MAX ? FACT_MAX : fact;
}

/* 0 up to MARK / PART, FULL from MARK on. */
static int64_t points(int64_t fact, int64_t mark, int64_t part)
{
	int64_t from = mark / part;
	if (fact >= mark)
		return FULL;
	return fact <= from ? 0 : (fact - from) * FULL / (mark - from);
}

int64_t takeover_networks_mark(const struct takeover_marks *marks, const struct takeover_facts *facts)
{
	return larger(marks->networks, bounded(facts->networks_usual) * NETWORKS_TIMES);
}

int64_t takeover_volume_mark(const struct takeover_marks *marks, const struct takeover_facts *facts)
{
	return larger(marks->volume, bounded(facts->volume_usual) * VOLUME_TIMES);
}

static int64_t bounce_points(const struct takeover_marks *marks, const struct takeover_facts *facts)
{
	int64_t bad = bounded(facts->bad_mailboxes);
	int64_t sent = larger(1, bounded(facts->volume) + bounded(facts->volume_before));
	int64_t share = points(bad * 100, sent * marks->bounce_percent, BOUNCES_FROM);
	return points(bad, marks->bounces, BOUNCES_FROM) * share / FULL;
}

struct takeover_score takeover_score(const struct takeover_marks *marks, const struct takeover_facts *facts)
{
	struct takeover_score score;
	score.networks = (int)points(bounded(facts->networks), takeover_networks_mark(marks, facts), NETWORKS_FROM);
	score.volume = (int)points(bounded(facts->volume), takeover_volume_mark(marks, facts), VOLUME_FROM) *
		       TAKEOVER_VOLUME_MAX / FULL;
	score.bounces = (int)bounce_points(marks, facts);
	score.total = score.networks + score.volume + score.bounces;
	if (score.total > FULL)
		score.total = FULL;
	return score;
}

void takeover_describe(const struct takeover_marks *marks, const struct takeover_facts *facts, struct buffer *out)
{
	struct takeover_score score = takeover_score(marks, facts);
	buffer_format(out, "score %d of %lld: %lld networks today (usual %lld; %d points), ", score.total,
		      (long long)marks->score, (long long)facts->networks, (long long)facts->networks_usual,
		      score.networks);
	buffer_format(out, "%lld recipients this hour (usual %lld; %d points), ", (long long)facts->volume,
		      (long long)facts->volume_usual, score.volume);
	buffer_format(out, "%lld bounces of unknown mailboxes (%d points)", (long long)facts->bad_mailboxes,
		      score.bounces);
}

int64_t takeover_shadow_until(const struct takeover_marks *marks, const struct takeover_rule *rule)
{
	return rule->created_at + marks->shadow_s;
}

enum takeover_outcome takeover_judge(const struct takeover_marks *marks, const struct takeover_rule *rule,
				     const struct takeover_facts *facts, int64_t now_s)
{
	bool stays = facts->suspended && rule->action == TAKEOVER_SUSPEND;
	if (rule->action == TAKEOVER_OFF || (!stays && takeover_score(marks, facts).total < marks->score))
		return TAKEOVER_QUIET;
	if (now_s < takeover_shadow_until(marks, rule))
		return TAKEOVER_SHADOWED;
	switch (rule->action) {
	case TAKEOVER_ALERT: return TAKEOVER_ALERTED;
	case TAKEOVER_HOLD: return TAKEOVER_HELD;
	case TAKEOVER_SUSPEND: return TAKEOVER_SUSPENDED;
	case TAKEOVER_OFF:
	case TAKEOVER_ACTION_MAX: break;
	}
	return TAKEOVER_QUIET;
}
