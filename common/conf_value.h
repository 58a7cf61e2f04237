#ifndef COMMON_CONF_VALUE_H
#define COMMON_CONF_VALUE_H

/* Values of settings: text to field and back. A core; conf.c reads the files. */

#include "common/conf.h"

/* Parses VALUE into the row's field of the struct at CONF; strings are copied, the old one is freed. NULL, or why not. */
const char *conf_value_set(const struct conf_row *row, char *conf, const char *value);
/* Appends the field as it would be written in a file. */
void conf_value_print(const struct conf_row *row, const char *conf, struct buffer *out);
/* Appends what a value may be, "1 to 100" or "defer, accept"; nothing where anything goes. */
void conf_value_bounds(const struct conf_row *row, struct buffer *out);
/* Do two structs agree in this setting? Has it its default? Is its field a char *? */
bool conf_value_same(const struct conf_row *row, const void *a, const void *b);
bool conf_value_is_standard(const struct conf_row *row, const void *conf);
bool conf_value_is_string(const struct conf_row *row);

#endif
