/* SPDX-License-Identifier: Apache-2.0
 * elab_math: the elementwise functions. */
#include "elab.h"

#include <math.h>
#include <string.h>

/* Of a constant, in double as Python would; false: left to the IR. */
static bool fold(OpKind op, double x, double *y)
{
	switch (op) {
	case OP_abs:      *y = fabs(x); return true;
	case OP_exp:      *y = exp(x); return true;
	case OP_log:      *y = log(x); return true;
	case OP_sqrt:     *y = sqrt(x); return true;
	case OP_square:   *y = x * x; return true;
	case OP_sign:     *y = isnan(x) ? x : (x > 0) - (x < 0); return true;
	case OP_floor:    *y = floor(x); return true;
	case OP_ceil:     *y = ceil(x); return true;
	case OP_round:    *y = rint(x); return true;       /* half to even, the default mode */
	case OP_tanh:     *y = tanh(x); return true;
	case OP_erf:      *y = erf(x); return true;
	case OP_sigmoid:  *y = 1 / (1 + exp(-x)); return true;
	case OP_softplus: *y = fmax(x, 0) + log1p(exp(-fabs(x))); return true;
	default:          return false;
	}
}

Val do_math(Elab *e, Args *a)
{
	Val v = a->arg[0];
	bool whole = a->op == OP_floor || a->op == OP_ceil || a->op == OP_round;
	bool keeps = a->op == OP_abs || a->op == OP_square || a->op == OP_sign;
	Dtype d;
	double y;

	if ((v.kind == V_NUM || v.kind == V_BOOL) &&
	    fold(a->op, v.kind == V_NUM ? v.f : v.b, &y))
		return val_num(y);
	arith_types(e, &v, 1, !keeps && !whole, &d);
	Value *x = as_tensor(e, v, d, 0, a->call->loc);
	if (!x || (whole && (x->type.dtype == DT_i32 || x->type.dtype == DT_bool)))
		return val_ir(x);
	return val_ir(emit(e, a->op, 1, &x, a->call->loc));
}

static Val two(Elab *e, OpKind op, Val x, Val y, const Node *at)
{
	if (x.kind == V_NUM && y.kind == V_NUM)
		return val_num(op == OP_min ? fmin(x.f, y.f) : fmax(x.f, y.f));
	return binary_op(e, op, x, y, at);
}

/* max(a, b) is elementwise, max(v) a reduction. */
Val do_minmax(Elab *e, Args *a)
{
	if (a->node[1] && a->node[2]) {
		say(e, E_over, a->call->loc, NULL, "%s of two values has no `over:`",
		    a->name);
		return val_poison();
	}
	if (a->node[1])
		return two(e, a->op, a->arg[0], a->arg[1], a->call);
	a->op = a->op == OP_min ? OP_amin : OP_amax;
	a->node[1] = a->node[2];
	return do_reduce(e, a);
}

Val do_clamp(Elab *e, Args *a)
{
	return two(e, OP_min, two(e, OP_max, a->arg[0], a->arg[1], a->call), a->arg[2],
		   a->call);
}

Val do_where(Elab *e, Args *a)
{
	return select_op(e, a->arg[0], a->arg[1], a->arg[2], a->call);
}

Val do_cast(Elab *e, Args *a)
{
	const Node *t = a->node[1];
	Dtype d = DT_COUNT;

	for (int i = 0; t && t->kind == N_NAME && i < DT_COUNT; i++)
		if (strcmp(t->s, dtype_info[i].name) == 0 && i != DT_index &&
		    i != DT_rows)
			d = (Dtype)i;
	if (d == DT_COUNT) {
		say(e, E_element_type, t ? t->loc : a->call->loc, "`cast(v, bf16)`",
		    "cast takes a value and an element type");
		return val_poison();
	}
	Value *x = as_tensor(e, a->arg[0], DT_f32, 0, a->call->loc);
	return val_ir(as_dtype(e, x, d, a->call->loc));
}

Val do_stop(Elab *e, Args *a)
{
	Value *x;

	if (a->arg[0].kind != V_IR)
		return a->arg[0];
	x = a->arg[0].v;
	return val_ir(emit(e, OP_stop, 1, &x, a->call->loc));
}
