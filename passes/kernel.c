/* SPDX-License-Identifier: Apache-2.0
 * kernel: making, merging and tidying kernel ops. */
#include "kernel.h"

#include <string.h>

bool op_is_source(const Op *op)
{
	switch (op->kind) {
	case OP_param: case OP_unpack: case OP_const: case OP_iota:
	case OP_tokens: case OP_step: case OP_position:
		return true;
	default:
		return false;
	}
}

bool kernel_is(const Op *op, const char *kind)
{
	return op->kind == OP_kernel && strcmp(attr_get_str(op, "kind", ""), kind) == 0;
}

const char *over_word(Arena *arena, const Type *type)
{
	switch (type->level) {
	case LV_ONCE:   return "once";
	case LV_EXPERT: return arena_printf(arena, "E%d", type->range);
	case LV_SEQ:    return "S";
	case LV_TOKEN:  return "T";
	case LV_ROW:    return arena_printf(arena, "R%d", type->range);
	}
	ice("a level numbered %d", (int)type->level);
}

bool kernels_alike(const Op *a, const Op *b)
{
	return strcmp(attr_get_str(a, "over", ""), attr_get_str(b, "over", "")) == 0;
}

bool kernel_of_weights(const Op *op)
{
	return op->kind == OP_kernel && attr_get_int(op, "weights", 0);
}

bool value_of_weights(const Value *v)
{
	return v->def && (v->def->kind == OP_param || kernel_of_weights(v->def));
}

Op *kernel_yield(const Op *kernel)
{
	return kernel->regions[0]->last;
}

Value *kernel_inside(const Value *out)
{
	return kernel_yield(out->def)->args[out->index];
}

Op *kernel_first(const Op *kernel, OpKind kind)
{
	for (Op *op = kernel->regions[0]->first; op; op = op->next)
		if (op->kind == kind)
			return op;
	return NULL;
}

/* A copy of a source inside a region, one for all its readers there. */
static Value *source_inside(Fn *fn, Region *r, Value *v)
{
	for (Op *op = r->first; op; op = op->next)
		if (ops_equal(op, v->def))
			return op->outs[0];
	Op *copy = op_clone(fn->module, fn, v->def, &(ValueMap){0});
	op_append(r, copy);
	return copy->outs[0];
}

Op *kernel_wrap(Fn *fn, Op *op, const char *kind, const Type *over)
{
	Module *m = fn->module;
	Op *k = op_new(m, OP_kernel, 0, NULL, op->nouts);
	Region *r = op_add_region(m, fn, k);

	k->loc = op->loc;
	attr_word(m, k, "kind", kind);
	attr_word(m, k, "over", over_word(m->arena, over));
	op_insert_before(op, k);
	op_unlink(op);
	for (int i = 0; i < op->nargs; i++)
		if (op->args[i]->def && op_is_source(op->args[i]->def))
			op->args[i] = source_inside(fn, r, op->args[i]);
	for (int i = 0; i < op->nouts; i++) {
		k->outs[i]->type = op->outs[i]->type;
		k->outs[i]->name = op->outs[i]->name;
		value_replace(fn, op->outs[i], k->outs[i]);
	}
	op_append(r, op);
	op_append(r, op_new(m, OP_yield, op->nouts, op->outs, 0));
	return k;
}

void region_replace(Region *r, Value *old, Value *new)
{
	for (Op *op = r->first; op; op = op->next) {
		for (int i = 0; i < op->nargs; i++)
			if (op->args[i] == old)
				op->args[i] = new;
		for (int i = 0; i < op->nregions; i++)
			region_replace(op->regions[i], old, new);
	}
}

/* The results of `from` become results of `into`: the values stay the same, so that their
 * readers need not know. */
static void adopt_results(Module *m, Op *from, Op *into)
{
	Op *yield = kernel_yield(into), *theirs = kernel_yield(from);
	int n = into->nouts + from->nouts;
	Value **outs = NEWN(m->arena, Value *, (size_t)n);
	Value **args = NEWN(m->arena, Value *, (size_t)n);

	for (int i = 0; i < n; i++) {
		bool ours = i < into->nouts;
		outs[i] = ours ? into->outs[i] : from->outs[i - into->nouts];
		args[i] = ours ? yield->args[i] : theirs->args[i - into->nouts];
		outs[i]->def = into;
		outs[i]->index = i;
	}
	into->outs = outs;
	yield->args = args;
	into->nouts = yield->nargs = n;
}

void kernel_merge(Fn *fn, Op *from, Op *into)
{
	Region *r = into->regions[0], *theirs = from->regions[0];
	Op *front = r->first;

	for (int i = 0; i < from->nouts; i++)
		region_replace(r, from->outs[i], kernel_inside(from->outs[i]));
	for (Op *op = theirs->first, *next; op->next; op = next) {
		next = op->next;
		op_unlink(op);
		op_insert_before(front, op);
	}
	adopt_results(fn->module, from, into);
	op_unlink(from);
	kernel_tidy(fn, into);
}

void kernel_take_schedule(Op *kernel, const Op *from)
{
	kernel->attrs = from->attrs;
	kernel->nattrs = from->nattrs;
	kernel->loc = from->loc;
}

static void drop_unread_results(Fn *fn, Op *k)
{
	Op *yield = kernel_yield(k);
	int n = 0;

	for (int i = 0; i < k->nouts; i++) {
		if (!value_used(fn, k->outs[i]))
			continue;
		k->outs[n] = k->outs[i];
		yield->args[n] = yield->args[i];
		k->outs[n]->index = n;
		n++;
	}
	k->nouts = yield->nargs = n;
}

static bool region_reads(const Region *r, const Op *def)
{
	for (const Op *op = def->next; op; op = op->next)
		if (op_reads(op, def))
			return true;
	return false;
}

/* Sources stand first, each once. */
static void gather_sources(Region *r)
{
	Op *rest = r->first;

	while (op_is_source(rest))
		rest = rest->next;
	for (Op *op = rest, *next; op; op = next) {
		next = op->next;
		if (!op_is_source(op))
			continue;
		op_unlink(op);
		op_insert_before(rest, op);
	}
	for (Op *op = r->first, *next; op != rest; op = next) {
		next = op->next;
		for (Op *twin = r->first; twin != op; twin = twin->next)
			if (ops_equal(twin, op)) {
				region_replace(r, op->outs[0], twin->outs[0]);
				op_unlink(op);
				break;
			}
	}
}

void kernel_tidy(Fn *fn, Op *k)
{
	Region *r = k->regions[0];

	drop_unread_results(fn, k);
	if (k->nouts == 0) {
		op_unlink(k);
		return;
	}
	gather_sources(r);
	for (Op *op = r->last->prev, *prev; op; op = prev) {
		prev = op->prev;
		if (!region_reads(r, op))
			op_unlink(op);
	}
}
