#ifndef MILTER_WIDE_H
#define MILTER_WIDE_H

/* Sixteen bytes looked at together, in the vectors of GCC and clang: one machine word on every 64-bit processor that has
 * such, and correct on the others. For passes over whole bodies, which would else cost more than their hash. */

#include <stdint.h>
#include <string.h>

#include "common/text.h"

#define WIDE_BYTES 16

typedef unsigned char wide __attribute__((vector_size(WIDE_BYTES)));

/* The WIDE_BYTES at AT, which need not be aligned. */
static inline wide wide_load(const char *at)
{
	wide bytes;
	memcpy(&bytes, at, sizeof bytes);
	return bytes;
}

/* 255 where the byte is C, else 0. */
static inline wide wide_is(wide bytes, char c)
{
	unsigned char b = (unsigned char)c;
	wide all = {b, b, b, b, b, b, b, b, b, b, b, b, b, b, b, b};
	return (wide)(bytes == all);
}

/* The bits that any of the bytes has, in the places of eight. */
static inline uint64_t wide_bits(wide bytes)
{
	uint64_t halves[2];
	memcpy(halves, &bytes, sizeof halves);
	return halves[0] | halves[1];
}

#define WIDE_HIGH_BITS 0x8080808080808080U /* of wide_bits() */

/* How many bytes of a wide_is() are 255. */
static inline size_t wide_count(wide is)
{
	const uint64_t ones = 0x0101010101010101U;
	uint64_t halves[2];
	memcpy(halves, &is, sizeof halves);
	return (size_t)(((halves[0] & ones) + (halves[1] & ones)) * ones >> 56);
}

#endif
