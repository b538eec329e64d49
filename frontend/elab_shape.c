/* SPDX-License-Identifier: Apache-2.0
 * elab_shape: functions that move entries: choices, axes, shapes. */
#include "elab.h"

#include <string.h>

static Value *tensor(Elab *e, Args *a, int i)
{
	return computed(e, a->arg[i], a->node[i] ? a->node[i]->loc : a->call->loc);
}

/* The same without reading a stored type: entries only move. */
static Value *moved(Elab *e, Args *a, int i)
{
	if (a->arg[i].kind == V_IR)
		return a->arg[i].v;
	return tensor(e, a, i);
}

Val do_take(Elab *e, Args *a)
{
	Value *x[2] = {moved(e, a, 0), NULL};

	if (!x[0])
		return val_poison();
	if (x[0]->type.rank == 0) {
		say(e, E_axes, a->call->loc, NULL,
		    "take chooses along the last axis; this has none");
		return val_poison();
	}
	x[1] = as_tensor(e, a->arg[1], DT_index, x[0]->type.dim[x[0]->type.rank - 1],
			 a->call->loc);
	if (!x[1])
		return val_poison();
	const Type *v = &x[0]->type, *i = &x[1]->type;
	bool rows = v->rank == i->rank;
	for (int d = 0; rows && d + 1 < v->rank; d++)
		rows = v->dim[d] == i->dim[d];
	if (!rows) {
		say(e, E_shapes, a->call->loc, NULL,
		    "take wants one row of choices for each row: %s and %s",
		    shape_words(e, v), shape_words(e, i));
		return val_poison();
	}
	return val_ir(emit(e, OP_take, 2, x, a->call->loc));
}

Val do_onehot(Elab *e, Args *a)
{
	int64_t axis = e->layer->has_experts ? e->layer->experts : 0;

	if (a->arg[0].kind != V_IR && !need_experts(e, a->call->loc))
		return val_poison();
	Value *x = as_tensor(e, a->arg[0], DT_index, axis, a->call->loc);
	if (x && x->type.dtype != DT_index) {
		say(e, E_index_kind, a->call->loc, "make it one: `index(..)`",
		    "%s takes a choice (index), not %s", a->name,
		    type_words(e, &x->type));
		return val_poison();
	}
	return val_ir(x ? emit(e, a->op, 1, &x, a->call->loc) : NULL);
}

Val do_index(Elab *e, Args *a)
{
	Value *x;

	if (!need_experts(e, a->call->loc))
		return val_poison();
	x = as_tensor(e, a->arg[0], DT_i32, 0, a->call->loc);
	if (!x)
		return val_poison();
	if (x->type.dtype != DT_i32) {
		say(e, E_index_kind, a->call->loc, NULL,
		    "index takes whole numbers (i32), not %s", type_words(e, &x->type));
		return val_poison();
	}
	Type t = x->type;
	t.dtype = DT_index;
	t.axis = e->layer->experts;
	return val_ir(op_typed(e, op_start(e, OP_index, 1, &x, 1, a->call->loc), t));
}

Val do_range(Elab *e, Args *a)
{
	Type t = {.dtype = DT_i32, .level = LV_ONCE, .rank = 1};

	if (!need_int(e, a->arg[0], a->node[0]->loc, "the length of a range", 1,
		      MAX_DIM - 1, &t.dim[0]))
		return val_poison();
	return val_ir(op_typed(e, op_start(e, OP_iota, 0, NULL, 1, a->call->loc), t));
}

Val do_split(Elab *e, Args *a)
{
	Value *x = moved(e, a, 0);
	int64_t n, dims[MAX_RANK + 1];

	if (!x || !need_int(e, a->arg[1], a->node[1]->loc, "the number of parts", 1,
			    MAX_DIM, &n))
		return val_poison();
	if (x->type.rank == 0 || x->type.dim[0] % n != 0) {
		say(e, E_split, a->call->loc, NULL,
		    "%s cannot be split into %jd equal parts", type_words(e, &x->type),
		    (intmax_t)n);
		return val_poison();
	}
	dims[0] = n;
	dims[1] = x->type.dim[0] / n;
	for (int i = 1; i < x->type.rank; i++)
		dims[i + 1] = x->type.dim[i];
	return val_ir(reshape_op(e, x, x->type.rank + 1, dims, a->call->loc));
}

Val do_flatten(Elab *e, Args *a)
{
	Value *x = moved(e, a, 0);

	if (!x)
		return val_poison();
	int64_t n = type_elems(&x->type);
	return val_ir(reshape_op(e, x, 1, &n, a->call->loc));
}

Val do_column(Elab *e, Args *a)
{
	Value *x = moved(e, a, 0);
	int64_t dims[MAX_RANK + 1];

	if (a->arg[0].kind == V_NUM)
		return a->arg[0];
	if (!x)
		return val_poison();
	for (int i = 0; i < x->type.rank; i++)
		dims[i] = x->type.dim[i];
	dims[x->type.rank] = 1;
	return val_ir(reshape_op(e, x, x->type.rank + 1, dims, a->call->loc));
}

Val do_concat(Elab *e, Args *a)
{
	Val *v = a->arg;
	Value *x[2];

	if (v[0].kind == V_LIST && v[1].kind == V_LIST) {
		Val *item = NEWN(e->a, Val, (size_t)(v[0].n + v[1].n));
		memcpy(item, v[0].item, (size_t)v[0].n * sizeof *item);
		memcpy(item + v[0].n, v[1].item, (size_t)v[1].n * sizeof *item);
		return val_list(e, item, v[0].n + v[1].n, a->call->loc);
	}
	for (int i = 0; i < 2; i++) {
		bool index = v[1 - i].kind == V_IR && v[1 - i].v->type.dtype == DT_index;
		x[i] = v[i].kind == V_IR ? v[i].v
					 : as_tensor(e, v[i], index ? DT_index : DT_f32,
						     index ? v[1 - i].v->type.axis : 0,
						     a->call->loc);
		if (!x[i])
			return val_poison();
	}
	return val_ir(emit(e, OP_concat, 2, x, a->call->loc));
}

Val do_transpose(Elab *e, Args *a)
{
	Value *x = moved(e, a, 0);

	if (x && x->type.rank < 2) {
		say(e, E_axes, a->call->loc, NULL,
		    "transpose swaps the last two axes; %s has %d",
		    type_words(e, &x->type), x->type.rank);
		return val_poison();
	}
	return val_ir(x ? emit(e, OP_transpose, 1, &x, a->call->loc) : NULL);
}

Val do_zeros(Elab *e, Args *a)
{
	Type t = {.dtype = DT_f32, .level = LV_ONCE};
	double zero = 0;

	if (!shape_eval(e, a->arg[0], a->node[0]->loc, &t))
		return val_poison();
	return val_ir(make_const(e, t, &zero, 1, a->call->loc));
}

Val do_size(Elab *e, Args *a)
{
	Val v = a->arg[0];

	if (v.kind == V_LIST)
		return val_num(v.n);
	if (v.kind == V_JSON)
		return val_num((double)(json_is_array(v.json)
					    ? json_array_size(v.json)
					    : json_object_size(v.json)));
	if (v.kind == V_IR && v.v->type.rank)
		return val_num((double)v.v->type.dim[0]);
	say(e, E_axes, a->call->loc, NULL, "%s has no length", val_words(e, &v));
	return val_poison();
}
