#include <stdlib.h>
#include <string.h>

#include "common/literals.h"
#include "common/memory.h"

/* A node is a prefix of literals. Its row of the table has a next node for each letter; after literals_finish() also for
 * those where the prefix breaks. Letters are the bytes that occur in literals; all others are letter 0 and lead home. Nodes
 * have short numbers, because the table is the most that rules take of a daemon's memory. */
struct node {
	uint16_t fail;   /* the longest proper suffix that is a prefix too */
	uint16_t more;   /* the next node down the suffixes where a literal ends; 0: none */
	uint32_t output; /* 1 + the literal that ends here; 0: none */
};
#define MAX_NODES ((size_t)UINT16_MAX + 1)

struct literals {
	struct text *texts;    /* owned copies */
	size_t count, planted; /* the first so many are in the table */
	uint8_t letter[256];
	size_t letters;
	struct node *nodes;
	uint16_t *next; /* nodes × letters */
	size_t node_count;
};

struct literals *literals_new(void)
{
	return memory_zero(1, sizeof(struct literals));
}

void literals_free(struct literals **literals)
{
	struct literals *l = *literals;
	if (!l)
		return;
	for (size_t i = 0; i < l->count; i++)
		free((void *)(uintptr_t)l->texts[i].ptr);
	free(l->texts);
	free(l->nodes);
	free(l->next);
	free(l);
	*literals = NULL;
}

size_t literals_add(struct literals *l, struct text literal)
{
	for (size_t i = 0; i < l->count; i++)
		if (text_equal(l->texts[i], literal))
			return i;
	l->texts = memory_resize(l->texts, l->count + 1, sizeof *l->texts);
	l->texts[l->count] = (struct text){text_copy(literal), literal.len};
	return l->count++;
}

size_t literals_count(const struct literals *l)
{
	return l->count;
}

/* Numbers the bytes in use by as many literals as the table has room for; returns how many nodes there may be. */
static size_t count_letters(struct literals *l)
{
	size_t nodes = 1;
	l->letters = 1;
	while (l->planted < l->count && nodes + l->texts[l->planted].len <= MAX_NODES) {
		struct text literal = l->texts[l->planted++];
		for (size_t j = 0; j < literal.len; j++) {
			uint8_t *letter = &l->letter[(unsigned char)literal.ptr[j]];
			if (!*letter)
				*letter = (uint8_t)l->letters++;
		}
		nodes += literal.len;
	}
	return nodes;
}

static void plant(struct literals *l, size_t number)
{
	uint16_t at = 0;
	for (size_t j = 0; j < l->texts[number].len; j++) {
		uint16_t *next = &l->next[at * l->letters + l->letter[(unsigned char)l->texts[number].ptr[j]]];
		if (!*next)
			*next = (uint16_t)l->node_count++;
		at = *next;
	}
	l->nodes[at].output = (uint32_t)number + 1;
}

/* Breadth first, so that a node's shorter suffixes are done before it. */
static void link_suffixes(struct literals *l)
{
	uint16_t *queue = memory_new(l->node_count * sizeof *queue);
	size_t head = 0, tail = 0;
	queue[tail++] = 0;
	while (head < tail) {
		uint16_t at = queue[head++];
		const struct node *suffix = &l->nodes[l->nodes[at].fail];
		l->nodes[at].more = at && suffix->output ? l->nodes[at].fail : at ? suffix->more : 0;
		for (size_t c = 0; c < l->letters; c++) {
			uint16_t *next = &l->next[at * l->letters + c];
			uint16_t elsewhere = at ? l->next[l->nodes[at].fail * l->letters + c] : 0;
			if (*next) {
				l->nodes[*next].fail = elsewhere;
				queue[tail++] = *next;
			} else {
				*next = elsewhere;
			}
		}
	}
	free(queue);
}

void literals_finish(struct literals *l)
{
	size_t most = count_letters(l);
	l->nodes = memory_zero(most, sizeof *l->nodes);
	l->next = memory_zero(most * l->letters, sizeof *l->next);
	l->node_count = 1;
	for (size_t i = 0; i < l->planted; i++)
		plant(l, i);
	link_suffixes(l);
}

void literals_find(const struct literals *l, struct text text, bool *found)
{
	uint16_t at = 0;
	for (size_t i = 0; i < l->count; i++)
		found[i] = i >= l->planted;
	for (size_t i = 0; i < text.len; i++) {
		at = l->next[at * l->letters + l->letter[(unsigned char)text.ptr[i]]];
		for (uint16_t hit = at; hit; hit = l->nodes[hit].more)
			if (l->nodes[hit].output)
				found[l->nodes[hit].output - 1] = true;
	}
}
