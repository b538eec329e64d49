/* SPDX-License-Identifier: Apache-2.0
 * branch: form-kernels' first step: an `if` on a value of the call becomes straight code.
 *
 *   %y = if %c { yield %a } { yield %b }    ->    %y = select %c, %a, %b
 *
 * Both sides are computed: right, since nothing there has effects, but paid for twice; a
 * performance note says so. */
#include "kernel.h"

static bool pure_region(const Region *r)
{
	for (const Op *op = r->first; op; op = op->next) {
		const OpInfo *info = &op_info[op->kind];
		bool drawn = op->kind == OP_uniform || op->kind == OP_normal;
		if (op->kind == OP_yield || drawn)
			continue;
		if (op->kind == OP_if) {
			if (!pure_region(op->regions[0]) || !pure_region(op->regions[1]))
				return false;
		} else if (!(info->flags & PURE) || op->nregions) {
			return false;
		}
	}
	return true;
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

	if (branch->outs[i]->type.level == LV_TOKEN && y->type.level != LV_TOKEN)
		y = per_token(branch, y);
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

bool choose_branches(Fn *fn, PassContext *ctx)
{
	bool changed = false;
	Places told = {0};

	for (Op *op = fn->body->first, *next; op; op = next) {
		next = op->next;
		if (op->kind != OP_if || !pure_region(op->regions[0]) ||
		    !pure_region(op->regions[1]))
			continue;
		Op *before = op->prev;
		tell(fn, ctx, &told, op->loc);
		splice(op, op->regions[0]);
		splice(op, op->regions[1]);
		for (int i = 0; i < op->nouts; i++)
			value_replace(fn, op->outs[i], chosen(op, i));
		op_unlink(op);
		next = before ? before->next : fn->body->first;
		changed = true;
	}
	return changed;
}
