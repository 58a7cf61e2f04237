#ifndef CTL_OPENDKIM_TABLE_H
#define CTL_OPENDKIM_TABLE_H

/* Lines of OpenDKIM's KeyTable and SigningTable (opendkim.conf(5)), as files. A core. */

#include "common/text.h"

/* NAME DOMAIN:SELECTOR:KEY; DOMAIN "%" stands for that of the signing table's row. */
struct opendkim_key {
	struct text name, domain, selector, key;
};

/* PATTERN NAME; the pattern is a domain, user@domain or *@domain. */
struct opendkim_signing {
	struct text pattern, name, domain;
};

/* A line without its comment; empty when nothing is left. */
struct text opendkim_line(struct text line);
/* NULL and *OUT, views into LINE; or what is wrong. */
const char *opendkim_key_parse(struct text line, struct opendkim_key *out);
const char *opendkim_signing_parse(struct text line, struct opendkim_signing *out);

#endif
