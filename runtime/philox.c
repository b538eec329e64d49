/* SPDX-License-Identifier: Apache-2.0
 * philox: counter-based random numbers for kernels, interpreter and seeded weights.
 *
 * log and cos are polynomials in + - * / (maths.c): the same bits on every machine. */
#include "philox.h"
#include "internal.h"

#define PI 3.14159265358979323846

WRAPS void moert_philox(uint32_t out[4], const uint32_t ctr[4], const uint32_t key[2])
{
	uint32_t a = ctr[0], b = ctr[1], c = ctr[2], d = ctr[3], k = key[0], l = key[1];

	for (int round = 0; round < 10; round++) {
		uint64_t p = (uint64_t)0xD2511F53 * a, q = (uint64_t)0xCD9E8D57 * c;
		a = (uint32_t)(q >> 32) ^ b ^ k;
		b = (uint32_t)q;
		c = (uint32_t)(p >> 32) ^ d ^ l;
		d = (uint32_t)p;
		k += 0x9E3779B9;
		l += 0xBB67AE85;
	}
	out[0] = a, out[1] = b, out[2] = c, out[3] = d;
}

/* The key is (seed, sequence); the seed's upper half, mostly zero, stirs the latter. */
static void draw(uint32_t out[4], uint64_t seed, uint32_t seq, uint32_t site,
		 uint32_t position, uint32_t step, uint32_t i)
{
	uint32_t ctr[4] = {i, site, position, step};
	uint32_t key[2] = {(uint32_t)seed, seq ^ (uint32_t)(seed >> 32)};
	moert_philox(out, ctr, key);
}

/* Never 0 or 1, before rounding to float: the 25 bits of the largest would round to 1. */
static double unit(uint32_t w)
{
	return (double)(w >> 8) * 0x1p-24 + 0x1p-25;
}

/* cos(2 pi u) for 0 < u < 1: the nearest quarter turn exactly, then Taylor within pi/4 */
static double cos_turn(double u)
{
	int quarter = (int)(4 * u + 0.5);
	double x = 2 * PI * (u - quarter * 0.25), x2 = x * x, c = 1, s = 1;
	for (int k = 18; k >= 2; k -= 2) {
		c = 1 - c * x2 / (k * (k - 1));
		s = 1 - s * x2 / (k * (k + 1));
	}
	s *= x;
	switch (quarter & 3) {
	case 0:  return c;
	case 1:  return -s;
	case 2:  return -c;
	default: return s;
	}
}

float moert_uniform(uint64_t seed, uint32_t seq, uint32_t site, uint32_t position,
		   uint32_t step, uint32_t i)
{
	uint32_t w[4];
	draw(w, seed, seq, site, position, step, i);
	return (float)MIN(unit(w[0]), 0x1.fffffep-1);
}

float moert_normal(uint64_t seed, uint32_t seq, uint32_t site, uint32_t position,
		  uint32_t step, uint32_t i)
{
	uint32_t w[4];
	draw(w, seed, seq, site, position, step, i);
	return (float)(__builtin_sqrt(-2 * moert_log(unit(w[0]))) * cos_turn(unit(w[1])));
}

uint32_t moert_draw_step(double step)
{
	return step < 0 ? 0 : (uint32_t)(uint64_t)MIN(step, 0x1p53);
}

