/* SPDX-License-Identifier: Apache-2.0
 * bench_routing: routing that a bench gives to a layer, as skewed as one likes. */
#include "bench.h"
#include "../runtime/philox.h"

#include <math.h>
#include <string.h>

enum { SITE = 0x736b6577 };             /* draws that no layer makes */

/* One of the experts that are left, by their weights; it is left no longer. */
static int32_t draw_one(double *weight, int64_t experts, double at)
{
	double left = 0;
	int64_t last = 0;

	for (int64_t e = 0; e < experts; e++)
		left += weight[e];
	at *= left;
	for (int64_t e = 0; e < experts; e++) {
		if (weight[e] <= 0)
			continue;
		last = e;
		at -= weight[e];
		if (at < 0)
			break;
	}
	weight[last] = 0;
	return (int32_t)last;
}

void draw_routing(Arena *a, const moert_layer *l, double skew, int64_t rows, int32_t **picks,
		  float **gates)
{
	int64_t k = l->picks, experts = l->experts, n = rows * k;
	double *popular = NEWN(a, double, (size_t)experts);
	double *weight = NEWN(a, double, (size_t)experts);

	*picks = arena_array(a, (size_t)n, sizeof **picks);
	*gates = arena_array(a, (size_t)n, sizeof **gates);
	for (int64_t e = 0; e < experts; e++)   /* none is impossible: k of them are needed */
		popular[e] = MAX(pow((double)e + 1, -skew), 1e-300);
	for (int64_t t = 0; t < rows; t++) {
		memcpy(weight, popular, (size_t)experts * sizeof *weight);
		for (int64_t j = 0; j < k; j++) {
			double at = moert_uniform(0, 0, SITE, (uint32_t)t, 0, (uint32_t)j);
			(*picks)[t * k + j] =
				j < experts ? draw_one(weight, experts, at) : -1;
			(*gates)[t * k + j] = 1.0f / (float)k;
		}
	}
}
