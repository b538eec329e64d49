/* SPDX-License-Identifier: Apache-2.0
 * infer: result types from operands and attributes, one function for each rule of
 * ops.def.
 *
 * Stored types (bf16, f16) are read as f32.  A bool counts as i32 in arithmetic, and i32
 * with f32 is f32.  f64 lives at level once only (constants and call scalars): f64 with
 * another once-level number is f64, but where the result exists more often than once it
 * is f32, the scalar rounded first. */
#include "infer.h"

#include <string.h>

bool refuse(Inference *in, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	char *text = arena_vprintf(in->arena, fmt, args);
	va_end(args);
	*in->why = arena_printf(in->arena, "%s: %s", op_info[in->op->kind].name, text);
	return false;
}

const char *shown(Inference *in, const Type *t)
{
	Text text = text_new(in->arena);

	print_type(&text, t);
	return text.s;
}

const Type *arg(const Inference *in, int i)
{
	return &in->op->args[i]->type;
}

bool result(Inference *in, const Type *like, Dtype dtype)
{
	Type *out = &in->op->outs[0]->type;

	*out = *like;
	out->dtype = dtype;
	if (dtype != DT_index)
		out->axis = 0;
	return true;
}

static bool is_number(Dtype d)
{
	return d != DT_index && d != DT_rows;
}

static Dtype computed(Dtype d)
{
	return dtype_info[d].computed ? d : DT_f32;
}

static Dtype as_float(Dtype d)
{
	return d == DT_f64 ? DT_f64 : DT_f32;
}

static Dtype as_arith(Dtype d)
{
	return d == DT_bool ? DT_i32 : computed(d);
}

static bool levels_join(const Type *a, const Type *b)
{
	bool ranged_a = a->level == LV_EXPERT || a->level == LV_ROW;
	bool ranged_b = b->level == LV_EXPERT || b->level == LV_ROW;

	if (a->level == LV_ONCE || b->level == LV_ONCE)
		return true;
	return ranged_a == ranged_b && (!ranged_a || a->range == b->range);
}

static bool broadcast(Type *out, const Type *t)
{
	Type joined = *out;

	if (!levels_join(out, t))
		return false;
	if (t->level == LV_EXPERT || t->level == LV_ROW)
		joined.range = t->range;
	joined.level = level_join(out->level, t->level);
	joined.rank = MAX(out->rank, t->rank);
	for (int i = 1; i <= joined.rank; i++) {        /* from the last axis */
		int64_t a = i <= out->rank ? out->dim[out->rank - i] : 1;
		int64_t b = i <= t->rank ? t->dim[t->rank - i] : 1;
		if (a != b && a != 1 && b != 1)
			return false;
		joined.dim[joined.rank - i] = a == 1 ? b : a;
	}
	*out = joined;
	return true;
}

bool infer_broadcast(const Type *types, int n, Type *out)
{
	Type joined = n ? types[0] : type_scalar(DT_f32, LV_ONCE);

	for (int i = 1; i < n; i++)
		if (!broadcast(&joined, &types[i]))
			return false;
	*out = joined;
	return true;
}

bool join_levels(Inference *in, Type *out, const Type *a, const Type *b)
{
	if (!levels_join(a, b))
		return refuse(in, "%s and %s are of levels that do not meet; "
			      "rows and experts meet only their own range",
			      shown(in, a), shown(in, b));
	*out = *a;
	out->level = level_join(a->level, b->level);
	out->range = b->level == LV_EXPERT || b->level == LV_ROW ? b->range : a->range;
	return true;
}

static bool join_all(Inference *in, Type *out)
{
	*out = *arg(in, 0);
	for (int i = 1; i < in->op->nargs; i++) {
		Type ignored;
		if (!join_levels(in, &ignored, out, arg(in, i)))
			return false;
		if (!broadcast(out, arg(in, i)))
			return refuse(in, "shapes of %s and %s do not meet",
				      shown(in, out), shown(in, arg(in, i)));
	}
	return true;
}

bool numbers(Inference *in)
{
	for (int i = 0; i < in->op->nargs; i++)
		if (!is_number(arg(in, i)->dtype))
			return refuse(in, "a number is wanted, not %s",
				      shown(in, arg(in, i)));
	return true;
}

