/* SPDX-License-Identifier: Apache-2.0
 * widen: form-kernels' second step: operands of a stored type that no dot of the target
 * takes, and those of sums over tokens, become f32: exact, no rounding.
 *
 *   %r = dispatch %x, %g : bf16[R0, 64]    ->    %w = cast %x : f32[T, 64]
 *   %h = linear %r, %gate                        %r = dispatch %w, %g : f32[R0, 64]
 *                                                %h = linear %r, %gate
 *
 * A value is widened once, and before its rows are gathered. */
#include "kernel.h"

typedef struct {
	Fn           *fn;
	const Target *target;
	ValueMap      wide;
	bool          changed;
} Widen;

static Op *place_behind(const Widen *w, const Value *v)
{
	const Region *r = v->def ? v->def->in : v->owner ? v->owner : w->fn->body;

	return v->def ? v->def->next : r->first;
}

static Value *widened(Widen *w, Value *v)
{
	Module *m = w->fn->module;
	Value *known = mapped(&w->wide, v), *to;
	Type type = v->type;

	if (dtype_info[type.dtype].computed)
		return v;
	if (known != v)
		return known;
	type.dtype = DT_f32;
	if (v->def && v->def->kind == OP_dispatch) {
		Value *args[2] = {widened(w, v->def->args[0]), v->def->args[1]};
		Op *op = put_op(place_behind(w, v), OP_dispatch, 2, args, &type);
		if (attr_get_int(v->def, "slot", 0))
			attr_int(m, op, "slot", 1);
		to = op->outs[0];
	} else {
		to = put1(place_behind(w, v), OP_cast, v, &type);
	}
	to->name = v->name;
	map_value(m->arena, &w->wide, v, to);
	w->changed = true;
	return to;
}

static void widen_op(Widen *w, Op *op)
{
	const Attr *over = op_info[op->kind].flags & OVER ? attr_find(op, "over") : NULL;

	if (over && over->kind == AT_WORD)
		op->args[0] = widened(w, op->args[0]);
	for (int i = 0; op->kind == OP_linear && i < 2; i++)
		if (!target_dot(w->target, op->args[0]->type.dtype, op->args[1]->type.dtype))
			op->args[i] = widened(w, op->args[i]);
}

static void widen_region(Widen *w, Region *r)
{
	for (Op *op = r->first; op; op = op->next) {
		widen_op(w, op);
		for (int i = 0; i < op->nregions; i++)
			widen_region(w, op->regions[i]);
	}
}

bool widen_operands(Fn *fn, const Target *target)
{
	Widen w = {.fn = fn, .target = target};

	widen_region(&w, fn->body);
	return w.changed;
}
