#include <pthread.h>
#include <stdlib.h>

#include "common/memory.h"
#include "common/reminders.h"
#include "common/spool.h"
#include "common/spool_line.h"

#include "milter/alarms.h"

#define AGAIN_AFTER_S 86400

static const char *const types[ALARM_TYPE_MAX] = {
	[ALARM_KEY_UNUSABLE] = "domain.key_unusable",
	[ALARM_SIGNATURE_FAILING] = "domain.signature_failing",
};

struct alarms {
	struct spool *spool;
	const char *node;
	pthread_mutex_t lock; /* guards what follows */
	struct reminders told;
};

struct alarms *alarms_new(struct spool *spool, const char *node)
{
	struct alarms *alarms = memory_zero(1, sizeof *alarms);
	alarms->spool = spool;
	alarms->node = node;
	pthread_mutex_init(&alarms->lock, NULL);
	return alarms;
}

void alarms_free(struct alarms **alarms)
{
	if (!*alarms)
		return;
	pthread_mutex_destroy(&(*alarms)->lock);
	free(*alarms);
	*alarms = NULL;
}

static bool is_due(struct alarms *alarms, const struct alarm *alarm)
{
	uint64_t name = reminders_name(0, alarm->domain, alarm->type);
	name = reminders_name(name, alarm->selector, 0);
	name = reminders_name(name, alarm->mail, 0);
	pthread_mutex_lock(&alarms->lock);
	bool due = reminders_due(&alarms->told, name, alarm->now_s, alarm->now_s + AGAIN_AFTER_S);
	pthread_mutex_unlock(&alarms->lock);
	return due;
}

static void write_event(const struct alarms *alarms, const struct alarm *alarm)
{
	const struct spool_line head = {.type = types[alarm->type],
					.now_s = alarm->now_s,
					.node = text_of(alarms->node),
					.customer = alarm->customer,
					.queue_id = alarm->queue_id};
	struct buffer line = {0};
	struct json json = {.out = &line};
	spool_line_begin(&head, &json);
	spool_line_text(&json, "domain", alarm->domain);
	spool_line_text(&json, "selector", alarm->selector);
	spool_line_text(&json, "why", alarm->why);
	spool_line_text(&json, "mail", alarm->mail);
	json_close(&json, '}');
	spool_add(alarms->spool, buffer_view(&line));
	buffer_free(&line);
}

bool alarms_raise(struct alarms *alarms, const struct alarm *alarm)
{
	if (!is_due(alarms, alarm))
		return false;
	if (alarms->spool)
		write_event(alarms, alarm);
	return true;
}
