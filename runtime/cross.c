/* SPDX-License-Identifier: Apache-2.0
 * cross: operations that look across tokens, over the call (or group) or each sequence.
 *
 * Every column is computed by one worker in ascending token order, so threads change no
 * bits.  Columns go 16 at a time: a cache line of 4-byte entries. */
#include "internal.h"

#include <string.h>

enum { COLS = 16, DIGITS = 4, BINS = 256 };

/* 16 columns (or fewer) of the rows of one segment: tokens, or sequences where the input
 * exists once a sequence. */
typedef struct {
	const moert_session *s;
	const moert_step    *st;
	const moert_buf     *in, *out;
	int64_t              t0, t1, row;       /* row: of the output, where it has one */
	int64_t              c0;
	int                  n;
	uint64_t            *order;             /* rank: 2 * T */
} block;

static bool is_float(const moert_buf *b)
{
	return b->dtype == MT_f32;
}

static const char *in_row(const block *b, int64_t t)
{
	const moert_view *v = &b->s->view[b->st->in];
	int64_t row = b->in->level == MOERT_ONCE ? 0 : t;
	return v->at + row * v->stride + b->c0 * 4;
}

static char *out_row(const block *b, int64_t row)
{
	const moert_view *v = &b->s->view[b->st->out];
	return v->at + row * v->stride + b->c0 * 4;
}

static void read_floats(const block *b, int64_t t, float *x)
{
	const char *row = in_row(b, t);

	if (is_float(b->in)) {
		memcpy(x, row, (size_t)b->n * 4);
		return;
	}
	for (int c = 0; c < b->n; c++)
		x[c] = (float)((const int32_t *)row)[c];
}

static int32_t saturate(int64_t x)
{
	return (int32_t)MAX(INT32_MIN, MIN(INT32_MAX, x));
}

static void reduce_ints(const block *b)
{
	int64_t acc[COLS], op = b->st->op;
	double tokens = (double)MAX(b->t1 - b->t0, 1);

	for (int c = 0; c < b->n; c++)
		acc[c] = op == MOERT_AMIN ? INT32_MAX : op == MOERT_AMAX ? INT32_MIN
			 : op == MOERT_ALL;
	for (int64_t t = b->t0; t < b->t1; t++) {
		const int32_t *x = (const int32_t *)in_row(b, t);
		for (int c = 0; c < b->n; c++)
			switch (op) {
			case MOERT_AMIN: acc[c] = MIN(acc[c], x[c]); break;
			case MOERT_AMAX: acc[c] = MAX(acc[c], x[c]); break;
			case MOERT_ANY:  acc[c] |= x[c] != 0; break;
			case MOERT_ALL:  acc[c] &= x[c] != 0; break;
			default:         acc[c] += x[c];
			}
	}
	for (int c = 0; c < b->n; c++) {
		char *to = out_row(b, b->row) + c * 4;
		bool mean = op == MOERT_MEAN;
		double sum = (double)acc[c];
		if (is_float(b->out))
			*(float *)to = (float)(mean ? sum / tokens : sum);
		else
			*(int32_t *)to = saturate(acc[c]);
	}
}

static float smaller(float a, float b)
{
	return a != a || b != b ? a + b : b < a ? b : a;
}

static float larger(float a, float b)
{
	return a != a || b != b ? a + b : b > a ? b : a;
}

static void extreme(const block *b, bool largest, float *m)
{
	float x[COLS];

	for (int c = 0; c < b->n; c++)
		m[c] = largest ? -__builtin_inff() : __builtin_inff();
	for (int64_t t = b->t0; t < b->t1; t++) {
		read_floats(b, t, x);
		for (int c = 0; c < b->n; c++)
			m[c] = largest ? larger(m[c], x[c]) : smaller(m[c], x[c]);
	}
}

static void sum_floats(const block *b, float *sum)
{
	float x[COLS];

	memset(sum, 0, COLS * sizeof *sum);
	for (int64_t t = b->t0; t < b->t1; t++) {
		read_floats(b, t, x);
		for (int c = 0; c < b->n; c++)
			sum[c] += x[c];
	}
}

/* exp(x - m); the largest may be infinite, where the difference would be NaN */
static float exp_below(float x, float m)
{
	return x == m ? 1 : moert_exp(x - m);
}

static void sum_exps(const block *b, const float *m, float *sum)
{
	float x[COLS];

	memset(sum, 0, COLS * sizeof *sum);
	for (int64_t t = b->t0; t < b->t1; t++) {
		read_floats(b, t, x);
		for (int c = 0; c < b->n; c++)
			sum[c] += exp_below(x[c], m[c]);
	}
}

static void reduce_floats(const block *b)
{
	float v[COLS], m[COLS];
	float *to = (float *)out_row(b, b->row);

	switch (b->st->op) {
	case MOERT_AMIN: extreme(b, false, v); break;
	case MOERT_AMAX: extreme(b, true, v); break;
	case MOERT_LOGSUMEXP:
		extreme(b, true, m);
		sum_exps(b, m, v);
		for (int c = 0; c < b->n; c++)
			v[c] = v[c] > 0 ? m[c] + (float)moert_log(v[c]) : m[c];
		break;
	default:
		sum_floats(b, v);
		for (int c = 0; c < b->n && b->st->op == MOERT_MEAN; c++)
			v[c] = b->t1 > b->t0 ? v[c] / (float)(b->t1 - b->t0) : 0;
	}
	memcpy(to, v, (size_t)b->n * 4);
}

