/* SPDX-License-Identifier: Apache-2.0
 * draw: Philox4x32-10 and the draws of kernels; ../ir/random.c defines the bits. */
#include "internal.h"

static void philox(uint32_t c[4], uint32_t k0, uint32_t k1)
{
	for (int round = 0; round < 10; round++) {
		uint64_t p = (uint64_t)0xD2511F53 * c[0], q = (uint64_t)0xCD9E8D57 * c[2];
		uint32_t next[4] = {(uint32_t)(q >> 32) ^ c[1] ^ k0, (uint32_t)q,
				    (uint32_t)(p >> 32) ^ c[3] ^ k1, (uint32_t)p};
		for (int i = 0; i < 4; i++)
			c[i] = next[i];
		k0 += 0x9E3779B9;
		k1 += 0xBB67AE85;
	}
}

/* One draw for all tokens is that of the first place of the first sequence. */
static void draw(uint32_t c[4], const moert_call *call, int64_t token, int64_t site,
		 int64_t entry)
{
	uint32_t seq = token < 0 ? 0 : (uint32_t)call->sequence[token];
	uint32_t position = token < 0 ? 0 : (uint32_t)call->position[token];
	double step = call->step < 0 ? 0 : MIN(call->step, 0x1p53);

	c[0] = (uint32_t)entry;
	c[1] = (uint32_t)site;
	c[2] = position;
	c[3] = (uint32_t)(uint64_t)step;
	philox(c, (uint32_t)call->seed, seq ^ (uint32_t)(call->seed >> 32));
}

static double unit(uint32_t w)
{
	return (double)(w >> 8) * 0x1p-24 + 0x1p-25;
}

/* cos(2 pi u), 0 < u < 1: the nearest quarter turn exactly, then Taylor within pi/4 */
static double cos_turn(double u)
{
	int quarter = (int)(4 * u + 0.5);
	double x = 2 * 3.14159265358979323846 * (u - quarter * 0.25), x2 = x * x;
	double c = 1, s = 1;

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

float moert_draw_uniform(const moert_call *call, int64_t token, int64_t site,
			 int64_t entry)
{
	uint32_t w[4];

	draw(w, call, token, site, entry);
	return (float)MIN(unit(w[0]), 0x1.fffffep-1);
}

float moert_draw_normal(const moert_call *call, int64_t token, int64_t site,
			int64_t entry)
{
	uint32_t w[4];

	draw(w, call, token, site, entry);
	return (float)(__builtin_sqrt(-2 * moert_log(unit(w[0]))) * cos_turn(unit(w[1])));
}
