/* SPDX-License-Identifier: Apache-2.0
 * eval_gemm: linear and matmul.  Sums in double.
 *
 * A weight is read a few rows at a time and never becomes doubles whole: with published
 * sizes that would be gigabytes.  A bound of one dot of length k is
 *     min(6 sqrt(k) u, gamma_k) sum |x w|  +  min(6 sqrt(sum (w e)^2), sum |w| e)
 * (the kernel's roundings, the operand's own bounds e), from dots of the same shape. */
#include "eval_ops.h"

#include <math.h>
#include <string.h>

enum { BLOCK = 4, LANES = 4 };

typedef double Lanes __attribute__((vector_size(LANES * sizeof(double)), aligned(8)));

/* One vector against BLOCK rows of w. */
static void dots(const double *x, const double *w, int64_t k, double out[BLOCK])
{
	Lanes sum[BLOCK] = {0};
	int64_t i = 0;
	for (; i + LANES <= k; i += LANES) {
		Lanes a = *(const Lanes *)(x + i);
		for (int r = 0; r < BLOCK; r++)
			sum[r] += a * *(const Lanes *)(w + r * k + i);
	}
	for (int r = 0; r < BLOCK; r++) {
		out[r] = (sum[r][0] + sum[r][1]) + (sum[r][2] + sum[r][3]);
		for (int64_t j = i; j < k; j++)
			out[r] += x[j] * w[r * k + j];
	}
}

static double dot_roundings(int64_t n)
{
	double k = (double)n;
	return fmin(6 * sqrt(k) * U_F32, k * U_F32 / (1 - k * U_F32));
}

/* A block of weight rows, and what bounds need of them. */
typedef struct {
	int64_t k;
	double *w, *size, *square, *err;        /* w, |w|, w^2, the weight's own bounds */
} WeightBlock;

/* Operand vectors, and what bounds need of them. */
typedef struct {
	const double *x;
	double *size, *err, *square;            /* |x|, e, e^2; err NULL: exact */
} Vectors;

static WeightBlock block_open(Eval *ev, int64_t k, bool werr)
{
	WeightBlock b = {.k = k, .w = eval_doubles(ev, BLOCK * k)};
	if (ev->bounds) {
		b.size = eval_doubles(ev, BLOCK * k);
		b.square = eval_doubles(ev, BLOCK * k);
		if (werr)
			b.err = eval_doubles(ev, BLOCK * k);
	}
	return b;
}

static void block_read(Eval *ev, WeightBlock *b, const Tensor *w, int64_t row,
		       int64_t from, int64_t n)
{
	read_entries(ev, w, row, from * b->k, n * b->k, b->w);
	memset(b->w + n * b->k, 0, (size_t)((BLOCK - n) * b->k) * sizeof *b->w);
	for (int64_t i = 0; b->size && i < BLOCK * b->k; i++) {
		b->size[i] = fabs(b->w[i]);
		b->square[i] = b->w[i] * b->w[i];
	}
	if (b->err)
		memcpy(b->err, w->err + row * type_elems(&w->type) + from * b->k,
		       (size_t)(n * b->k) * sizeof *b->err);
}

static void block_close(Eval *ev, WeightBlock *b)
{
	eval_free(ev, b->w);
	eval_free(ev, b->size);
	eval_free(ev, b->square);
	eval_free(ev, b->err);
}

static Vectors vectors_open(Eval *ev, const Tensor *x)
{
	Vectors v = {.x = x->v};
	if (!ev->bounds)
		return v;
	v.size = eval_doubles(ev, x->n);
	for (int64_t i = 0; i < x->n; i++)
		v.size[i] = fabs(x->v[i]);
	if (x->err) {
		v.err = x->err;
		v.square = eval_doubles(ev, x->n);
		for (int64_t i = 0; i < x->n; i++)
			v.square[i] = x->err[i] * x->err[i];
	}
	return v;
}

static void vectors_close(Eval *ev, Vectors *v)
{
	eval_free(ev, v->size);
	eval_free(ev, v->square);
}

