#include <stdlib.h>
#include <string.h>

#include "common/memory.h"

#include "bouncer/refusals.h"

#define ID_LEN    8    /* policyd/record.h: RECORD_ID_SIZE without its NUL */
#define REMEMBER  8192 /* a power of two; a newer id takes the place of an older one */
#define LOGIN_MAX 255

struct refusals {
	struct {
		char id[ID_LEN];
		char *login;
	} slots[REMEMBER];
};

struct refusals *refusals_new(void)
{
	return memory_zero(1, sizeof(struct refusals));
}

void refusals_free(struct refusals **refusals)
{
	if (!*refusals)
		return;
	for (size_t i = 0; i < REMEMBER; i++)
		free((*refusals)->slots[i].login);
	free(*refusals);
	*refusals = NULL;
}

static size_t slot_of(struct text id)
{
	size_t hash = 0;
	for (size_t i = 0; i < ID_LEN; i++)
		hash = hash * 31 + (unsigned char)id.ptr[i];
	return hash % REMEMBER;
}

/* The string behind KEY, the next one in the line: policyd writes its keys in one order. False: not there, or with an
 * escape, which no login and no id has. */
static bool take_string(struct text *line, struct text key, struct text *out)
{
	size_t at = text_search(*line, key);
	if (at == SIZE_MAX)
		return false;
	*line = text_from(*line, at + key.len);
	size_t end = text_find(*line, '"');
	if (end == SIZE_MAX || text_find(text_head(*line, end), '\\') != SIZE_MAX)
		return false;
	*out = text_head(*line, end);
	*line = text_from(*line, end);
	return true;
}

void refusals_add(struct refusals *refusals, struct text line)
{
	struct text login, id;
	if (!text_starts(line, TEXT("{\"type\":\"policy.refused\"")) ||
	    !take_string(&line, TEXT(",\"login\":\""), &login) || !take_string(&line, TEXT(",\"id\":\""), &id) ||
	    id.len != ID_LEN || login.len > LOGIN_MAX)
		return;
	size_t slot = slot_of(id);
	free(refusals->slots[slot].login);
	memcpy(refusals->slots[slot].id, id.ptr, ID_LEN);
	refusals->slots[slot].login = text_copy(login);
}

struct text refusals_id(struct text reason)
{
	static const struct text mark = TEXT("] id=");
	struct text id = text_from(reason, reason.len < ID_LEN ? reason.len : reason.len - ID_LEN);
	if (id.len != ID_LEN || !text_ends(text_head(reason, reason.len - ID_LEN), mark))
		return (struct text){0};
	for (size_t i = 0; i < ID_LEN; i++)
		if (!strchr("abcdefghijklmnopqrstuvwxyz234567", id.ptr[i]) || !id.ptr[i])
			return (struct text){0};
	return id;
}

struct text refusals_login(const struct refusals *refusals, struct text id)
{
	if (id.len != ID_LEN)
		return (struct text){0};
	size_t slot = slot_of(id);
	bool known = refusals->slots[slot].login && memcmp(refusals->slots[slot].id, id.ptr, ID_LEN) == 0;
	return known ? text_of(refusals->slots[slot].login) : (struct text){0};
}
