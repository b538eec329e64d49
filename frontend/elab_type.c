/* SPDX-License-Identifier: Apache-2.0
 * elab_type: elements and shapes, and constants that become tensors beside one. */
#include "elab.h"

#include <math.h>
#include <string.h>

enum { MAX_ELEMS_LOG2 = 40 };

static bool dtype_named(Elab *e, const Node *n, Dtype *out)
{
	const char *names[DT_COUNT + 1];
	int known = 0;

	if (strcmp(n->s, "stored") == 0) {
		if (!e->in_family) {
			say(e, E_misplaced_word, n->loc, "name the type: `bf16`",
			    "`stored` is the type of a family's checkpoint");
			return false;
		}
		*out = e->layer->stored;
		return true;
	}
	for (int i = 0; i < DT_COUNT; i++) {
		if (i == DT_rows || i == DT_f64)
			continue;
		if (strcmp(n->s, dtype_info[i].name) == 0) {
			*out = (Dtype)i;
			return true;
		}
		names[known++] = dtype_info[i].name;
	}
	names[known++] = "stored";
	const char *fix = fix_near(e, n->s, names, known);
	say(e, E_element_type, n->loc, fix ? fix : arena_printf(e->a, "there are %s",
						list_text(e, names, known)),
	    "there is no element type `%s`", n->s);
	return false;
}

static bool bounded(Elab *e, const Type *t, Loc loc)
{
	int64_t n;

	if (shape_elems(t->dim, t->rank, &n) && n <= (int64_t)1 << MAX_ELEMS_LOG2)
		return true;
	say(e, E_limit, loc, NULL, "%s is more than 2^%d entries", shape_words(e, t),
	    MAX_ELEMS_LOG2);
	return false;
}

/* A name of one letter or two that is bound nowhere: how others call the tokens. */
static bool is_free(Elab *e, const Node *n)
{
	return n->kind == N_NAME && strlen(n->s) <= 2 && !is_known(e, n->s);
}

/* Trailing shape and element of a written type; level once, or token where [T, ..]. */
bool type_eval(Elab *e, const Node *n, bool input, Type *out, bool *has_t)
{
	Type t = {.level = LV_ONCE};

	*has_t = false;
	if (!dtype_named(e, n, &t.dtype))
		return false;
	for (int i = 0; i < n->nkids; i++) {
		const Node *k = n->kids[i];
		int64_t dim;
		if (input && i == 0 && k->kind == N_NAME && strcmp(k->s, "T") == 0) {
			*has_t = true;
			t.level = LV_TOKEN;
			continue;
		}
		if (t.rank == MAX_RANK) {
			say(e, E_limit, n->loc, NULL, "more than %d axes", MAX_RANK);
			return false;
		}
		if (input && i == 0 && is_free(e, k)) {
			say(e, E_unknown_name, k->loc, "the number of tokens is `T`",
			    "there is no `%s` here", k->s);
			return false;
		}
		if (!need_int(e, eval(e, k), k->loc, "the length of an axis", 1, MAX_DIM,
			      &dim))
			return false;
		t.dim[t.rank++] = dim;
	}
	if (t.dtype == DT_index) {
		if (!need_experts(e, n->loc))
			return false;
		t.axis = e->layer->experts;
	}
	*out = t;
	return bounded(e, &t, n->loc);
}

/* A shape given as a value: [a, b] or n; poison stays silent. */
bool shape_eval(Elab *e, Val v, Loc loc, Type *out)
{
	Val one = v;
	const Val *item = v.kind == V_LIST ? v.item : &one;
	int n = v.kind == V_LIST ? v.n : 1;

	if (v.kind == V_POISON)
		return false;
	out->rank = 0;
	if (n > MAX_RANK) {
		say(e, E_limit, loc, NULL, "more than %d axes", MAX_RANK);
		return false;
	}
	for (int i = 0; i < n; i++)
		if (!need_int(e, item[i], loc, "the length of an axis", 1, MAX_DIM,
			      &out->dim[out->rank++]))
			return false;
	return bounded(e, out, loc);
}

Value *as_dtype(Elab *e, Value *v, Dtype d, Loc loc)
{
	if (!v || v->type.dtype == d)
		return v;
	Type t = v->type;
	t.dtype = d;
	t.axis = 0;
	return op_typed(e, op_start(e, OP_cast, 1, &v, 1, loc), t);
}

Value *make_const(Elab *e, Type t, const double *f, int n, Loc loc)
{
	Op *op = op_start(e, OP_const, 0, NULL, 1, loc);

	attr_floats(e->layer->m, op, "value", f, n);
	e->ops += n / 64;               /* long ones are not free */
	return op_typed(e, op, t);
}

