/* SPDX-License-Identifier: Apache-2.0
 * eval_row: what works along a line of entries: reductions, softmax, cumsum, rank, topk.
 *
 * {over} says what a line is: an axis of each row, all tokens, or the tokens of a
 * sequence. A line is copied out, worked on, and its results are put back. */
#include "eval_ops.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
	Eval         *ev;
	const Tensor *x;
	int64_t       n;
	double       *v, *e;            /* [n] entries and bounds (zeros when exact) */
	double       *y, *ye;           /* results: one, n or k */
	struct Ranked { double v; int64_t i; } *order;
	int64_t       row, row_step;    /* the row of entry i: row + i * row_step */
} Line;

typedef void LineFn(Line *);

/* Entry i of line l is x[base + i * stride]. */
typedef struct { int64_t lines, n, stride, row_step; } Lines;

static Line line_open(Eval *ev, const Tensor *x, int64_t longest, int64_t results)
{
	Line l = {.ev = ev, .x = x};
	l.v = eval_doubles(ev, longest);
	l.e = eval_doubles(ev, longest);
	l.y = eval_doubles(ev, results);
	l.ye = eval_doubles(ev, results);
	l.order = eval_alloc(ev, longest, sizeof *l.order);
	return l;
}

static void line_close(Line *l)
{
	eval_free(l->ev, l->v);
	eval_free(l->ev, l->e);
	eval_free(l->ev, l->y);
	eval_free(l->ev, l->ye);
	eval_free(l->ev, l->order);
}

/* Runs one line and puts `results` values at y[to], y[to + to_stride], .. */
static void line_run(Line *l, int64_t base, int64_t stride, LineFn *fn, Tensor *out,
		     int64_t to, int64_t to_stride, int64_t results)
{
	for (int64_t i = 0; i < l->n; i++) {
		l->v[i] = l->x->v[base + i * stride];
		l->e[i] = err_at(l->x, base + i * stride);
	}
	memset(l->ye, 0, (size_t)results * sizeof *l->ye);
	fn(l);
	for (int64_t i = 0; i < results; i++) {
		out->v[to + i * to_stride] = l->y[i];
		if (out->err)
			out->err[to + i * to_stride] =
			    isnan(l->ye[i]) ? INFINITY : l->ye[i];
	}
}

/* Lines over an axis of the trailing shape; `drop`: one result a line, else as many as
 * entries. */
static void over_axis(Eval *ev, const Tensor *x, int axis, LineFn *fn, bool drop,
		      Tensor *out)
{
	int64_t outer = x->rows, inner = 1, n = x->type.dim[axis];
	for (int d = 0; d < axis; d++)
		outer *= x->type.dim[d];
	for (int d = axis + 1; d < x->type.rank; d++)
		inner *= x->type.dim[d];
	Line l = line_open(ev, x, n, MAX(n, 1));
	l.n = n;
	for (int64_t o = 0; o < outer; o++) {
		l.row = x->rows ? o / (outer / x->rows) : 0;
		for (int64_t i = 0; i < inner; i++) {
			int64_t base = o * n * inner + i;
			if (drop)
				line_run(&l, base, inner, fn, out, o * inner + i, 1, 1);
			else
				line_run(&l, base, inner, fn, out, base, inner, n);
		}
	}
	line_close(&l);
}

/* Lines down rows from .. from+n-1, one for each entry of the trailing shape. */
static void over_rows(Line *l, int64_t from, int64_t n, LineFn *fn, bool drop,
		      Tensor *out, int64_t to_row)
{
	int64_t each = type_elems(&l->x->type);
	l->n = n;
	l->row = from;
	l->row_step = 1;
	for (int64_t i = 0; i < each; i++) {
		if (drop)
			line_run(l, from * each + i, each, fn, out, to_row * each + i, 1,
				 1);
		else
			line_run(l, from * each + i, each, fn, out, from * each + i, each,
				 n);
	}
}