/* The element of a and b together, at the level of the result. */
Dtype join_dtype(Dtype a, Dtype b, Level level)
{
	a = as_arith(a);
	b = as_arith(b);
	if (a == DT_f64 || b == DT_f64)
		return level == LV_ONCE ? DT_f64 : DT_f32;
	return a == DT_f32 || b == DT_f32 ? DT_f32 : DT_i32;
}

static bool infer_attr(Inference *in)
{
	return true;
}

static bool infer_none(Inference *in)
{
	return true;
}

static bool infer_same(Inference *in)
{
	const Type *x = arg(in, 0);

	if (in->op->kind == OP_stop)
		return result(in, x, x->dtype);
	return numbers(in) && result(in, x, as_arith(x->dtype));
}

static bool infer_float(Inference *in)
{
	return numbers(in) && result(in, arg(in, 0), as_float(arg(in, 0)->dtype));
}

static bool infer_arith(Inference *in)
{
	Type out;

	return numbers(in) && join_all(in, &out) &&
	       result(in, &out,
		      join_dtype(arg(in, 0)->dtype, arg(in, 1)->dtype, out.level));
}

static bool infer_quot(Inference *in)
{
	Type out;

	return numbers(in) && join_all(in, &out) &&
	       result(in, &out, as_float(join_dtype(arg(in, 0)->dtype, arg(in, 1)->dtype,
						    out.level)));
}

/* Choices of one axis; 0 is the axis of a constant none, which meets any. */
bool same_axis(Inference *in, const Type *a, const Type *b)
{
	if (a->dtype != DT_index || b->dtype != DT_index)
		return refuse(in, "%s with %s: an index meets only an index",
			      shown(in, a), shown(in, b));
	if (a->axis != b->axis && a->axis && b->axis)
		return refuse(in, "%s and %s choose from different axes", shown(in, a),
			      shown(in, b));
	return true;
}

static bool infer_compare(Inference *in)
{
	const Type *a = arg(in, 0), *b = arg(in, 1);
	bool equality = in->op->kind == OP_eq || in->op->kind == OP_ne;
	Type out;

	if (equality && (a->dtype == DT_index || b->dtype == DT_index)) {
		if (!same_axis(in, a, b))
			return false;
	} else if (!numbers(in)) {
		return false;
	}
	return join_all(in, &out) && result(in, &out, DT_bool);
}

static bool infer_logic(Inference *in)
{
	Dtype wanted = in->op->kind == OP_isnone ? DT_index : DT_bool;
	Type out;

	for (int i = 0; i < in->op->nargs; i++)
		if (arg(in, i)->dtype != wanted)
			return refuse(in, "%s is wanted, not %s",
				      wanted == DT_bool ? "a bool" : "an index",
				      shown(in, arg(in, i)));
	return join_all(in, &out) && result(in, &out, DT_bool);
}

static bool infer_select(Inference *in)
{
	const Type *a = arg(in, 1), *b = arg(in, 2);
	Type out;

	if (arg(in, 0)->dtype != DT_bool)
		return refuse(in, "the condition must be a bool, not %s",
			      shown(in, arg(in, 0)));
	if (!join_all(in, &out))
		return false;
	if (a->dtype == DT_index || b->dtype == DT_index) {
		out.axis = MAX(a->axis, b->axis);
		return same_axis(in, a, b) && result(in, &out, DT_index);
	}
	if (!is_number(a->dtype) || !is_number(b->dtype))
		return refuse(in, "cannot choose between %s and %s", shown(in, a),
			      shown(in, b));
	if (a->dtype == DT_bool && b->dtype == DT_bool)
		return result(in, &out, DT_bool);
	return result(in, &out, join_dtype(a->dtype, b->dtype, out.level));
}

/* Where {over} points: an axis 0 .. rank-1, or one of these. */
enum { OVER_TOKENS = -1, OVER_SEQUENCE = -2 };

