/* SPDX-License-Identifier: Apache-2.0
 * random: splitmix64, by which a seed decides everything. */
#include "gen.h"

WRAPS uint64_t rng_next(Rng *rng)
{
	uint64_t z = rng->s += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

int64_t rng_below(Rng *rng, int64_t n)
{
	return (int64_t)(rng_next(rng) % (uint64_t)n);
}

int64_t rng_between(Rng *rng, int64_t low, int64_t high)
{
	return low + rng_below(rng, high - low + 1);
}

bool rng_chance(Rng *rng, int percent)
{
	return rng_below(rng, 100) < percent;
}

const char *gen_fill(Arena *arena, const char *form, const char *a, const char *b,
		     const char *c)
{
	Text t = text_new(arena);

	for (; *form; form++)
		if (*form == '$' || *form == '#' || *form == '~')
			text_add(&t, *form == '$' ? a : *form == '#' ? b : c);
		else
			text_addn(&t, form, 1);
	return t.s;
}
