#ifndef COMMON_JSON_H
#define COMMON_JSON_H

/* Writes JSON (RFC 8259) into a buffer, compact, members in the order of the calls. A core.
 *
 *	struct json json = {.out = &buffer};
 *	json_open(&json, NULL, '{');
 *	json_string(&json, "type", text);
 *	json_close(&json, '}');
 *
 * KEY is NULL inside an array and for the outermost value; keys are ASCII that needs no escaping. Bytes that are not
 * UTF-8 become U+FFFD, so that whatever a remote host said, the output is valid JSON. */

#include "common/text.h"

struct json {
	struct buffer *out;
	bool comma; /* a value stands before in the same object or array */
};

/* BRACKET is '{' or '['; json_close takes the closing one. */
void json_open(struct json *json, const char *key, char bracket);
void json_close(struct json *json, char bracket);
/* A string, or null when VALUE.ptr is NULL. */
void json_string(struct json *json, const char *key, struct text value);
/* VALUE as it is: a number, or JSON made elsewhere; null when VALUE.ptr is NULL. */
void json_raw(struct json *json, const char *key, struct text value);
void json_int(struct json *json, const char *key, int64_t value);
void json_bool(struct json *json, const char *key, bool value);

#endif