/* Bounds of the BLOCK dots of the vector at x[at..]. */
static void dots_bound(const Vectors *v, int64_t at, const WeightBlock *b,
		       const double *y, double out[BLOCK])
{
	double size[BLOCK], spread[BLOCK], worst[BLOCK], own[BLOCK];

	dots(v->size + at, b->size, b->k, size);
	for (int r = 0; r < BLOCK; r++)
		out[r] = dot_roundings(b->k) * size[r];
	if (v->err) {
		dots(v->square + at, b->square, b->k, spread);
		dots(v->err + at, b->size, b->k, worst);
		for (int r = 0; r < BLOCK; r++)
			out[r] += fmin(6 * sqrt(spread[r]), worst[r]);
	}
	if (b->err) {
		dots(v->size + at, b->err, b->k, own);
		for (int r = 0; r < BLOCK; r++)
			out[r] += own[r];
	}
	for (int r = 0; r < BLOCK; r++)
		if (!isfinite(out[r]))
			out[r] = isnan(y[r]) ? 0 : INFINITY;
}

/* Rows r0 .. r1-1 of the result share the weight matrix `row`. */
static void linear_rows(Eval *ev, const Tensor *w, int64_t row, const Tensor *x,
			const Vectors *v, Tensor *out, int64_t r0, int64_t r1,
			WeightBlock *b)
{
	int64_t k = b->k, n = w->type.dim[0];
	int64_t each = k ? type_elems(&x->type) / k : 0;        /* vectors a row */
	double y[BLOCK], e[BLOCK];

	for (int64_t c = 0; c < n; c += BLOCK) {
		int64_t width = MIN(BLOCK, n - c);
		block_read(ev, b, w, row, c, width);
		for (int64_t i = r0 * each; i < r1 * each; i++) {
			int64_t xr = row_in(ev, out, i / each, x);
			int64_t at = (xr * each + i % each) * k, to = i * n + c;
			dots(v->x + at, b->w, k, y);
			memcpy(out->v + to, y, (size_t)width * sizeof *y);
			if (!out->err)
				continue;
			dots_bound(v, at, b, y, e);
			memcpy(out->err + to, e, (size_t)width * sizeof *e);
		}
	}
}

void ref_linear(Eval *ev, const Op *op, Tensor *args, Tensor *outs)
{
	Tensor x = args[0];
	const Tensor *w = &args[1];
	int64_t k = w->type.dim[1];

	if (unread(&x))
		tensor_read(ev, &x);
	out_new(ev, op, 0, args, outs, true);
	Vectors v = vectors_open(ev, &x);
	WeightBlock b = block_open(ev, k, w->err);
	for (int64_t r0 = 0, r1; r0 < outs->rows; r0 = r1) {
		int64_t row = row_in(ev, outs, r0, w);
		for (r1 = r0 + 1; r1 < outs->rows && row_in(ev, outs, r1, w) == row;)
			r1++;
		linear_rows(ev, w, row, &x, &v, outs, r0, r1, &b);
	}
	block_close(ev, &b);
	vectors_close(ev, &v);
	if (unread(&args[0]))
		tensor_free(ev, &x);
}

/* y[i, j] = sum_n a[i, n] b[n, j], with the plain bound: what is summed here (gates,
 * probabilities) has errors that need not be independent. */
static void matmul_row(const Tensor *a, int64_t ar, const Tensor *b, int64_t br,
		       int64_t n, Tensor *out, int64_t r)
{
	int64_t rows = type_elems(&a->type) / n, cols = type_elems(&b->type) / n;

	for (int64_t i = 0; i < rows; i++)
		for (int64_t j = 0; j < cols; j++) {
			double sum = 0, size = 0, err = 0;
			for (int64_t k = 0; k < n; k++) {
				int64_t p = (ar * rows + i) * n + k;
				int64_t q = (br * n + k) * cols + j;
				double x = a->v[p], y = b->v[q];
				double ex = err_at(a, p), ey = err_at(b, q);
				sum += x * y;
				size += fabs(x * y);
				if (ex > 0 || ey > 0)
					err += fabs(x) * ey + fabs(y) * ex + ex * ey;
			}
			int64_t to = (r * rows + i) * cols + j;
			out->v[to] = sum;
			if (!out->err)
				continue;
			err += dot_roundings(n) * (size + err);
			/* infinity times 0: no bound is known */
			out->err[to] = isnan(sum) ? 0 : isnan(err) ? INFINITY : err;
		}
}

void ref_matmul(Eval *ev, const Op *op, Tensor *args, Tensor *outs)
{
	const Tensor *a = &args[0], *b = &args[1];
	int64_t n = b->type.dim[0];

	out_new(ev, op, 0, args, outs, op->outs[0]->type.dtype == DT_f32);
	for (int64_t r = 0; n > 0 && r < outs->rows; r++)
		matmul_row(a, row_in(ev, outs, r, a), b, row_in(ev, outs, r, b), n, outs,
			   r);
}
