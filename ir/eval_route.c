/* SPDX-License-Identifier: Apache-2.0
 * eval_route: choosing rows for experts, running them, and putting rows back. */
#include "eval_ops.h"

#include <math.h>
#include <string.h>

static Rows *rows_new(Eval *ev, int64_t n, int64_t first)
{
	Rows *rows = eval_alloc(ev, 1, sizeof *rows);
	*rows = (Rows){.n = n, .first = first};
	rows->token = eval_alloc(ev, n, sizeof(int64_t));
	rows->slot = eval_alloc(ev, n, sizeof(int64_t));
	rows->expert = eval_alloc(ev, n, sizeof(int64_t));
	return rows;
}

/* The (token, slot) pairs whose pick lies in first .. first+count-1, by expert, then token,
 * then slot: a counting sort. */
static Rows *rows_of_picks(Eval *ev, const Tensor *pick, int64_t first, int64_t count)
{
	int64_t k = type_elems(&pick->type), n = 0;
	int64_t *next = eval_alloc(ev, count + 1, sizeof *next);

	for (int64_t i = 0; i < pick->n; i++) {
		double e = pick->v[i] - (double)first;
		if (e >= 0 && e < (double)count) {
			next[(int64_t)e + 1]++;
			n++;
		}
	}
	for (int64_t e = 0; e < count; e++)
		next[e + 1] += next[e];
	Rows *rows = rows_new(ev, n, first);
	for (int64_t i = 0; i < pick->n; i++) {
		double e = pick->v[i] - (double)first;
		if (!(e >= 0 && e < (double)count))
			continue;
		int64_t r = next[(int64_t)e]++;
		rows->token[r] = i / k;
		rows->slot[r] = i % k;
		rows->expert[r] = first + (int64_t)e;
	}
	eval_free(ev, next);
	return rows;
}

/* A pick that exists less often than once a token holds for every token. */
static Tensor pick_of_tokens(Eval *ev, const Tensor *pick)
{
	Type type = pick->type;
	type.level = LV_TOKEN;
	return tensor_at_level(ev, tensor_copy(ev, pick), &type);
}

void ref_group(Eval *ev, const Op *op, Tensor *args, Tensor *outs)
{
	Tensor pick = pick_of_tokens(ev, &args[0]);

	outs[0] = (Tensor){.type = op->outs[0]->type};
	outs[0].at = rows_of_picks(ev, &pick, attr_get_int(op, "first", 0),
				   attr_get_int(op, "count", 0));
	outs[0].rows = outs[0].at->n;
	tensor_free(ev, &pick);
}

static void move_row(Tensor *out, int64_t to, const Tensor *x, int64_t from, int64_t n)
{
	memcpy(out->v + to, x->v + from, (size_t)n * sizeof *out->v);
	if (x->err)
		memcpy(out->err + to, x->err + from, (size_t)n * sizeof *out->err);
}

/* Row r of out: v of its token, or v[slot]. */
static void dispatch(Eval *ev, const Tensor *v, bool slot, Tensor *out)
{
	int64_t n = type_elems(&out->type), each = type_elems(&v->type);

	for (int64_t r = 0; r < out->rows; r++)
		move_row(out, r * n, v, row_in(ev, out, r, v) * each +
					(slot ? out->at->slot[r] * n : 0), n);
}

/* The operands of these ops are told apart by type: the rows are what `group` made. */
static int rows_operand(const Tensor *args, int nargs)
{
	for (int i = 0; i < nargs; i++)
		if (args[i].type.dtype == DT_rows)
			return i;
	ice("no operand is rows");
}

void ref_dispatch(Eval *ev, const Op *op, Tensor *args, Tensor *outs)
{
	const Tensor *v = &args[1 - rows_operand(args, 2)];

	out_new(ev, op, 0, args, outs, v->err);
	dispatch(ev, v, attr_find(op, "slot") != NULL, outs);
}

void ref_collect(Eval *ev, const Op *op, Tensor *args, Tensor *outs)
{
	int which = rows_operand(args, 2);
	const Tensor *x = &args[1 - which];
	const Rows *rows = args[which].at;
	int64_t n = type_elems(&x->type), k = op->outs[0]->type.dim[0];

	out_new(ev, op, 0, args, outs, x->err);
	for (int64_t r = 0; r < rows->n; r++)
		move_row(outs, (rows->token[r] * k + rows->slot[r]) * n, x, r * n, n);
}

/* y += w * x with bounds: the product's and the sum's roundings, and the operands' errors. */
static void accumulate(Tensor *y, int64_t to, const Tensor *x, int64_t from, double w,
		       double we, int64_t n)
{
	for (int64_t i = 0; i < n; i++) {
		double p = w * x->v[from + i];
		y->v[to + i] += p;
		if (!y->err)
			continue;
		double xe = err_at(x, from + i);
		double e = (fabs(w) + we) * xe + we * fabs(x->v[from + i]);
		e = isnan(e) ? (isnan(p) ? 0 : INFINITY) : e;
		y->err[to + i] += e + err_rounding(DT_f32, p, 1) +
				  err_rounding(DT_f32, y->v[to + i], 1);
	}
}