/* A sequence's tokens stand together; a value that exists once a sequence counts once. */
static void over_sequences(Eval *ev, const Tensor *x, LineFn *fn, bool drop, Tensor *out)
{
	const Ctx *c = ev->ctx;
	Line l = line_open(ev, x, MAX(x->rows, 1), MAX(x->rows, 1));
	int64_t from = 0;

	if (x->type.level == LV_ROW || x->type.level == LV_EXPERT)
		eval_fail(ev, "over=sequence of a value of experts");
	for (int64_t s = 0; s < c->nseq; s++) {
		int64_t to = from;
		while (to < c->tokens && c->seq[to] == s)
			to++;
		if (x->type.level == LV_TOKEN)
			over_rows(&l, from, to - from, fn, drop, out, s);
		else if (x->type.level == LV_SEQ)
			over_rows(&l, s, 1, fn, drop, out, s);
		else if (s < out->rows)
			over_rows(&l, 0, 1, fn, drop, out, s);
		from = to;
	}
	line_close(&l);
}

static void along(Eval *ev, const Op *op, const Tensor *args, Tensor *outs, LineFn *fn,
		  bool drop, bool err)
{
	const Attr *over = attr_find(op, "over");
	const Tensor *x = &args[0];

	out_new(ev, op, 0, args, outs, err);
	if (!over || over->kind == AT_INT) {
		int64_t axis = over ? over->i : -1;
		axis += axis < 0 ? x->type.rank : 0;
		if (axis < 0 || axis >= x->type.rank)
			ice("%s over axis %lld of %d", op_info[op->kind].name,
			    (long long)axis, x->type.rank);
		over_axis(ev, x, (int)axis, fn, drop, outs);
	} else if (strcmp(over->s, "sequence") == 0) {
		over_sequences(ev, x, fn, drop, outs);
	} else {
		Line l = line_open(ev, x, MAX(x->rows, 1), MAX(x->rows, 1));
		over_rows(&l, 0, x->rows, fn, drop, outs, 0);
		line_close(&l);
	}
}

/* ---- meanings of a line ---- */

/* Roundings of a sum of n terms: the usual one (6 deviations), at most the worst. */
static double sum_roundings(int64_t n)
{
	double k = (double)n;
	return fmin(6 * sqrt(k) * U_F32, k * U_F32 / (1 - k * U_F32));
}

static bool is_f32(const Line *l)
{
	return l->x->type.dtype == DT_f32;
}

/* The sum of the first n entries; its bound through *err. */
static double line_sum(const Line *l, double *err)
{
	double sum = 0, size = 0, e = 0;
	for (int64_t i = 0; i < l->n; i++) {
		sum += l->v[i];
		size += fabs(l->v[i]);
		e += l->e[i];
	}
	*err = e;
	if (is_f32(l) && l->n > 1)
		*err += sum_roundings(l->n) * (size + e);
	if (isnan(sum))
		*err = 0;
	return sum;
}

static void line_of_sum(Line *l)
{
	l->y[0] = line_sum(l, &l->ye[0]);
}

static void line_of_mean(Line *l)
{
	double err, sum = line_sum(l, &err), n = (double)MAX(l->n, 1);
	l->y[0] = sum / n;
	l->ye[0] = err / n;
	if (l->x->type.dtype != DT_f64)
		l->ye[0] += err_rounding(DT_f32, l->y[0], 1);
}

static void line_of_cumsum(Line *l)
{
	double sum = 0, size = 0, e = 0;
	for (int64_t i = 0; i < l->n; i++) {
		l->y[i] = sum += l->v[i];
		size += fabs(l->v[i]);
		l->ye[i] = e += l->e[i];
		if (is_f32(l) && i > 0)
			l->ye[i] += sum_roundings(i + 1) * (size + e);
	}
}

/* sign 1: the largest, -1: the smallest; NaN if one is.  The result lies between the
 * largest of the lower and of the upper ends. */
