#ifndef CTL_TAKEOVER_H
#define CTL_TAKEOVER_H

/* What the takeover guard thinks of a login just now: its facts are asked of Redis, its marks are policyd's. */

#include <jansson.h>

struct ctl;

/* Adds to ROW, an object: "takeover", with score, signs and what is done; for people in words. 0, or an exit status. */
int takeover_add(struct ctl *ctl, const char *login, json_t *row);

#endif
