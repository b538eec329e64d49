/* SPDX-License-Identifier: Apache-2.0
 * eval_route: choosing rows for experts, running them, and putting rows back. */
#include "eval_ops.h"

#include <math.h>
#include <string.h>

static Rows *rows_new(Eval *ev, int64_t n, int64_t first, int64_t slots)
{
	Rows *rows = eval_alloc(ev, 1, sizeof *rows);
	*rows = (Rows){.n = n, .first = first, .slots = slots};
	rows->token = eval_alloc(ev, n, sizeof(int64_t));
	rows->slot = eval_alloc(ev, n, sizeof(int64_t));
	rows->expert = eval_alloc(ev, n, sizeof(int64_t));
	return rows;
}

/* Pick i of all tokens of `of`: the picks may be the same for all of them. */
static double pick_of(const Eval *ev, const Tensor *of, const Tensor *pick, int64_t i)
{
	int64_t k = type_elems(&pick->type);

	return pick->v[row_in(ev, of, i / k, pick) * k + i % k];
}

/* The (token, slot) pairs of the tokens of `of` whose pick lies in first ..
 * first+count-1: a counting sort. */
static Rows *rows_of_picks(Eval *ev, const Tensor *of, const Tensor *pick, int64_t first,
			   int64_t count)
{
	int64_t k = type_elems(&pick->type), all = of->rows * k, n = 0;
	int64_t *next = eval_alloc(ev, count + 1, sizeof *next);

	for (int64_t i = 0; i < all; i++) {
		double e = pick_of(ev, of, pick, i) - (double)first;
		if (e >= 0 && e < (double)count) {
			next[(int64_t)e + 1]++;
			n++;
		}
	}
	for (int64_t e = 0; e < count; e++)
		next[e + 1] += next[e];
	Rows *rows = rows_new(ev, n, first, k);
	for (int64_t i = 0; i < all; i++) {
		double e = pick_of(ev, of, pick, i) - (double)first;
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

Rows *rows_pick(Eval *ev, const Rows *from, const int64_t *pick, int64_t n)
{
	Rows *rows = rows_new(ev, n, from->first, from->slots);
	for (int64_t i = 0; i < n; i++) {
		rows->token[i] = from->token[pick[i]];
		rows->slot[i] = from->slot[pick[i]];
		rows->expert[i] = from->expert[pick[i]];
	}
	return rows;
}

void ref_group(Eval *ev, const Op *op, Tensor *args, Tensor *outs)
{
	const Type *type = &op->outs[0]->type;

	outs[0] = (Tensor){.type = *type};
	outs[0].at = rows_of_picks(ev, &args[0], &args[0],
				   attr_get_int(op, "first", 0),
				   attr_get_int(op, "count", 0));
	outs[0].rows = outs[0].at->n;
	ev->rows[type->range] = outs[0].at;
}

/* The type of a group does not say of how many slots its rows are. */
static void check_slots(Eval *ev, const Op *op, const Rows *rows, int64_t slots)
{
	if (rows->slots != slots)
		eval_fail(ev, "%s: %lld slots, but the group's tokens have %lld picks",
			  op_info[op->kind].name, (long long)slots,
			  (long long)rows->slots);
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

void ref_dispatch(Eval *ev, const Op *op, Tensor *args, Tensor *outs)
{
	bool slot = attr_get_int(op, "slot", 0) != 0;

	if (slot)
		check_slots(ev, op, args[1].at, args[0].type.dim[0]);
	out_new(ev, op, 0, args, outs, args[0].err);
	dispatch(ev, &args[0], slot, outs);
}

/* Row r goes to its token and slot. */
static void collect(const Tensor *x, const Rows *rows, Tensor *out)
{
	int64_t n = type_elems(&x->type), k = out->type.dim[0];

	for (int64_t r = 0; r < rows->n; r++)
		move_row(out, (rows->token[r] * k + rows->slot[r]) * n, x, r * n, n);
}

void ref_collect(Eval *ev, const Op *op, Tensor *args, Tensor *outs)
{
	check_slots(ev, op, args[1].at, op->outs[0]->type.dim[0]);
	out_new(ev, op, 0, args, outs, args[0].err);
	collect(&args[0], args[1].at, outs);
}

/* y += w * x with bounds: the product's and the sum's roundings, and the operands'
 * errors. */
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
	const Tensor *x = &args[0], *weight = &args[1];
	const Rows *rows = args[2].at;
	int64_t n = type_elems(&x->type), k = type_elems(&weight->type);

	check_slots(ev, op, rows, k);
	out_new(ev, op, 0, args, outs, true);
	for (int64_t r = 0; r < rows->n; r++) {
		int64_t t = rows->token[r], at = t * k + rows->slot[r];
		accumulate(outs, t * n, x, r * n, weight->v[at], err_at(weight, at), n);
	}
}

void ref_experts(Eval *ev, const Op *op, Tensor *args, Tensor *outs)
{
	const Attr *fns = attr_find(op, "fns"), *counts = attr_find(op, "counts");
	const Tensor *pick = &args[0], *v = &args[1];
	int64_t first = 0;

	out_new(ev, op, 0, args, outs, true);
	for (int i = 0; i < fns->n; i++) {
		const Fn *fn = fn_find(ev->m, fns->ss[i]);
		const Type *type = &fn->body->args[0]->type;
		Tensor x = {.at = rows_of_picks(ev, outs, pick, first, counts->is[i])}, y;
		const Rows **at_work = &ev->rows[type->range], *before = *at_work;
		*at_work = x.at;
		tensor_new(ev, *type, &x, 1, &x);
		if (v->err)
			x.err = eval_doubles(ev, x.n);
		dispatch(ev, v, v->type.rank > type->rank, &x);
		run_fn(ev, fn, &x, 1, &y);
		if (y.rows != x.rows)
			eval_fail(ev, "@%s gives rows of another group", fn->name);
		collect(&y, x.at, outs);
		tensor_free(ev, &x);
		tensor_free(ev, &y);
		*at_work = before;
		first += counts->is[i];
	}
}
