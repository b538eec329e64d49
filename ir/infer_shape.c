/* SPDX-License-Identifier: Apache-2.0
 * infer_shape: types of ops that move, choose or contract entries. */
#include "infer.h"

bool infer_transpose(Inference *in)
{
	Type out = *arg(in, 0);

	if (!has_axes(in, 0, 2))
		return false;
	int64_t last = out.dim[out.rank - 1];
	out.dim[out.rank - 1] = out.dim[out.rank - 2];
	out.dim[out.rank - 2] = last;
	return result(in, &out, out.dtype);
}

bool infer_slice(Inference *in)
{
	Type out = *arg(in, 0);
	const Attr *start = attr_find(in->op, "start"), *size = attr_find(in->op, "size");
	const Attr *step = attr_find(in->op, "step");

	if (!start || !size || !step || start->kind != AT_INTS || size->kind != AT_INTS ||
	    step->kind != AT_INTS || start->n != size->n || start->n != step->n)
		return refuse(in, "start, size and step must be lists of one length");
	if (start->n > out.rank)
		return refuse(in, "%d slices of %s", start->n, shown(in, &out));
	for (int i = 0; i < start->n; i++) {
		int64_t last;
		if (start->is[i] < 0 || size->is[i] < 1 || step->is[i] < 1 ||
		    __builtin_mul_overflow(size->is[i] - 1, step->is[i], &last) ||
		    __builtin_add_overflow(last, start->is[i], &last) ||
		    last >= out.dim[i])
			return refuse(in, "the slice of axis %d leaves %s", i,
				      shown(in, arg(in, 0)));
		out.dim[i] = size->is[i];
	}
	return result(in, &out, out.dtype);
}

/* Entries that are only moved keep a stored type when all have it. */
static bool moved_dtype(Inference *in, Type *out, const Type *t)
{
	if (out->dtype == DT_index || t->dtype == DT_index) {
		if (!same_axis(in, out, t))
			return false;
		out->axis = MAX(out->axis, t->axis);
	} else if (out->dtype != t->dtype) {
		out->dtype = join_dtype(out->dtype, t->dtype, out->level);
	}
	return true;
}

bool infer_concat(Inference *in)
{
	if (in->op->nargs == 0)
		return refuse(in, "of nothing");
	Type out = *arg(in, 0);
	for (int i = 0; i < in->op->nargs; i++) {
		const Type *t = arg(in, i);
		if (t->dtype == DT_rows)
			return refuse(in, "a tensor is wanted, not %s", shown(in, t));
		if (!has_axes(in, i, 1))
			return false;
		if (i == 0)
			continue;
		if (!join_levels(in, &out, &out, t) || !moved_dtype(in, &out, t))
			return false;
		Type rest = *t;
		rest.dim[0] = out.dim[0];
		if (!shape_equal(&rest, &out))
			return refuse(in, "%s and %s differ behind the first axis",
				      shown(in, &out), shown(in, t));
		if (__builtin_add_overflow(out.dim[0], t->dim[0], &out.dim[0]))
			return refuse(in, "too long");
	}
	if (out.dtype == DT_f64 && out.level != LV_ONCE)
		out.dtype = DT_f32;
	return result(in, &out, out.dtype);
}

static bool is_choice(Inference *in, const Type *i, int64_t n)
{
	if (i->dtype != DT_index && i->dtype != DT_i32)
		return refuse(in, "an index is wanted, not %s", shown(in, i));
	if (i->dtype == DT_index && i->axis && i->axis != n)
		return refuse(in, "%s chooses from another axis than one of %jd",
			      shown(in, i), (intmax_t)n);
	return true;
}

/* The leading axes of *out, then those of t from axis `from`. */
static bool append_axes(Inference *in, Type *out, const Type *t, int from)
{
	if (out->rank + t->rank - from > MAX_RANK)
		return refuse(in, "more than %d axes", MAX_RANK);
	for (int i = from; i < t->rank; i++)
		out->dim[out->rank++] = t->dim[i];
	return true;
}

bool infer_gather(Inference *in)
{
	const Type *v = arg(in, 0), *i = arg(in, 1);
	Type out;

	if (v->dtype == DT_rows)
		return refuse(in, "a tensor is wanted, not %s", shown(in, v));
	if (!has_axes(in, 0, 1) || !is_choice(in, i, v->dim[0]) ||
	    !join_levels(in, &out, i, v) || !append_axes(in, &out, v, 1))
		return false;
	out.axis = v->axis;
	return result(in, &out, v->dtype == DT_f64 && out.level != LV_ONCE ? DT_f32
									   : v->dtype);
}

bool infer_take(Inference *in)
{
	const Type *v = arg(in, 0), *i = arg(in, 1);
	Type out;

	if (v->dtype == DT_rows)
		return refuse(in, "a tensor is wanted, not %s", shown(in, v));
	if (!has_axes(in, 0, 1) || !has_axes(in, 1, 1) ||
	    !is_choice(in, i, v->dim[v->rank - 1]) || !join_levels(in, &out, i, v))
		return false;
	Type rows = *v;
	rows.dim[v->rank - 1] = i->dim[i->rank - 1];
	if (!shape_equal(&rows, i))
		return refuse(in, "%s and %s differ before the last axis", shown(in, v),
			      shown(in, i));
	out.axis = v->axis;
	return result(in, &out, v->dtype == DT_f64 && out.level != LV_ONCE ? DT_f32
									   : v->dtype);
}

static bool known_axis(Inference *in)
{
	const Type *i = arg(in, 0);

	return (i->dtype == DT_index && i->axis > 0) ||
	       refuse(in, "an index of a known axis is wanted, not %s", shown(in, i));
}

bool infer_onehot(Inference *in)
{
	Type out = *arg(in, 0);

	if (!known_axis(in))
		return false;
	if (out.rank == MAX_RANK)
		return refuse(in, "more than %d axes", MAX_RANK);
	out.dim[out.rank++] = out.axis;
	return result(in, &out, DT_bool);
}

bool infer_mask(Inference *in)
{
	Type out = *arg(in, 0);

	if (!known_axis(in))
		return false;
	while (out.rank)
		drop_axis(&out, 0);
	out.dim[out.rank++] = out.axis;
	return result(in, &out, DT_bool);
}

bool infer_linear(Inference *in)
{
	const Type *x = arg(in, 0), *w = arg(in, 1);
	Type out;

	if (!numbers(in) || !has_axes(in, 0, 1) || !join_levels(in, &out, x, w))
		return false;
	if (w->rank != 2 || w->dim[1] != x->dim[x->rank - 1])
		return refuse(in,
			      "%s times %s: the weight must be [n, k] with the k of x",
			      shown(in, x), shown(in, w));
	out.dim[out.rank - 1] = w->dim[0];
	return result(in, &out, DT_f32);
}

bool infer_matmul(Inference *in)
{
	const Type *a = arg(in, 0), *b = arg(in, 1);
	Type out;

	if (!numbers(in) || !has_axes(in, 0, 1) || !has_axes(in, 1, 1) ||
	    !join_levels(in, &out, a, b))
		return false;
	if (a->dim[a->rank - 1] != b->dim[0])
		return refuse(in, "%s times %s: the inner axes differ", shown(in, a),
			      shown(in, b));
	drop_axis(&out, out.rank - 1);
	return append_axes(in, &out, b, 1) && result(in, &out, DT_f32);
}
