/* SPDX-License-Identifier: Apache-2.0
 * branch: form-kernels' first step: an `if` that costs little becomes straight code.
 *
 *   %y = if %c { yield %a } { yield %b }    ->    %y = select %c, %a, %b
 *
 * Both sides are computed: right, since nothing there has effects.  On a value of the call
 * both are paid for, and a performance note says so.  Where tokens differ, only entry by
 * entry work is done twice, which costs less than putting tokens together; anything else
 * stays a branch that a token pays for when it takes it.  Among the rows of experts nothing
 * can be put together yet: there, too, both sides are computed. */
#include "kernel.h"

static bool is_pure(const Op *op)
{
	bool drawn = op->kind == OP_uniform || op->kind == OP_normal;

	return op->kind == OP_yield || drawn ||
	       (op_info[op->kind].flags & PURE && op->nregions == 0);
}

static bool is_pure_region(const Region *r)
{
	for (const Op *op = r->first; op; op = op->next)
		if (!is_pure(op))
			return false;
	return true;
}

/* Entry by entry and axis by axis of one token. */
static bool is_cheap(const Region *r)
{
	for (const Op *op = r->first; op; op = op->next) {
		const Attr *over = attr_find(op, "over");
		Family family = op_info[op->kind].family;
		bool own = family == FAM_SRC || family == FAM_EW || family == FAM_ROW;
		if (op->kind != OP_yield && (!own || op->kind == OP_tokens))
			return false;
		if (over && over->kind == AT_WORD)
			return false;
	}
	return true;
}

static bool takes_both(const Op *op)
{
	const Region *yes, *no;

	if (op->kind != OP_if && op->kind != OP_where)
		return false;
	yes = op->regions[0];
	no = op->regions[1];
	bool each = op->kind == OP_where && op->args[0]->type.level == LV_TOKEN;
	return is_pure_region(yes) && is_pure_region(no) &&
	       (!each || (is_cheap(yes) && is_cheap(no)));
}

static void splice(Op *branch, Region *r)
{
	for (Op *op = r->first, *next; op; op = next) {
		next = op->next;
		if (op->kind == OP_yield)
			continue;
		op_unlink(op);
		op_insert_before(branch, op);
	}
}

static Value *chosen(Op *branch, int i)
{
	Value *args[3] = {branch->args[0], branch->regions[0]->last->args[i],
			  branch->regions[1]->last->args[i]};
	Value *y = put_op(branch, OP_select, 3, args, NULL)->outs[0];
	const Type *type = &branch->outs[i]->type;

	if (type->level == LV_TOKEN && y->type.level != LV_TOKEN)
		y = per_token(branch, y);
	if (type->dtype != y->type.dtype)       /* stored: both sides are, so nothing is lost */
		y = put1(branch, OP_cast, y, type);
	y->name = branch->outs[i]->name;
	return y;
}

typedef Vec(Loc) Places;

/* Once a place: loops are unrolled, and a model's layers are there twice. */
static void tell(const Fn *fn, PassContext *ctx, Places *told, Loc at)
{
	for (int i = 0; i < told->n; i++)
		if (told->at[i].file == at.file && told->at[i].line == at.line &&
		    told->at[i].col == at.col)
			return;
	vec_push(ctx->arena, told, at);
	if (fn == fn->module->fns)
		diag_perf(ctx->diag, at, "both sides of this `if` are computed");
}

static bool choose_in(Region *r, PassContext *ctx, Places *told)
{
	bool changed = false;

	for (Op *op = r->first, *next; op; op = next) {
		next = op->next;
		for (int i = 0; i < op->nregions; i++)
			changed |= choose_in(op->regions[i], ctx, told);
		if (!takes_both(op))
			continue;
		if (op->kind == OP_if || op->args[0]->type.level != LV_TOKEN)
			tell(r->fn, ctx, told, op->loc);
		splice(op, op->regions[0]);
		splice(op, op->regions[1]);
		for (int i = 0; i < op->nouts; i++)
			value_replace(r->fn, op->outs[i], chosen(op, i));
		op_unlink(op);
		changed = true;
	}
	return changed;
}

bool choose_branches(Fn *fn, PassContext *ctx)
{
	Places told = {0};

	return choose_in(fn->body, ctx, &told);
}
