#include <pthread.h>
#include <stdlib.h>

#include "common/limit_warning.h"
#include "common/memory.h"
#include "common/spool.h"

#include "milter/warnings.h"

struct warnings {
	struct spool *spool;
	pthread_mutex_t lock; /* guards what follows */
	struct reminders told;
};

struct warnings *warnings_new(struct spool *spool)
{
	struct warnings *warnings = memory_zero(1, sizeof *warnings);
	warnings->spool = spool;
	pthread_mutex_init(&warnings->lock, NULL);
	return warnings;
}

void warnings_free(struct warnings **warnings)
{
	if (!*warnings)
		return;
	pthread_mutex_destroy(&(*warnings)->lock);
	free(*warnings);
	*warnings = NULL;
}

static bool is_due(struct warnings *warnings, const struct counters_item *item, int threshold, int64_t now_s)
{
	pthread_mutex_lock(&warnings->lock);
	bool due = limit_warning_due(&warnings->told, item, threshold, now_s);
	pthread_mutex_unlock(&warnings->lock);
	return due;
}

void warnings_tell(struct warnings *warnings, const struct spool_line *head, const struct counters_request *request,
		   const struct counters_result *result)
{
	struct buffer line = {0};
	for (size_t i = 0; i < result->count; i++) {
		const struct counters_item *item = &request->items[i];
		struct limit_usage after;
		int threshold = limit_warning_of(item, result, i, &after);
		if (!threshold || !is_due(warnings, item, threshold, head->now_s))
			continue;
		line.len = 0;
		limit_warning_add(head, item, &after, threshold, &line);
		spool_add(warnings->spool, buffer_view(&line));
	}
	buffer_free(&line);
}
