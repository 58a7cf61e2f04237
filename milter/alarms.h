#ifndef MILTER_ALARMS_H
#define MILTER_ALARMS_H

/* What is wrong with a domain's signatures, as events in the spool: when it is found first, and once a day while it lasts,
 * each key by itself and what becomes of the mail by itself. They are the domain's customer's events. Thread-safe. */

#include "common/text.h"

struct alarms;
struct spool;

enum alarm_type {
	ALARM_KEY_UNUSABLE,      /* domain.key_unusable: a key cannot be used, or there is none to use */
	ALARM_SIGNATURE_FAILING, /* domain.signature_failing: what was signed does not verify */
	ALARM_TYPE_MAX
};

struct alarm {
	enum alarm_type type;
	int64_t now_s; /* seconds since 1970 */
	struct text customer, domain;
	struct text selector;  /* may be empty */
	struct text queue_id;  /* of the message that showed it */
	struct text why, mail; /* in words; what becomes of the domain's mail: "deferred", "signed" */
};

/* NODE is kept, not copied. SPOOL may be NULL: there are no events. */
struct alarms *alarms_new(struct spool *spool, const char *node);
/* The spool stays. */
void alarms_free(struct alarms **alarms);
/* Was it due, so that the log may say so as well? */
bool alarms_raise(struct alarms *alarms, const struct alarm *alarm);

#endif
