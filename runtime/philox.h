/* SPDX-License-Identifier: Apache-2.0
 * philox: Philox4x32-10 (Salmon et al., SC 2011) and what the language draws with it. */
#ifndef MOERT_PHILOX_H
#define MOERT_PHILOX_H

#include <stdint.h>

void moert_philox(uint32_t out[4], const uint32_t ctr[4], const uint32_t key[2]);
/* entry i of draw `site` at `position` of sequence `seq`, in (0,1) / N(0,1) */
float moert_uniform(uint64_t seed, uint32_t seq, uint32_t site, uint32_t position,
		   uint32_t step, uint32_t i);
float moert_normal(uint64_t seed, uint32_t seq, uint32_t site, uint32_t position,
		  uint32_t step, uint32_t i);
/* The counter's word for a training step: 0 when training is over (step < 0). */
uint32_t moert_draw_step(double step);

#endif
