/* SPDX-License-Identifier: Apache-2.0
 * eval_shape: the ops that only move entries: shapes, slices, gathers, one-hots. */
#include "eval_ops.h"

#include <string.h>

/* Entry `to` of out becomes entry `from` of x, with its bound. */
static void move(Tensor *out, int64_t to, const Tensor *x, int64_t from, int64_t n)
{
	memcpy(out->v + to, x->v + from, (size_t)n * sizeof *out->v);
	if (x->err)
		memcpy(out->err + to, x->err + from, (size_t)n * sizeof *out->err);
}

/* What reading at `none` gives: none of an index, else 0. */
static void fill_none(Tensor *out, int64_t to, int64_t n)
{
	double none = out->type.dtype == DT_index ? -1 : 0;
	for (int64_t i = 0; i < n; i++)
		out->v[to + i] = none;
}

void ref_reshape(Eval *ev, const Op *op, Tensor *args, Tensor *outs)
{
	outs[0] = tensor_copy(ev, &args[0]);
	outs[0].type = op->outs[0]->type;
	outs[0].type.dtype = args[0].type.dtype;
}

void ref_transpose(Eval *ev, const Op *op, Tensor *args, Tensor *outs)
{
	const Tensor *x = &args[0];
	int64_t m = x->type.dim[x->type.rank - 2], n = x->type.dim[x->type.rank - 1];

	out_new(ev, op, 0, args, outs, x->err);
	for (int64_t at = 0; at < x->n; at += m * n)
		for (int64_t i = 0; i < m; i++)
			for (int64_t j = 0; j < n; j++)
				move(outs, at + j * m + i, x, at + i * n + j, 1);
}

static int64_t int_at(const Op *op, const char *name, int i, int64_t otherwise)
{
	const Attr *a = attr_find(op, name);
	if (a && a->kind == AT_INT && i == 0)
		return a->i;
	return a && a->kind == AT_INTS && i < a->n ? a->is[i] : otherwise;
}

/* An unread tensor's rows become doubles only where the slice takes them: whole runs of
 * the axes that are not cut. */
void ref_slice(Eval *ev, const Op *op, Tensor *args, Tensor *outs)
{
	const Tensor *x = &args[0];
	const Type *in = &x->type;
	int64_t start[MAX_RANK] = {0}, step[MAX_RANK], stride[MAX_RANK];
	int whole = in->rank;           /* axes from here on are taken whole */

	out_new(ev, op, 0, args, outs, x->err);
	const Type *type = &outs->type;
	while (whole > 0 && int_at(op, "start", whole - 1, 0) == 0 &&
	       int_at(op, "step", whole - 1, 1) == 1 &&
	       type->dim[whole - 1] == in->dim[whole - 1])
		whole--;
	int64_t run = 1, all = 1;
	for (int d = in->rank - 1; d >= 0; d--) {
		start[d] = int_at(op, "start", d, 0);
		step[d] = int_at(op, "step", d, 1);
		stride[d] = all;
		all *= in->dim[d];
		if (d >= whole)
			run *= in->dim[d];
	}
	int64_t each = type_elems(type);
	for (int64_t to = 0; to < outs->n; to += run) {
		int64_t rest = to % each / run, from = 0, row = to / each;
		for (int d = whole - 1; d >= 0; d--) {
			from += (start[d] + rest % type->dim[d] * step[d]) * stride[d];
			rest /= type->dim[d];
		}
		if (unread(x))
			read_entries(ev, x, row, from, run, outs->v + to);
		else
			move(outs, to, x, row * all + from, run);
	}
}

void ref_concat(Eval *ev, const Op *op, Tensor *args, Tensor *outs)
{
	out_new(ev, op, 0, args, outs, any_err(args, op->nargs));
	for (int64_t r = 0, to = 0; r < outs->rows; r++)
		for (int i = 0; i < op->nargs; i++) {
			int64_t n = type_elems(&args[i].type);
			move(outs, to, &args[i], row_in(ev, outs, r, &args[i]) * n, n);
			to += n;
		}
}

