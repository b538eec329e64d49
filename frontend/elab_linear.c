/* SPDX-License-Identifier: Apache-2.0
 * elab_linear: functions that make something: weights, random numbers, block scales; and
 * require. */
#include "elab.h"

#include <string.h>

/* Inside experts and dense layers a product's input is rounded to the weights' type; in a
 * policy it is not, so that close logits stay apart. */
static Value *rounded(Elab *e, Value *x, const char *name, Dtype w, Loc loc)
{
	bool narrow = w == DT_bf16 || w == DT_f16;

	if (!narrow || e->frame->policy || strcmp(name, "router") == 0)
		return x;
	return as_dtype(e, x, w, loc);
}

/* f32, or as stored: bf16 times bf16 needs no conversion. */
static Value *operand(Elab *e, Val v, Loc loc)
{
	if (v.kind == V_IR && !dtype_info[v.v->type.dtype].computed)
		return v.v;
	return number_f32(e, v, loc);
}

Val do_linear(Elab *e, Args *a)
{
	Loc loc = a->call->loc;
	Value *x[2] = {operand(e, a->arg[0], loc), NULL};
	Dtype w = e->layer->wtype == DT_COUNT ? DT_f32 : e->layer->wtype;
	const char *name;
	bool bias = false;
	int64_t n;

	if (!x[0] ||
	    !need_int(e, a->arg[1], a->node[1]->loc, "linear's width", 1, MAX_DIM, &n) ||
	    !need_str(e, a->arg[2], a->node[2]->loc, "a weight's name", &name) ||
	    (a->node[3] && !need_bool(e, a->arg[3], a->node[3]->loc, "bias", &bias)))
		return val_poison();
	if (x[0]->type.rank == 0) {
		say(e, E_axes, loc, NULL, "linear takes a vector, not a single number");
		return val_poison();
	}
	int64_t dims[2] = {n, x[0]->type.dim[x[0]->type.rank - 1]};
	x[1] = param_make(e, name, type_of(w, LV_ONCE, 0, 2, dims), false, 0, false, loc);
	x[0] = rounded(e, x[0], name, w, loc);
	if (!x[0] || !x[1])
		return val_poison();
	Val y = val_ir(emit(e, OP_linear, 2, x, loc));
	if (!bias)
		return y;
	Value *b = param_make(e, arena_printf(e->a, "%s.bias", name),
			      type_of(w, LV_ONCE, 0, 1, dims), false, 0, false, loc);
	return b ? binary_op(e, OP_add, y, val_ir(b), a->call) : val_poison();
}

Val do_random(Elab *e, Args *a)
{
	bool uniform = a->op == OP_uniform;
	const Node *over = a->node[uniform ? 3 : 1];
	Type t = {.dtype = DT_f32};
	Val low = a->node[1] ? a->arg[1] : val_num(0);
	Val high = a->node[2] ? a->arg[2] : val_num(1);

	if (a->node[0] && !shape_eval(e, a->arg[0], a->node[0]->loc, &t))
		return val_poison();
	if (over && (over->kind != N_NAME || strcmp(over->s, "tokens") != 0)) {
		say(e, E_over, over->loc, NULL,
		    "numbers are drawn for each token, or `over: tokens`");
		return val_poison();
	}
	if (e->frame->range >= 0) {
		say(e, E_misplaced_statement, a->call->loc,
		    "draw it in the layer or its policy",
		    "random numbers inside an expert");
		return val_poison();
	}
	t.level = over ? LV_ONCE : LV_TOKEN;
	Op *op = op_start(e, a->op, 0, NULL, 1, a->call->loc);
	attr_int(e->layer->m, op, "site", e->sites++);
	if (over)
		attr_word(e->layer->m, op, "over", over->s);
	Val u = val_ir(op_typed(e, op, t));
	bool unit = low.kind == V_NUM && high.kind == V_NUM && low.f == 0 && high.f == 1;
	if (!uniform || unit)
		return u;
	Val span = eval_operator(e, O_SUB, high, low, a->call);
	return eval_operator(e, O_ADD, low, eval_operator(e, O_MUL, span, u, a->call),
			     a->call);
}

/* Weights are expanded while they are read, by no compiled code. */
static bool in_weights(Elab *e, const Args *a)
{
	if (!e->frame->layout)
		say(e, E_misplaced_word, a->call->loc, NULL, "%s() stands in `weights` only",
		    a->name);
	return e->frame->layout;
}

Val do_blockwise(Elab *e, Args *a)
{
	Val v = {.kind = V_BLOCKS};

	if (!in_weights(e, a) ||
	    !need_int(e, a->arg[1], a->node[1]->loc, "a block's height", 1, MAX_DIM,
		      &v.rows) ||
	    !need_int(e, a->arg[2], a->node[2]->loc, "a block's width", 1, MAX_DIM,
		      &v.cols))
		return val_poison();
	v.v = number_f32(e, a->arg[0], a->call->loc);
	return v.v ? v : val_poison();
}

/* Both tensors are looked up first: left of `??` a missing one decides. */
Val do_mxfp4(Elab *e, Args *a)
{
	Value *x[2];

	if (!in_weights(e, a))
		return val_poison();
	for (int i = 0; i < 2; i++)
		if (!(x[i] = as_tensor(e, a->arg[i], DT_i32, 0, a->call->loc)))
			return val_poison();
	if (a->op != OP_mxfp4) {
		say(e, E_not_supported, a->call->loc, NULL,
		    "weights stored as %s are not read yet", a->name);
		return val_poison();
	}
	Type t = x[0]->type, s = x[1]->type;
	bool fits = t.rank >= 2 && s.rank == t.rank - 1 && t.dim[t.rank - 1] == 16 &&
		    t.dtype == DT_i32 && s.dtype == DT_i32 &&
		    t.dim[t.rank - 2] <= MAX_DIM / 32;
	for (int i = 0; i < s.rank; i++)
		fits = fits && s.dim[i] == t.dim[i];
	if (!fits) {
		say(e, E_block_scales, a->call->loc, NULL,
		    "mxfp4() takes U8 tensors, [.., n, 16] and [.., n], not %s and %s",
		    type_words(e, &t), type_words(e, &s));
		return val_poison();
	}
	t.dtype = DT_f32;
	t.rank--;
	t.dim[t.rank - 1] *= 32;
	return val_ir(op_typed(e, op_start(e, OP_mxfp4, 2, x, 1, a->call->loc), t));
}

Val do_require(Elab *e, Args *a)
{
	const char *text;
	bool holds;

	if (!need_bool(e, a->arg[0], a->node[0]->loc, "what is required", &holds) ||
	    !need_str(e, a->arg[1], a->node[1]->loc, "the text of require", &text))
		return val_poison();
	if (holds)
		return val_bool(true);
	say(e, E_requirement, a->call->loc, NULL, "%s", text);
	return val_poison();
}
