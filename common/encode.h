#ifndef COMMON_ENCODE_H
#define COMMON_ENCODE_H

/* Base32, base64 and hex (RFC 4648). A core. */

#include "common/text.h"

/* Standard alphabet, with padding. */
void encode_base64(struct text in, struct buffer *out);
/* NULL, or what is wrong, OUT then holding what came before; white space is skipped, padding may be missing. */
const char *encode_base64_decode(struct text in, struct buffer *out);
/* RFC 4648 section 6 in lower case, without padding. */
void encode_base32(struct text in, struct buffer *out);
/* Either case, no padding; bits left over must be zero, so that bytes have one form. NULL, or what is wrong. */
const char *encode_base32_decode(struct text in, struct buffer *out);
void encode_hex(struct text in, struct buffer *out);
const char *encode_hex_decode(struct text in, struct buffer *out);

#endif
