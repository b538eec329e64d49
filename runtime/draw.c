/* SPDX-License-Identifier: Apache-2.0
 * draw: what kernels draw, at a token's place in its sequence. */
#include "internal.h"
#include "philox.h"

typedef float draw_fn(uint64_t seed, uint32_t seq, uint32_t site, uint32_t position,
		      uint32_t step, uint32_t i);

/* One draw for all tokens is that of the first place of the first sequence. */
static float draw(draw_fn *from, const moert_call *call, int64_t token, int64_t site,
		  int64_t entry)
{
	uint32_t seq = token < 0 ? 0 : (uint32_t)call->sequence[token];
	uint32_t position = token < 0 ? 0 : (uint32_t)call->position[token];

	return from(call->seed, seq, (uint32_t)site, position, moert_draw_step(call->step),
		    (uint32_t)entry);
}

float moert_draw_uniform(const moert_call *call, int64_t token, int64_t site,
			 int64_t entry)
{
	return draw(moert_uniform, call, token, site, entry);
}

float moert_draw_normal(const moert_call *call, int64_t token, int64_t site,
			int64_t entry)
{
	return draw(moert_normal, call, token, site, entry);
}