static void softmax(const block *b)
{
	float m[COLS], sum[COLS], x[COLS];

	extreme(b, true, m);
	sum_exps(b, m, sum);
	for (int64_t t = b->t0; t < b->t1; t++) {
		float *to = (float *)out_row(b, t);
		read_floats(b, t, x);
		for (int c = 0; c < b->n; c++)
			to[c] = exp_below(x[c], m[c]) / sum[c];
	}
}

static void cumsum(const block *b)
{
	float sum[COLS] = {0}, x[COLS];
	int64_t count[COLS] = {0};

	for (int64_t t = b->t0; t < b->t1; t++) {
		char *to = out_row(b, t);
		if (is_float(b->out)) {
			read_floats(b, t, x);
			for (int c = 0; c < b->n; c++)
				((float *)to)[c] = sum[c] += x[c];
			continue;
		}
		for (int c = 0; c < b->n; c++) {
			count[c] += ((const int32_t *)in_row(b, t))[c];
			((int32_t *)to)[c] = saturate(count[c]);
		}
	}
}

/* Larger values get smaller keys; equal ones, and all NaNs, the same. */
static uint32_t rank_key(const block *b, const char *at)
{
	uint32_t bits;

	memcpy(&bits, at, sizeof bits);
	if (!is_float(b->in))
		return ~(bits ^ 0x80000000u);
	if ((bits & 0x7fffffff) > 0x7f800000)
		return UINT32_MAX;
	if (bits == 0x80000000u)
		bits = 0;
	return bits >> 31 ? bits : ~(bits | 0x80000000u);
}

/* A stable radix sort of (key, token); digits that all keys share are passed over. */
static uint64_t *sort_keys(uint64_t *a, uint64_t *spare, int64_t n)
{
	uint32_t bins[DIGITS][BINS] = {{0}};

	for (int64_t i = 0; i < n; i++)
		for (int d = 0; d < DIGITS; d++)
			bins[d][a[i] >> (32 + 8 * d) & (BINS - 1)]++;
	for (int d = 0; d < DIGITS; d++) {
		int shift = 32 + 8 * d;
		uint32_t at = 0;
		if (bins[d][a[0] >> shift & (BINS - 1)] == n)
			continue;
		for (int i = 0; i < BINS; i++) {
			uint32_t here = bins[d][i];
			bins[d][i] = at;
			at += here;
		}
		for (int64_t i = 0; i < n; i++)
			spare[bins[d][a[i] >> shift & (BINS - 1)]++] = a[i];
		uint64_t *swap = a;
		a = spare;
		spare = swap;
	}
	return a;
}

static void rank(const block *b)
{
	int64_t n = b->t1 - b->t0;

	for (int c = 0; c < b->n && n > 0; c++) {
		for (int64_t i = 0; i < n; i++) {
			uint64_t key = rank_key(b, in_row(b, b->t0 + i) + c * 4);
			b->order[i] = key << 32 | (uint64_t)i;
		}
		const uint64_t *sorted = sort_keys(b->order, b->order + n, n);
		for (int64_t i = 0; i < n; i++) {
			int64_t t = b->t0 + (int64_t)(uint32_t)sorted[i];
			((int32_t *)out_row(b, t))[c] = (int32_t)i;
		}
	}
}

static void run_block(const block *b)
{
	switch (b->st->op) {
	case MOERT_SOFTMAX: softmax(b); return;
	case MOERT_CUMSUM:  cumsum(b); return;
	case MOERT_RANK:    rank(b); return;
	}
	bool counts = b->st->op == MOERT_ANY || b->st->op == MOERT_ALL;
	if ((counts || !is_float(b->in)) && b->st->op != MOERT_LOGSUMEXP)
		reduce_ints(b);
	else
		reduce_floats(b);
}

int64_t moert_cross_scratch(const moert_step *st, int64_t rows)
{
	bool ranks = st->kind == MOERT_CROSS && st->op == MOERT_RANK;
	return ranks ? rows * 2 * (int64_t)sizeof(uint64_t) : 0;
}

/* What there is of the input in sequence `row`, or in the whole group: a value that exists
 * once, or once a sequence, counts once. */
static void set_segment(block *b, int64_t row)
{
	const moert_session *s = b->s;
	bool one = b->st->by_sequence;

	b->row = one ? row : 0;
	b->t0 = 0;
	b->t1 = 1;
	if (b->in->level == MOERT_SEQ) {
		b->t0 = one ? row : s->s0;
		b->t1 = one ? row + 1 : s->s1;
	} else if (b->in->level == MOERT_TOKEN) {
		b->t0 = 0;
		b->t1 = s->call.tokens;
		if (one)
			moert_tokens_of(s, row, &b->t0, &b->t1);
	}
}

void moert_cross(moert_session *s, const moert_step *st, int worker)
{
	const moert_layer *l = s->model->layer;
	block b = {.s = s, .st = st, .in = &l->bufs[st->in], .out = &l->bufs[st->out],
		   .order = moert_scratch(s, worker)};
	int64_t blocks = (b.in->elems + COLS - 1) / COLS;
	int64_t first = st->by_sequence ? s->s0 : 0;
	int64_t n = st->by_sequence ? s->s1 - first : 1;

	for (;;) {
		int64_t i = moert_claim(s, st, 0);
		if (i >= n * blocks)
			return;
		b.c0 = i % blocks * COLS;
		b.n = (int)MIN(COLS, b.in->elems - b.c0);
		set_segment(&b, first + i / blocks);
		run_block(&b);
	}
}