void ref_gather(Eval *ev, const Op *op, Tensor *args, Tensor *outs)
{
	const Tensor *x = &args[0];
	Tensor index = args[1];

	if (unread(&index))
		tensor_read(ev, &index);
	out_new(ev, op, 0, args, outs, x->err);
	int64_t n = x->type.dim[0], all = type_elems(&x->type), each = n ? all / n : 0;
	int64_t k = type_elems(&index.type), width = type_elems(&outs->type) / MAX(k, 1);
	for (int64_t r = 0; r < outs->rows; r++) {
		int64_t xr = row_in(ev, outs, r, x), ir = row_in(ev, outs, r, &index);
		for (int64_t j = 0; j < k; j++) {
			double at = index.v[ir * k + j];
			int64_t to = (r * k + j) * width;
			if (!(at >= 0 && at < (double)n))
				fill_none(outs, to, width);
			else if (unread(x))
				read_entries(ev, x, xr, (int64_t)at * each, each,
					     outs->v + to);
			else
				move(outs, to, x, xr * all + (int64_t)at * each, each);
		}
	}
	if (unread(&args[1]))
		tensor_free(ev, &index);
}

void ref_take(Eval *ev, const Op *op, Tensor *args, Tensor *outs)
{
	const Tensor *x = &args[0], *index = &args[1];

	out_new(ev, op, 0, args, outs, x->err);
	int64_t n = x->type.dim[x->type.rank - 1], all = type_elems(&x->type);
	int64_t k = type_elems(&outs->type), j = outs->type.dim[outs->type.rank - 1];
	int64_t picks = type_elems(&index->type);
	for (int64_t to = 0; to < outs->n; to++) {
		int64_t r = to / k, line = to % k / j;
		double at = index->v[row_in(ev, outs, r, index) * picks + to % k % picks];
		if (at >= 0 && at < (double)n)
			move(outs, to, x, row_in(ev, outs, r, x) * all +
			     (all == n ? 0 : line * n) + (int64_t)at, 1);
		else
			fill_none(outs, to, 1);
	}
}

void ref_onehot(Eval *ev, const Op *op, Tensor *args, Tensor *outs)
{
	int64_t axis = args[0].type.axis;

	out_new(ev, op, 0, args, outs, false);
	for (int64_t i = 0; i < args[0].n; i++) {
		double at = args[0].v[i];
		if (at >= 0 && at < (double)axis)
			outs->v[i * axis + (int64_t)at] = 1;
	}
}

void ref_mask(Eval *ev, const Op *op, Tensor *args, Tensor *outs)
{
	int64_t axis = args[0].type.axis;

	out_new(ev, op, 0, args, outs, false);
	int64_t lines = axis ? outs->n / axis : 0, slots = lines ? args[0].n / lines : 0;
	for (int64_t i = 0; i < lines * slots; i++) {
		double at = args[0].v[i];
		if (at >= 0 && at < (double)axis)
			outs->v[i / slots * axis + (int64_t)at] = 1;
	}
}

void ref_blockwise(Eval *ev, const Op *op, Tensor *args, Tensor *outs)
{
	const Type *in = &args[0].type;
	int64_t a = attr_get_int(op, "a", 1), b = attr_get_int(op, "b", 1);

	out_new(ev, op, 0, args, outs, args[0].err);
	int64_t rows = outs->type.dim[outs->type.rank - 2];
	int64_t cols = outs->type.dim[outs->type.rank - 1];
	int64_t brows = in->dim[in->rank - 2], bcols = in->dim[in->rank - 1];
	for (int64_t to = 0; to < outs->n; to++) {
		int64_t block = to / (rows * cols), i = to / cols % rows, j = to % cols;
		move(outs, to, &args[0], (block * brows + i / a) * bcols + j / b, 1);
	}
}

void ref_mxfp4(Eval *ev, const Op *op, Tensor *args, Tensor *outs)
{
	out_new(ev, op, 0, args, outs, false);
	for (int64_t to = 0; to < outs->n; to++) {
		int byte = (int)args[0].v[to / 2], exponent = (int)args[1].v[to / 32];
		outs->v[to] = fp4_value(to % 2 ? byte >> 4 : byte) * e8m0_value(exponent);
	}
}