static void extreme(Line *l, double sign)
{
	double best = -INFINITY, low = -INFINITY, high = -INFINITY;
	bool nan = false;
	for (int64_t i = 0; i < l->n; i++) {
		double x = sign * l->v[i];
		nan |= isnan(x);
		best = fmax(best, x);
		low = fmax(low, x - l->e[i]);
		high = fmax(high, x + l->e[i]);
	}
	l->y[0] = nan ? NAN : sign * best;
	l->ye[0] = nan ? 0 : fmax(err_between(best, low), err_between(best, high));
}

static void line_of_amax(Line *l) { extreme(l, 1); }
static void line_of_amin(Line *l) { extreme(l, -1); }

static void line_of_any(Line *l)
{
	bool any = false, sure = false, doubt = false;
	for (int64_t i = 0; i < l->n; i++) {
		any |= l->v[i] != 0;
		sure |= l->v[i] != 0 && l->e[i] == 0;
		doubt |= l->e[i] > 0;
	}
	l->y[0] = any;
	l->ye[0] = doubt && !sure;
}

static void line_of_all(Line *l)
{
	bool all = true, sure = false, doubt = false;
	for (int64_t i = 0; i < l->n; i++) {
		all &= l->v[i] != 0;
		sure |= l->v[i] == 0 && l->e[i] == 0;
		doubt |= l->e[i] > 0;
	}
	l->y[0] = all;
	l->ye[0] = doubt && !sure;
}

static double line_largest(const Line *l)
{
	double m = -INFINITY;
	for (int64_t i = 0; i < l->n; i++)
		m = isnan(l->v[i]) || isnan(m) ? NAN : fmax(m, l->v[i]);
	return m;
}

/* exp(x - m) into y, their sum returned; e becomes each exponent's error: the operand's,
 * and the subtraction's rounding. */
static double line_exps(Line *l, double m)
{
	double sum = 0;
	for (int64_t i = 0; i < l->n; i++) {
		double d = l->v[i] - m;
		sum += l->y[i] = exp(d);
		l->e[i] = isfinite(d) ? l->e[i] + U_F32 * fabs(d) : l->e[i];
	}
	return sum;
}

static void line_of_logsumexp(Line *l)
{
	double m = line_largest(l), worst = 0;
	if (isinf(m)) {
		l->y[0] = m;
		for (int64_t i = 0; i < l->n; i++)
			l->ye[0] = fmax(l->ye[0], l->e[i]);
		return;
	}
	double sum = line_exps(l, m), mean = 0, y = m + log(sum);
	for (int64_t i = 0; i < l->n; i++) {
		worst = fmax(worst, l->e[i]);
		mean += l->y[i] / sum * l->e[i];
	}
	l->y[0] = y;
	l->ye[0] = isnan(y) ? 0 : fmin(worst, 2 * mean + worst * worst) +
		   sum_roundings(l->n) + 8 * U_F32 + err_rounding(DT_f32, y, 2) +
		   err_rounding(DT_f32, log(sum), 4);
}

/* All -inf, or an inf: NaN, as x - m is (what NumPy gives). */
static void line_of_softmax(Line *l)
{
	double sum = line_exps(l, line_largest(l)), mean = 0;
	for (int64_t i = 0; i < l->n; i++) {
		l->y[i] /= sum;
		if (l->y[i] > 0)
			mean += l->y[i] * l->e[i];
	}
	for (int64_t i = 0; i < l->n; i++) {
		double y = l->y[i], own = fmin(l->e[i] + mean, 700);
		double err =
		    y * expm1(own) + y * (8 * U_F32 + sum_roundings(l->n)) + FLT_MIN;
		bool exact = isnan(y) || (y == 0 && isinf(l->v[i]) && l->e[i] == 0);
		l->ye[i] = exact ? 0 : fmin(err, 1);
	}
}

static int by_rank(const void *a, const void *b)
{
	const struct Ranked *p = a, *q = b;
	if (isnan(p->v) != isnan(q->v))
		return isnan(p->v) ? 1 : -1;
	if (p->v != q->v && !isnan(p->v))
		return p->v > q->v ? -1 : 1;
	return p->i < q->i ? -1 : 1;
}