void ref_combine(Eval *ev, const Op *op, Tensor *args, Tensor *outs)
{
	int which = rows_operand(args, 3);
	const Rows *rows = args[which].at;
	const Tensor *x = &args[which == 0], *weight = &args[which == 2 ? 1 : 2];
	int64_t n = type_elems(&x->type), k = type_elems(&weight->type);

	out_new(ev, op, 0, args, outs, true);
	for (int64_t r = 0; r < rows->n; r++) {
		int64_t t = rows->token[r];
		int64_t at = row_in(ev, outs, t, weight) * k + rows->slot[r];
		accumulate(outs, t * n, x, r * n, weight->v[at], err_at(weight, at), n);
	}
}

/* ---- experts ---- */

/* All rows of one function's experts at once, where it is written for routed rows. */
static void run_rows(Eval *ev, const Fn *fn, const Rows *rows, const Tensor *v, bool slot,
		     Tensor *y)
{
	Tensor x = {.type = fn->body->args[0]->type, .at = rows};
	tensor_new(ev, x.type, &x, 1, &x);
	if (v->err)
		x.err = eval_doubles(ev, x.n);
	dispatch(ev, v, slot, &x);
	run_fn(ev, fn, ev->ctx, &x, 1, y);
	tensor_free(ev, &x);
}

/* Rows r0 .. r1-1, of one expert, as so many tokens. */
static void run_expert(Eval *ev, const Fn *fn, const Rows *rows, int64_t r0, int64_t r1,
		       const Tensor *v, bool slot, Tensor *y)
{
	int64_t n = r1 - r0, width = type_elems(&fn->body->args[0]->type);
	int64_t each = type_elems(&v->type);
	Ctx ctx = ctx_pick(ev, ev->ctx, rows->token + r0, n);
	Tensor like = {.type = type_scalar(DT_f32, LV_TOKEN)};
	Tensor x = {.type = fn->body->args[0]->type, .rows = n, .n = n * width};

	ctx.expert = rows->expert[r0] - rows->first;
	x.v = eval_doubles(ev, x.n);
	if (v->err)
		x.err = eval_doubles(ev, x.n);
	for (int64_t r = r0; r < r1; r++)
		move_row(&x, (r - r0) * width, v,
			 row_in(ev, &like, rows->token[r], v) * each +
			 (slot ? rows->slot[r] * width : 0), width);
	run_fn(ev, fn, &ctx, &x, 1, y);
	const Ctx *around = ev->ctx;
	ev->ctx = &ctx;
	*y = tensor_at_level(ev, *y, &like.type);
	ev->ctx = around;
	tensor_free(ev, &x);
	ctx_free(ev, &ctx);
}

/* What rows r0 .. gave, back to their tokens and slots. */
static void scatter(Eval *ev, const Rows *rows, int64_t r0, Tensor *y, Tensor *out)
{
	int64_t n = type_elems(&y->type), k = out->type.dim[0];

	if (n * k != type_elems(&out->type))
		ice("an expert gives %lld entries, not %lld", (long long)n,
		    (long long)(type_elems(&out->type) / k));
	if (y->err && !out->err)
		out->err = eval_doubles(ev, out->n);
	for (int64_t r = 0; r < y->rows; r++)
		move_row(out, (rows->token[r0 + r] * k + rows->slot[r0 + r]) * n, y, r * n, n);
	tensor_free(ev, y);
}

void ref_experts(Eval *ev, const Op *op, Tensor *args, Tensor *outs)
{
	const Attr *fns = attr_find(op, "fns"), *counts = attr_find(op, "counts");
	const Tensor *v = &args[1];
	Tensor pick = pick_of_tokens(ev, &args[0]), y;
	int64_t first = 0;

	out_new(ev, op, 0, args, outs, false);
	for (int i = 0; i < fns->n; i++) {
		const Fn *fn = fn_find(ev->m, fns->ss[i]);
		int64_t count = counts->kind == AT_INT ? counts->i : counts->is[i];
		Rows *rows = rows_of_picks(ev, &pick, first, count);
		bool slot = v->type.rank > fn->body->args[0]->type.rank;
		if (fn->body->args[0]->type.level == LV_ROW) {
			run_rows(ev, fn, rows, v, slot, &y);
			scatter(ev, rows, 0, &y, outs);
		} else {
			for (int64_t r0 = 0, r1 = 0; r0 < rows->n; r0 = r1) {
				while (r1 < rows->n && rows->expert[r1] == rows->expert[r0])
					r1++;
				run_expert(ev, fn, rows, r0, r1, v, slot, &y);
				scatter(ev, rows, r0, &y, outs);
			}
		}
		first += count;
	}
	tensor_free(ev, &pick);
}
