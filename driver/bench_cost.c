/* SPDX-License-Identifier: Apache-2.0
 * bench_cost: the least that a call must do, from the compiled layer's own tables: the
 * weights of the distinct experts it touches, and the contractions of its rows. */
#include "bench.h"

#include <string.h>

/* Without padding. */
static double copy_bytes(const moert_weight *w)
{
	return (double)(w->n * w->k * w->nstreams) * dtype_info[w->dtype].bits / 8;
}

static double copies(const moert_layer *l, const moert_weight *w)
{
	return w->range < 0 ? 1 : (double)l->ranges[w->range].count;
}

double stored_bytes(const moert_layer *l)
{
	double bytes = 0;

	for (int64_t i = 0; i < l->nweights; i++)
		bytes += copy_bytes(&l->weights[i]) * copies(l, &l->weights[i]);
	return bytes;
}

Dtype weights_dtype(const moert_layer *l)
{
	double bytes[DT_COUNT] = {0};
	int most = DT_f32;

	for (int64_t i = 0; i < l->nweights; i++) {
		const moert_weight *w = &l->weights[i];
		bytes[w->dtype] += copy_bytes(w) * copies(l, w);
		if (bytes[w->dtype] > bytes[most])
			most = (int)w->dtype;
	}
	return (Dtype)most;
}

/* rows[e]: how many rows expert e has. */
static void count_rows(const int32_t *picks, int64_t n, int64_t experts, int64_t *rows)
{
	memset(rows, 0, (size_t)experts * sizeof *rows);
	for (int64_t i = 0; i < n; i++)
		if (picks[i] >= 0 && picks[i] < experts)
			rows[picks[i]]++;
}

void call_cost(const moert_layer *l, int64_t tokens, const int32_t *picks, int64_t k,
	       int64_t *scratch, double *bytes, double *flops)
{
	*bytes = *flops = 0;
	if (picks)
		count_rows(picks, tokens * k, l->experts, scratch);
	for (int64_t i = 0; i < l->nsteps; i++) {
		const moert_step *st = &l->steps[i];
		if (st->kind != MOERT_CONTRACT || st->loss_only)
			continue;
		const moert_weight *w = &l->weights[st->weight];
		int64_t rows = st->over == MOERT_TOKEN ? tokens : 1, touched = 1;
		if (w->range >= 0 && picks) {
			const moert_range *r = &l->ranges[w->range];
			rows = touched = 0;
			for (int64_t e = r->first; e < r->first + r->count; e++) {
				rows += scratch[e];
				touched += scratch[e] > 0;
			}
		}
		*bytes += copy_bytes(w) * (double)touched;
		*flops += 2.0 * (double)rows * (double)(w->n * w->k * w->nstreams);
	}
}
