#ifndef COMMON_TAKEOVER_CONF_H
#define COMMON_TAKEOVER_CONF_H

/* The rows of section [policyd] about the takeover guard, shared by policyd and "waybill login show". */

#include "common/conf.h"
#include "common/takeover.h"

/* A member named takeover of a program's configuration struct. */
struct takeover_settings {
	int64_t score, networks, volume, bounces, bounce_percent, shadow_ms;
};

/* clang-format off */
/* SAYS is CONF_OWN or CONF_OTHERS. */
#define TAKEOVER_ROWS(STRUCT, SAYS)                                                                                        \
	{"policyd", "takeover_score", CONF_INT, offsetof(STRUCT, takeover.score), "80", 1, 100, NULL, false,               \
	 SAYS("From which score on (1 to 100) a login counts as taken over, and its customer's action is taken.")},        \
	{"policyd", "takeover_networks", CONF_INT, offsetof(STRUCT, takeover.networks), "20", 2, 1000000, NULL, false,     \
	 SAYS("How many networks (/24, /48) in a day give 100 points; more where a login usually has more.")},             \
	{"policyd", "takeover_volume", CONF_INT, offsetof(STRUCT, takeover.volume), "500", 1, 1000000000, NULL, false,     \
	 SAYS("How many recipients in an hour give 60 points, the most that volume gives; more where more is usual.")},    \
	{"policyd", "takeover_bounces", CONF_INT, offsetof(STRUCT, takeover.bounces), "50", 1, 1000000000, NULL, false,    \
	 SAYS("How many bounces of mailboxes that do not exist, within two hours, give 100 points.")},                     \
	{"policyd", "takeover_bounce_percent", CONF_INT, offsetof(STRUCT, takeover.bounce_percent), "10", 1, 100, NULL,    \
	 false,                                                                                                            \
	 SAYS("As which share of a login's recipients such bounces count in full; below a fifth of it not at all.")},      \
	{"policyd", "takeover_shadow", CONF_DURATION, offsetof(STRUCT, takeover.shadow_ms), "7d", 0, 31536000000, NULL,    \
	 false, SAYS("How long a new login is only watched: the log and an event tell what would have been done.")}
/* clang-format on */

static inline struct takeover_marks takeover_marks_of(const struct takeover_settings *settings)
{
	return (struct takeover_marks){.score = settings->score,
				       .networks = settings->networks,
				       .volume = settings->volume,
				       .bounces = settings->bounces,
				       .bounce_percent = settings->bounce_percent,
				       .shadow_s = settings->shadow_ms / 1000};
}

#endif
