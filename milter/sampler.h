#ifndef MILTER_SAMPLER_H
#define MILTER_SAMPLER_H

/* One in N messages just signed is verified by waybill-dkim-check, in a process of its own with a time limit, against the
 * key in DNS. Mail never waits for it: one message is checked at a time, by a thread; what comes meanwhile is not
 * sampled. */

#include "common/text.h"

enum sampler_result { SAMPLER_PASSED, SAMPLER_FAILED, SAMPLER_UNKNOWN, SAMPLER_MAX };

struct sampler;

/* COMMAND, NULL-terminated, is the program with its words; kept, not copied. DONE is called with CONTEXT, from the
 * sampler's thread, with the message's name and one line that says why it failed. */
typedef void sampler_done(void *context, enum sampler_result result, struct text name, struct text why);
struct sampler *sampler_new(const char *const *command, int64_t every, int64_t timeout_ms, sampler_done *done,
			    void *context);
/* Ends a check under way, its process too; DONE is then told UNKNOWN. */
void sampler_free(struct sampler **sampler);
/* Shall the message that begins now be kept? True for one in EVERY, if none is being checked. SAMPLER may be NULL. */
bool sampler_wants(struct sampler *sampler);
/* Checks MESSAGE unless another one is being checked. Its bytes may be taken; the caller frees what is left. */
void sampler_submit(struct sampler *sampler, struct text name, struct buffer *message);

#endif
