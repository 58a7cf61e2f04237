#ifndef TESTS_DRAW_H
#define TESTS_DRAW_H

/* Numbers that look random and are the same in every run: xorshift64 (Marsaglia, 2003). */

#include <stdint.h>

static uint64_t draw_state = 20261121;

static inline int64_t draw(int64_t below)
{
	draw_state ^= draw_state << 13;
	draw_state ^= draw_state >> 7;
	draw_state ^= draw_state << 17;
	return (int64_t)(draw_state % (uint64_t)below);
}

#endif
