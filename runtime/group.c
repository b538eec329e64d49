/* SPDX-License-Identifier: Apache-2.0
 * group: the routed rows of an expert range: by expert, then token, then slot.
 *
 * A counting sort: tokens are cut into as many pieces as there are workers, which claim them;
 * each piece is counted, the counts become first rows, and each piece writes its rows.  Few
 * tokens are one piece.  The order of rows does not depend on the pieces. */
#include "internal.h"

#include <string.h>

enum { COUNT, PLACE, WRITE, MANY = 1 << 14 };

static int pieces(const moert_session *s, const moert_step *st)
{
	int64_t picks = s->call.tokens * s->model->layer->bufs[st->in].elems;
	return picks < MANY ? 1 : s->workers;
}

int moert_group_phases(const moert_session *s, const moert_step *st)
{
	return pieces(s, st) == 1 ? 1 : WRITE + 1;
}

/* The pick counted from the range's first expert, or -1: none, or another range's. */
static int64_t local_pick(const moert_range *range, int32_t pick)
{
	int64_t e = pick - range->first;
	return pick < 0 || e < 0 || e >= range->count ? -1 : e;
}

static void count(moert_session *s, const moert_step *st, int64_t *n, int64_t t0,
		  int64_t t1)
{
	const moert_range *range = &s->model->layer->ranges[st->range];
	const moert_view *v = &s->view[st->in];
	int64_t k = s->model->layer->bufs[st->in].elems;

	memset(n, 0, (size_t)range->count * sizeof *n);
	for (int64_t t = t0; t < t1; t++) {
		const int32_t *pick = (const int32_t *)(v->at + t * v->stride);
		for (int64_t j = 0; j < k; j++) {
			int64_t e = local_pick(range, pick[j]);
			if (e >= 0)
				n[e]++;
		}
	}
}

/* Each piece's count of an expert becomes its first row there. */
static void place(moert_session *s, const moert_step *st, int npieces)
{
	int64_t experts = s->model->layer->ranges[st->range].count, row = 0;
	moert_rows *rows = &s->rows[st->range];
	int64_t *start = (int64_t *)rows->start;
	int32_t *active = (int32_t *)rows->active;

	rows->nactive = 0;
	for (int64_t e = 0; e < experts; e++) {
		start[e] = row;
		for (int p = 0; p < npieces; p++) {
			int64_t *n = &s->counts[p * experts + e], here = *n;
			*n = row;
			row += here;
		}
		if (row > start[e])
			active[rows->nactive++] = (int32_t)e;
	}
	start[experts] = row;
	rows->n = row;
	if (s->args.expert_rows && !st->side)
		moert_count_rows(s, st);
}

static void write_rows(moert_session *s, const moert_step *st, int64_t *next, int64_t t0,
		       int64_t t1)
{
	const moert_range *range = &s->model->layer->ranges[st->range];
	const moert_rows *rows = &s->rows[st->range];
	int32_t *token = (int32_t *)rows->token, *slot = (int32_t *)rows->slot;
	int32_t *expert = (int32_t *)rows->expert, *row_of = (int32_t *)rows->row;
	const moert_view *v = &s->view[st->in];
	int64_t k = s->model->layer->bufs[st->in].elems;

	for (int64_t t = t0; t < t1; t++) {
		const int32_t *pick = (const int32_t *)(v->at + t * v->stride);
		for (int64_t j = 0; j < k; j++) {
			int64_t e = local_pick(range, pick[j]);
			row_of[t * k + j] = -1;
			if (e < 0)
				continue;
			int64_t row = next[e]++;
			row_of[t * k + j] = (int32_t)row;
			token[row] = (int32_t)t;
			slot[row] = (int32_t)j;
			expert[row] = (int32_t)e;
		}
	}
}

static void piece(moert_session *s, const moert_step *st, int phase, int64_t p, int n)
{
	int64_t tokens = s->call.tokens, t0 = tokens * p / n, t1 = tokens * (p + 1) / n;
	int64_t *counts = s->counts + p * s->model->layer->ranges[st->range].count;

	if (phase == COUNT)
		count(s, st, counts, t0, t1);
	if (phase == PLACE || n == 1)
		place(s, st, n);
	if (phase == WRITE || n == 1)
		write_rows(s, st, counts, t0, t1);
}

void moert_group(moert_session *s, const moert_step *st, int phase)
{
	int n = pieces(s, st);
	int64_t items = phase == PLACE ? 1 : n;

	for (int64_t p; (p = moert_claim(s, st, phase)) < items;)
		piece(s, st, phase, p, n);
}
