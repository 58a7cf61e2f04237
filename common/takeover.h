#ifndef COMMON_TAKEOVER_H
#define COMMON_TAKEOVER_H

/* The takeover guard: does a login behave as if somebody else had its password? A score with its reasons, from what the
 * counters know of the login (counters.h). A core: facts and marks go in, a judgement comes out.
 *
 * Each of three signs gives points, none below a part of its mark, 100 at the mark, in a straight line between:
 *	networks  distinct networks (/24, /48) in a day; the mark is at least four times what is usual for the login.
 *	          Below a quarter of the mark they say nothing.
 *	volume    recipients in an hour; the mark is at least ten times what is usual at that hour of the week. Below a
 *	          fifth it says nothing, and it never gives more than TAKEOVER_VOLUME_MAX: a campaign is no theft.
 *	bounces   mailboxes that do not exist, in this hour and the one before: those who guess or buy addresses meet many.
 *	          Below a fifth of the mark, or as a small share of the recipients, they say nothing.
 * The score is their sum, at most 100. It never falls when networks or bounces grow. */

#include "common/text.h"

enum takeover_action { TAKEOVER_OFF, TAKEOVER_ALERT, TAKEOVER_HOLD, TAKEOVER_SUSPEND, TAKEOVER_ACTION_MAX };
/* "off", "alert", "hold", "suspend", NULL: the words used in SQL, on the command line and in events. */
extern const char *const takeover_action_names[TAKEOVER_ACTION_MAX + 1];

/* What is known of a login at one moment. */
struct takeover_facts {
	int64_t networks, networks_usual; /* today; on a day with mail */
	int64_t volume, volume_before,
		volume_usual;  /* recipients this hour; the hour before; at this hour of the week */
	int64_t bad_mailboxes; /* bounced in this hour and the one before */
	bool suspended;        /* the guard has suspended it, though the directory may not know yet */
};

/* From the configuration: takeover_conf.h. */
struct takeover_marks {
	int64_t score;                     /* the guard acts from here on */
	int64_t networks, volume, bounces; /* each gives 100 points */
	int64_t bounce_percent;            /* the share of the recipients at which bounces count in full */
	int64_t shadow_s;                  /* how long a new login is only watched */
};

#define TAKEOVER_VOLUME_MAX 60

struct takeover_score {
	int total; /* 0 to 100 */
	int networks, volume, bounces;
};
struct takeover_score takeover_score(const struct takeover_marks *marks, const struct takeover_facts *facts);
/* The marks that hold for this login: the configured ones, or more where more is usual. */
int64_t takeover_networks_mark(const struct takeover_marks *marks, const struct takeover_facts *facts);
int64_t takeover_volume_mark(const struct takeover_marks *marks, const struct takeover_facts *facts);
/* Appends the reasons in words: "score 100 of 80: 24 networks today (usual 2; 100 points), …". */
void takeover_describe(const struct takeover_marks *marks, const struct takeover_facts *facts, struct buffer *out);

/* What becomes of a message. */
enum takeover_outcome {
	TAKEOVER_QUIET,     /* nothing */
	TAKEOVER_SHADOWED,  /* it passes; the login is new, so nothing but a remark */
	TAKEOVER_ALERTED,   /* it passes, and somebody is told */
	TAKEOVER_HELD,      /* it waits for a person */
	TAKEOVER_SUSPENDED, /* it is refused, and so is all that follows */
	TAKEOVER_OUTCOME_MAX
};
/* "quiet", "shadow", "alert", "hold", "suspend", NULL: the words of events, and a metric's values. */
extern const char *const takeover_outcome_names[TAKEOVER_OUTCOME_MAX + 1];

/* What the guard may do with a login. */
struct takeover_rule {
	enum takeover_action action;
	int64_t created_at; /* of the login, seconds since 1970 */
};
int64_t takeover_shadow_until(const struct takeover_marks *marks, const struct takeover_rule *rule);
/* A login once suspended stays so, whatever its score has become, as long as the action is suspend. */
enum takeover_outcome takeover_judge(const struct takeover_marks *marks, const struct takeover_rule *rule,
				     const struct takeover_facts *facts, int64_t now_s);

#endif