static bool find_over(Inference *in, int *over)
{
	const Type *x = arg(in, 0);
	const Attr *a = attr_find(in->op, "over");
	bool word = a && (a->kind == AT_WORD || a->kind == AT_STR);

	if (word && strcmp(a->s, "tokens") == 0) {
		*over = OVER_TOKENS;
		if (x->level == LV_TOKEN || x->level == LV_SEQ)
			return true;
		return refuse(in, "over=tokens wants a value of every token, not %s",
			      shown(in, x));
	}
	if (word && strcmp(a->s, "sequence") == 0) {
		*over = OVER_SEQUENCE;
		if (x->level == LV_TOKEN)
			return true;
		return refuse(in, "over=sequence wants a value of every token, not %s",
			      shown(in, x));
	}
	if (!a || a->kind != AT_INT)
		return refuse(in, "over must be an axis, tokens or sequence");
	if (a->i < -(int64_t)x->rank || a->i >= x->rank)
		return refuse(in, "%s has no axis %jd", shown(in, x), (intmax_t)a->i);
	*over = (int)(a->i < 0 ? a->i + x->rank : a->i);
	return true;
}

void drop_axis(Type *t, int axis)
{
	t->rank--;
	for (int i = axis; i < t->rank; i++)
		t->dim[i] = t->dim[i + 1];
	t->dim[t->rank] = 0;
}

static bool reduced_dtype(Inference *in, Dtype x, Dtype *out)
{
	OpKind kind = in->op->kind;

	if (kind == OP_any || kind == OP_all) {
		*out = DT_bool;
		return x == DT_bool || refuse(in, "a bool is wanted, not %s",
					      shown(in, arg(in, 0)));
	}
	*out = kind == OP_mean || kind == OP_logsumexp ? as_float(x) : as_arith(x);
	return numbers(in);
}

static bool infer_reduce(Inference *in)
{
	Type out = *arg(in, 0);
	Dtype dtype;
	int over;

	if (!find_over(in, &over) || !reduced_dtype(in, out.dtype, &dtype))
		return false;
	if (over == OVER_TOKENS)
		out.level = LV_ONCE;
	else if (over == OVER_SEQUENCE)
		out.level = LV_SEQ;
	else
		drop_axis(&out, over);
	return result(in, &out, dtype);
}

static bool infer_along(Inference *in)
{
	const Type *x = arg(in, 0);
	int over;

	return find_over(in, &over) && numbers(in) &&
	       result(in, x, in->op->kind == OP_cumsum ? as_arith(x->dtype)
						       : as_float(x->dtype));
}

static bool infer_rank(Inference *in)
{
	int over;

	return find_over(in, &over) && numbers(in) && result(in, arg(in, 0), DT_i32);
}

bool has_axes(Inference *in, int i, int n)
{
	return arg(in, i)->rank >= n ||
	       refuse(in, "%s needs at least %d ax%s", shown(in, arg(in, i)), n,
		      n == 1 ? "is" : "es");
}

static bool infer_topk(Inference *in)
{
	Type out = *arg(in, 0);
	int64_t k = attr_get_int(in->op, "k", 0);

	if (!numbers(in) || !has_axes(in, 0, 1))
		return false;
	int64_t n = out.dim[out.rank - 1];
	if (k < 1 || k > n)
		return refuse(in, "k = %jd of an axis of %jd", (intmax_t)k, (intmax_t)n);
	out.dim[out.rank - 1] = k;
	out.axis = n;
	return result(in, &out, DT_index);
}

static bool infer_argmax(Inference *in)
{
	Type out = *arg(in, 0);

	if (!numbers(in) || !has_axes(in, 0, 1))
		return false;
	out.axis = out.dim[out.rank - 1];
	drop_axis(&out, out.rank - 1);
	return result(in, &out, DT_index);
}

static Rule *const rules[OP_COUNT] = {
#define OP(name, args, outs, flags, infer, family, meaning) [OP_##name] = infer_##infer,
#include "ops.def"
#undef OP
};

bool infer_op(Module *m, Op *op, const char **why)
{
	Inference in = {.arena = m->arena, .op = op, .why = why};
	const OpInfo *info = &op_info[op->kind];

	if (info->args >= 0 && op->nargs != info->args)
		return refuse(&in, "takes %d operand%s, not %d", info->args,
			      info->args == 1 ? "" : "s", op->nargs);
	if (info->outs >= 0 && op->nouts != info->outs)
		return refuse(&in, "gives %d result%s, not %d", info->outs,
			      info->outs == 1 ? "" : "s", op->nouts);
	if (!rules[op->kind](&in))
		return false;
	for (int i = 0; i < op->nouts; i++) {
		const Type *t = &op->outs[i]->type;
		int64_t n;
		if (!shape_elems(t->dim, t->rank, &n) || n > MAX_ELEMS)
			return refuse(&in, "a result of more than 2^48 entries");
	}
	return true;
}
