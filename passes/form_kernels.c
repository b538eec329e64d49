/* SPDX-License-Identifier: Apache-2.0
 * form-kernels: every op of the layer becomes a kernel of its own, all legal to emit:
 *
 *   %y = linear %x, %w
 *
 *   %y = kernel {kind=contract, over=T, name="w", ..} : f32[T, 8] {
 *     %w = param {name="w"} : f32[8, 16]
 *     %y.1 = linear %x, %w
 *     yield %y.1
 *   }
 *
 * What follows only improves it.  Sources (params, constants) are repeated inside each
 * kernel.  Kernels that compute weights from weights are marked {weights=1}, for `pack`;
 * those that only lead to losses {loss=1}: they run where losses are asked for. */
#include "kernel.h"

#include <string.h>

typedef struct {
	Module *m;
	Fn     *fn;
	const Target *target;
	Vec(struct Named { const char *base; int n; }) names;
} Form;

/* A kernel's name says what it does; the second of a name gets a number. */
static void name_kernel(Form *f, Op *k, const char *base)
{
	int i = 0;

	while (i < f->names.n && strcmp(f->names.at[i].base, base))
		i++;
	if (i == f->names.n)
		vec_push(f->m->arena, &f->names, ((struct Named){base, 0}));
	int n = ++f->names.at[i].n;
	const char *name = n == 1 ? base : arena_printf(f->m->arena, "%s.%d", base, n);
	attr_str(f->m, k, "name", name);
}

static const char *base_name(const Op *op)
{
	const char *name = op->nouts && op->outs[0]->name ? op->outs[0]->name : NULL;

	return name ? name : op_info[op->kind].name;
}

/* Operands that must lie in memory are computed by kernels, sources too. */
static void materialise(Form *f, Op *op, int i)
{
	const Op *def = op->args[i]->def;

	if (!def || !op_is_source(def))
		return;
	Op *copy = op_clone(f->m, f->fn, def, &(ValueMap){0});
	op_insert_before(op, copy);
	op->args[i] = copy->outs[0];
	Op *k = kernel_wrap(f->fn, copy, "map", &copy->outs[0]->type);
	name_kernel(f, k, base_name(copy));
}

static bool is_weight_work(const Op *op)
{
	bool any = false;

	if (!(op_info[op->kind].flags & PURE) || op->nregions)
		return false;
	for (int i = 0; i < op->nargs; i++) {
		const Op *def = op->args[i]->def;
		bool weights = value_of_weights(op->args[i]);
		if (!weights && (!def || (def->kind != OP_const && def->kind != OP_iota)))
			return false;
		any |= weights;
	}
	return any;
}

static bool is_contraction(const Op *op)
{
	const Type *x, *w;

	if (op->kind != OP_linear)
		return false;
	x = &op->args[0]->type;
	w = &op->args[1]->type;
	return (x->level == LV_SEQ || x->level == LV_TOKEN || x->level == LV_ROW) &&
	       x->rank == 1 && w->rank == 2 && value_of_weights(op->args[1]);
}

static const Dot *dot_of(const Form *f, const Op *op)
{
	return target_dot(f->target, op->args[0]->type.dtype, op->args[1]->type.dtype);
}

static void form_contract(Form *f, Op *op)
{
	const Dot *dot = dot_of(f, op);

	if (!dot)
		ice("%s has no dot for f32 and f32", f->target->name);
	materialise(f, op, 0);
	const Op *w = op->args[1]->def;
	const char *name = attr_get_str(w, "name", "");
	if (w->kind != OP_param)
		name = base_name(op);
	Op *k = kernel_wrap(f->fn, op, "contract", &op->outs[0]->type);
	name_kernel(f, k, name);
	attr_int(f->m, k, "rows", 1);
	attr_int(f->m, k, "vectors", 1);
	attr_int(f->m, k, "cols", f->target->vector_bits / 32);
	attr_int(f->m, k, "kblock", 0);
	attr_str(f->m, k, "dot", dot->how);
}

static bool crosses_rows(const Op *op)
{
	const Attr *over = attr_find(op, "over");

	return op_info[op->kind].flags & OVER && over && over->kind == AT_WORD;
}

static void form_map(Form *f, Op *op)
{
	const char *name = base_name(op);
	bool weights = is_weight_work(op);
	Op *k = kernel_wrap(f->fn, op, "map", &op->outs[0]->type);

	name_kernel(f, k, name);
	if (weights)
		attr_int(f->m, k, "weights", 1);
}

static void form_op(Form *f, Op *op)
{
	const char *name = base_name(op);

	if (is_contraction(op)) {
		form_contract(f, op);
	} else if (crosses_rows(op)) {
		materialise(f, op, 0);
		Type over = op->args[0]->type;
		name_kernel(f, kernel_wrap(f->fn, op, "cross", &over), name);
	} else if (op->kind == OP_group) {
		materialise(f, op, 0);
		name_kernel(f, kernel_wrap(f->fn, op, "group", &op->outs[0]->type), name);
	} else {
		form_map(f, op);
	}
}

static void form_region(Form *f, Region *r)
{
	for (Op *op = r->first, *next; op; op = next) {
		next = op->next;
		if (op_is_source(op) || op->kind == OP_state || op->kind == OP_kernel)
			continue;
		for (int i = 0; i < op->nregions; i++)
			form_region(f, op->regions[i]);
		if (op_info[op->kind].family != FAM_CTRL && op_info[op->kind].outs)
			form_op(f, op);
		else
			for (int i = 0; i < op->nargs; i++)
				materialise(f, op, i);
	}
	for (Op *op = r->first, *next; op; op = next) {
		next = op->next;
		if (op_is_source(op))
			op_unlink(op);          /* its readers have their own */
	}
}

/* Kernels that nothing but the losses needs get {loss=1}.  Value.id: 1 is needed. */
static void mark_losses(Module *m, Region *r, int nlosses)
{
	if (nlosses == 0)
		return;
	clear_numbers(r->fn);
	for (Op *op = r->last; op; op = op->prev) {
		bool needed = op->kind != OP_kernel && op->kind != OP_return;
		needed |= kernel_yields_routing(op);
		for (int i = 0; i < op->nouts; i++)
			needed |= op->outs[i]->id == 1;
		for (int i = 0; op->kind == OP_return && i < op->nargs - nlosses; i++)
			op->args[i]->id = 1;
		if (needed)
			mark_operands(op, 1);
		else if (op->kind == OP_kernel)
			attr_int(m, op, "loss", 1);
	}
}

static void form_fn(Module *m, PassContext *ctx, Fn *fn, int nlosses)
{
	Form f = {.m = m, .fn = fn, .target = ctx->target};

	choose_branches(fn, ctx);
	widen_operands(fn, ctx->target);
	form_region(&f, fn->body);
	mark_losses(m, fn->body, nlosses);
}

bool form_kernels(Module *m, PassContext *ctx)
{
	if (m->target)
		return false;
	if (!ctx->target)
		ice("form-kernels without a target");
	m->target = ctx->target->name;
	form_fn(m, ctx, m->fns, m->nlosses);
	for (int i = 0; i < m->calls.n; i++)
		form_fn(m, ctx, m->calls.at[i].fn, m->calls.at[i].nlosses);
	return true;
}
