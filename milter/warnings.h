#ifndef MILTER_WARNINGS_H
#define MILTER_WARNINGS_H

/* Limits that a message brought close to their end, as events in the spool (common/limit_warning.h). Thread-safe. */

#include "common/spool_line.h"

struct spool;
struct warnings;

struct warnings *warnings_new(struct spool *spool);
/* The spool stays. */
void warnings_free(struct warnings **warnings);

/* Tells of those limits of REQUEST that RESULT has crossed a threshold of, or that the message was too much for. HEAD as in
 * limit_warning_add(). */
void warnings_tell(struct warnings *warnings, const struct spool_line *head, const struct counters_request *request,
		   const struct counters_result *result);

#endif
