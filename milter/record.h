#ifndef MILTER_RECORD_H
#define MILTER_RECORD_H

/* What the milter leaves in the event spool (common/spool.h): refusals with all that was known, for "waybill explain",
 * and what the application says about its message in X-Waybill-Tag and X-Waybill-Metadata, which the bouncer puts into
 * the message's events. A core: one JSON object without a newline each. */

#include "common/counters.h"

#include "milter/reply.h"
#include "milter/session.h"

/* The name of one refusal, in its reply and in the spool: eight letters and digits of base32. */
#define RECORD_ID_SIZE 9
void record_id_print(const unsigned char random[5], char out[RECORD_ID_SIZE]);

/* Longer ones are refused with the message. */
#define RECORD_MAX_TAG      128
#define RECORD_MAX_METADATA 2048
#define RECORD_MAX_DEPTH    8 /* of arrays and objects in metadata */

/* What the application says; both empty: nothing. */
struct record_annotation {
	struct text tag;
	struct buffer metadata; /* JSON, on one line */
};
/* Takes them from the fields X-Waybill-Tag and X-Waybill-Metadata: a word or words of printable ASCII, and a JSON object
 * (RFC 8259). NULL, or what is wrong, fit for a reply. */
const char *record_annotation(const struct fields *fields, struct record_annotation *out);

struct record_context {
	struct text node, queue_id, customer, login, from;
	int64_t now_s; /* seconds since 1970 */
};

/* REQUEST and RESULT are NULL unless limits were asked. */
void record_refusal(const struct record_context *context, const char *id, enum reply_reason reason,
		    const struct session *session, const struct reply *reply, const struct counters_request *request,
		    const struct counters_result *result, struct buffer *out);
/* SENDER: the envelope sender that the application gave, when another one replaces it; else empty. */
void record_annotated(const struct record_context *context, const struct record_annotation *annotation,
		      struct text sender, struct buffer *out);

#endif
