/* SPDX-License-Identifier: Apache-2.0
 * eval_panel: the packed layout of ir.h as a formula. */
#include "eval.h"

int64_t panel_at(const Panel *p, int s, int64_t c, int64_t k)
{
	int64_t steps = (p->k + p->kpack - 1) / p->kpack;
	int64_t panel = steps * p->nstreams * p->cols * p->kpack;
	int64_t in =
	    ((k / p->kpack * p->nstreams + s) * p->cols + c % p->cols) * p->kpack;
	return c / p->cols * panel + in + k % p->kpack;
}

bool panel_length(const Panel *p, int64_t *entries)
{
	int64_t n = p->nstreams;

	if (p->cols < 1 || p->kpack < 1 || p->n < 0 || p->k < 0 ||
	    p->n > INT64_MAX - p->cols || p->k > INT64_MAX - p->kpack)
		return false;
	int64_t cols = (p->n + p->cols - 1) / p->cols * p->cols;
	int64_t steps = (p->k + p->kpack - 1) / p->kpack * p->kpack;
	if (__builtin_mul_overflow(n, cols, &n) || __builtin_mul_overflow(n, steps, &n))
		return false;
	*entries = n;
	return true;
}