/* Sorts the line; the gaps between the first `count` and their successors decide. */
static void line_sort(Line *l, int64_t count)
{
	for (int64_t i = 0; i < l->n; i++)
		l->order[i] = (struct Ranked){l->v[i], i};
	qsort(l->order, (size_t)l->n, sizeof *l->order, by_rank);
	for (int64_t i = 0; i < count && i + 1 < l->n; i++) {
		int64_t a = l->order[i].i, b = l->order[i + 1].i;
		double d = err_between(l->v[a], l->v[b]), e = l->e[a] + l->e[b];
		gap_note(l->ev, l->x, l->row + a * l->row_step, d, e);
		if (l->row_step)
			gap_note(l->ev, l->x, l->row + b * l->row_step, d, e);
	}
}

static void line_of_rank(Line *l)
{
	line_sort(l, l->n);
	for (int64_t i = 0; i < l->n; i++)
		l->y[l->order[i].i] = (double)i;
}

/* ---- the ops ---- */

void ref_sum(Eval *ev, const Op *op, Tensor *args, Tensor *outs)
{
	along(ev, op, args, outs, line_of_sum, true,
	      args[0].err || args[0].type.dtype == DT_f32);
}

void ref_mean(Eval *ev, const Op *op, Tensor *args, Tensor *outs)
{
	along(ev, op, args, outs, line_of_mean, true, args[0].type.dtype != DT_f64);
}

void ref_cumsum(Eval *ev, const Op *op, Tensor *args, Tensor *outs)
{
	along(ev, op, args, outs, line_of_cumsum, false,
	      args[0].err || args[0].type.dtype == DT_f32);
}

void ref_amin(Eval *ev, const Op *op, Tensor *args, Tensor *outs)
{
	along(ev, op, args, outs, line_of_amin, true, args[0].err);
}

void ref_amax(Eval *ev, const Op *op, Tensor *args, Tensor *outs)
{
	along(ev, op, args, outs, line_of_amax, true, args[0].err);
}

void ref_any(Eval *ev, const Op *op, Tensor *args, Tensor *outs)
{
	along(ev, op, args, outs, line_of_any, true, args[0].err);
}

void ref_all(Eval *ev, const Op *op, Tensor *args, Tensor *outs)
{
	along(ev, op, args, outs, line_of_all, true, args[0].err);
}

void ref_logsumexp(Eval *ev, const Op *op, Tensor *args, Tensor *outs)
{
	along(ev, op, args, outs, line_of_logsumexp, true, true);
}

void ref_softmax(Eval *ev, const Op *op, Tensor *args, Tensor *outs)
{
	along(ev, op, args, outs, line_of_softmax, false, true);
}

void ref_rank(Eval *ev, const Op *op, Tensor *args, Tensor *outs)
{
	along(ev, op, args, outs, line_of_rank, false, false);
}

/* The first `k` of each line of the last axis. */
static void top(Eval *ev, const Op *op, const Tensor *args, Tensor *outs, int64_t k)
{
	const Tensor *x = &args[0];
	int64_t n = x->type.dim[x->type.rank - 1], lines = n ? x->n / n : 0;
	Line l = line_open(ev, x, n, 1);

	if (k > n)
		ice("%s picks %lld of %lld", op_info[op->kind].name, (long long)k,
		    (long long)n);
	out_new(ev, op, 0, args, outs, false);
	l.n = n;
	for (int64_t i = 0; i < lines; i++) {
		l.row = i / (lines / x->rows);
		for (int64_t j = 0; j < n; j++) {
			l.v[j] = x->v[i * n + j];
			l.e[j] = err_at(x, i * n + j);
		}
		line_sort(&l, k);
		for (int64_t j = 0; j < k; j++)
			outs->v[i * k + j] = (double)l.order[j].i;
	}
	line_close(&l);
}

void ref_topk(Eval *ev, const Op *op, Tensor *args, Tensor *outs)
{
	top(ev, op, args, outs, attr_get_int(op, "k", 1));
}

void ref_argmax(Eval *ev, const Op *op, Tensor *args, Tensor *outs)
{
	top(ev, op, args, outs, 1);
}