/* One number of a constant, where its element can hold it; none is -1. */
static bool entry(Elab *e, const Val *v, const Type *t, double *to, Loc loc)
{
	double most = t->axis ? (double)t->axis - 1 : MAX_DIM;

	*to = v->kind == V_NUM ? v->f : v->kind == V_BOOL ? v->b : -1;
	if (v->kind != V_NUM && v->kind != V_BOOL && v->kind != V_NONE)
		say(e, E_types, loc, NULL, "a number is wanted here, not %s",
		    val_words(e, v));
	else if (t->dtype == DT_index && v->kind != V_NONE && !is_whole(*to, 0, most))
		say(e, E_index_range, loc, NULL,
		    "there is no entry %.17g in an axis of %.17g", *to, most + 1);
	else if (t->dtype == DT_bool && v->kind == V_NUM)
		say(e, E_constant_range, loc, NULL, "%.17g is neither true nor false",
		    *to);
	else if (t->dtype == DT_i32 && !is_whole(*to, INT32_MIN, INT32_MAX))
		say(e, E_constant_range, loc, NULL, "%.17g is no whole number of 32 bits",
		    *to);
	else
		return true;
	return false;
}

/* Writes the numbers of a constant row by row; the first items give the shape, and all
 * others must have it. */
static bool flatten(Elab *e, const Val *v, int depth, Type *t, double *to, int *n,
		    Loc loc)
{
	if (v->kind == V_LIST) {
		if (v->n == 0) {
			say(e, E_list_shape, loc, NULL, "an empty list has no element");
			return false;
		}
		if (depth >= t->rank && *n == 0)
			t->dim[t->rank++] = v->n;
		if (depth >= t->rank || t->dim[depth] != v->n) {
			say(e, E_list_shape, loc, NULL,
			    "the rows of a list differ in length");
			return false;
		}
		for (int i = 0; i < v->n; i++)
			if (!flatten(e, &v->item[i], depth + 1, t, to, n, loc))
				return false;
		return true;
	}
	if (depth != t->rank) {
		say(e, E_list_shape, loc, NULL, "the rows of a list differ in shape");
		return false;
	}
	return entry(e, v, t, &to[(*n)++], loc);
}

static bool has_none(const Val *v)
{
	bool found = v->kind == V_NONE;

	for (int i = 0; v->kind == V_LIST && !found && i < v->n; i++)
		found = has_none(&v->item[i]);
	return found;
}

/* A constant as a tensor of dtype d; a tensor so that it may stand beside one of d. */
Value *as_tensor(Elab *e, Val v, Dtype d, int64_t axis, Loc loc)
{
	if (v.kind == V_POISON)
		return NULL;
	if (v.kind == V_STR && e->frame->layout)
		return layout_tensor(e, v.s, loc);
	if (v.kind == V_BLOCKS) {
		say(e, E_block_scales, loc, "write `\"weight\" * blockwise(..)`",
		    "blockwise() only multiplies a tensor");
		return NULL;
	}
	if (v.kind == V_IR) {
		if (v.v->type.dtype == DT_index && d != DT_index)
			return as_dtype(e, v.v, DT_i32, loc);
		if (v.v->type.dtype == DT_f64 && d == DT_f32)
			return as_dtype(e, v.v, DT_f32, loc);
		return v.v;
	}
	if (has_none(&v) && d != DT_index) {
		say(e, E_none_value, loc, NULL, "`none` is a choice and no number");
		return NULL;
	}
	Type t = {.dtype = d, .axis = d == DT_index ? axis : 0};
	double *f = NEWN(e->a, double, (size_t)v.entries + 1);
	int n = 0;
	if (!flatten(e, &v, 0, &t, f, &n, loc))
		return NULL;
	return make_const(e, t, f, n, loc);
}

static bool all_whole(const Val *v)
{
	if (v->kind == V_LIST) {
		for (int i = 0; i < v->n; i++)
			if (!all_whole(&v->item[i]))
				return false;
		return true;
	}
	return v->kind == V_BOOL || v->kind == V_NONE ||
	       (v->kind == V_NUM && is_whole(v->f, INT32_MIN, INT32_MAX));
}

/* The element in which these meet: f64 for call scalars alone, i32 where all are whole,
 * else f32.  real: a quotient or a function, never i32. */
bool arith_types(Elab *e, const Val *v, int n, bool real, Dtype *out)
{
	bool f32 = false, f64 = false, ints = true;

	for (int i = 0; i < n; i++) {
		if (v[i].kind == V_STR && e->frame->layout) {
			f32 = true;
			continue;
		}
		if (v[i].kind != V_IR) {
			ints = ints && all_whole(&v[i]);
			continue;
		}
		const Type *t = &v[i].v->type;
		bool whole = t->dtype == DT_i32 || t->dtype == DT_bool ||
			     t->dtype == DT_index;
		f64 = f64 || t->dtype == DT_f64;
		f32 = f32 || (t->dtype != DT_f64 && !whole);
		ints = ints && whole;
	}
	for (int i = 0; f64 && !f32 && i < n; i++)
		f32 = v[i].kind == V_IR &&
		      (v[i].v->type.rank || v[i].v->type.level != LV_ONCE);
	*out = f32 ? DT_f32 : f64 ? DT_f64 : ints && !real ? DT_i32 : DT_f32;
	return true;
}

