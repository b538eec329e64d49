/* SPDX-License-Identifier: Apache-2.0
 * bench_cost: the least that a call must do, from the compiled layer's own tables: the
 * weights of the distinct experts it touches, and the contractions of its rows. */
#include "bench.h"

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

/* The rows of a range as they are in front of step `end`: those of the grouping before it. */
static const int64_t *rows_of(const moert_layer *l, int64_t end, int64_t range,
			      const int64_t *expert_rows)
{
	while (end-- > 0)
		if (l->steps[end].kind == MOERT_GROUP && l->steps[end].range == range)
			return expert_rows + moert_rows_before(l, l->steps[end].side
								       ? l->steps[end].to : end);
	return NULL;
}

void call_cost(const moert_layer *l, int64_t tokens, const int64_t *expert_rows, bool given,
	       double *bytes, double *flops)
{
	*bytes = *flops = 0;
	for (int64_t i = 0; i < l->nsteps; i++) {
		const moert_step *st = &l->steps[i];
		if (st->kind != MOERT_CONTRACT || st->loss_only || (given && st->routing_only))
			continue;
		const moert_weight *w = &l->weights[st->weight];
		int64_t rows = st->over == MOERT_TOKEN ? tokens : 1, touched = 1;
		const int64_t *of = st->over != MOERT_ROW ? NULL
				    : rows_of(l, i, st->range, expert_rows);
		if (of) {
			rows = touched = 0;
			for (int64_t e = 0; e < l->ranges[st->range].count; e++) {
				rows += of[e];
				touched += of[e] > 0;
			}
		}
		*bytes += copy_bytes(w) * (double)(w->range < 0 ? 1 : touched);
		*flops += 2.0 * (double)rows * (double)(w->n * w->k * w->nstreams);
	}
}
