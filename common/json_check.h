#ifndef COMMON_JSON_CHECK_H
#define COMMON_JSON_CHECK_H

/* Is it JSON? A core. */

#include "common/text.h"

/* Is T one object (RFC 8259), in ASCII, with white space around it at most, and with no more than MAX_DEPTH objects and arrays
 * within each other? */
bool json_check_object(struct text t, int max_depth);

#endif