Value *number(Elab *e, Val v, Loc loc)
{
	Dtype d;

	arith_types(e, &v, 1, true, &d);
	return as_tensor(e, v, d, 0, loc);
}

Value *number_f32(Elab *e, Val v, Loc loc)
{
	Value *t = as_tensor(e, v, DT_f32, 0, loc);

	if (t && t->type.dtype != DT_f32)
		t = as_dtype(e, t, DT_f32, loc);
	return t;
}

/* Any value as a tensor of a type that ops compute in. */
Value *computed(Elab *e, Val v, Loc loc)
{
	if (v.kind == V_IR)
		return dtype_info[v.v->type.dtype].computed
			   ? v.v
			   : as_dtype(e, v.v, DT_f32, loc);
	if (v.kind == V_NONE || has_none(&v))
		return as_tensor(e, v, DT_index, e->layer->experts, loc);
	return as_tensor(e, v, v.kind == V_BOOL ? DT_bool : DT_f32, 0, loc);
}

bool shapes_join(const Type *a, const Type *b, Type *out)
{
	Type t[2] = {*a, *b};

	return infer_broadcast(t, 2, out);
}

bool meet_axis(Elab *e, const Type *a, const Type *b, Loc loc)
{
	if (a->axis == b->axis || !a->axis || !b->axis)
		return true;
	say(e, E_index_kind, loc, NULL,
	    "these choose along different axes: one of %jd, one of %jd",
	    (intmax_t)a->axis, (intmax_t)b->axis);
	return false;
}

static bool list_type(Elab *e, const Val *v, Type *t)
{
	*t = (Type){.level = LV_ONCE};
	for (; v->kind == V_LIST && v->n && t->rank < MAX_RANK; v = &v->item[0])
		t->dim[t->rank++] = v->n;
	return true;
}

static bool join_index(Elab *e, const Val *v, int n, Loc loc, Type *out)
{
	for (int i = 0; i < n; i++) {
		if (v[i].kind == V_IR && v[i].v->type.dtype != DT_index) {
			say(e, E_index_kind, loc, NULL,
			    "a choice (index) and %s do not meet",
			    type_words(e, &v[i].v->type));
			return false;
		}
		if (v[i].kind != V_IR && !all_whole(&v[i])) {
			say(e, E_index_kind, loc, NULL, "%s is no choice",
			    val_words(e, &v[i]));
			return false;
		}
		if (v[i].kind != V_IR)
			continue;
		if (!meet_axis(e, out, &v[i].v->type, loc))
			return false;
		out->axis = MAX(out->axis, v[i].v->type.axis);
	}
	out->dtype = DT_index;
	return true;
}

/* What these are together, where one of them is taken: element, shape and level. */
bool join_vals(Elab *e, const Val *v, int n, Loc loc, Type *out)
{
	bool index = false, bools = true, none = false;
	Type t = {.level = LV_ONCE};

	for (int i = 0; i < n; i++) {
		Type its;
		if (v[i].kind == V_POISON)
			return false;
		if (v[i].kind == V_IR)
			its = v[i].v->type;
		else
			list_type(e, &v[i], &its);
		index = index || (v[i].kind == V_IR && its.dtype == DT_index);
		none = none || has_none(&v[i]);
		bools = bools && (v[i].kind == V_IR ? its.dtype == DT_bool
						     : v[i].kind == V_BOOL ||
						       (v[i].kind == V_LIST && v[i].n &&
							v[i].item[0].kind == V_BOOL));
		its.axis = 0;
		if (!shapes_join(&t, &its, &t)) {
			say(e, E_shapes, loc,
			    "they are aligned at the last axis: each pair is equal, or "
			    "one is 1",
			    "shapes %s and %s do not broadcast", shape_words(e, &t),
			    shape_words(e, &its));
			return false;
		}
	}
	*out = t;
	if (index || none) {
		if (!index)
			out->axis = e->layer->experts;
		return join_index(e, v, n, loc, out);
	}
	if (bools)
		out->dtype = DT_bool;
	else
		arith_types(e, v, n, false, &out->dtype);
	if (out->dtype == DT_f64 && out->level != LV_ONCE)
		out->dtype = DT_f32;
	return true;
}

/* v with exactly the element of t; a constant with its shape too. */
Value *bring(Elab *e, Val v, const Type *t, Loc loc)
{
	Value *x = as_tensor(e, v, t->dtype, t->axis, loc);

	if (!x)
		return NULL;
	if (v.kind != V_IR && x->type.rank == 0 && t->rank) {
		Type full = *t;
		full.level = LV_ONCE;
		x = make_const(e, full, attr_find(x->def, "value")->fs, 1, loc);
	}
	return t->dtype == DT_index ? x : as_dtype(e, x, t->dtype, loc);
}
