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

bool kernel_yields_routing(const Op *op)
{
	if (op->kind != OP_kernel)
		return false;
	for (const Op *in = op->regions[0]->first; in; in = in->next)
		if (in->kind == OP_stop && attr_find(in, "given"))
			return true;
	return false;
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

/* The results stay the values they are, now the kernel's: their readers need not know. */
static void take_results(Module *m, Op *op, Op *k)
{
	Value **inner = NEWN(m->arena, Value *, (size_t)op->nouts);

	k->outs = op->outs;
	k->nouts = op->nouts;
	for (int i = 0; i < op->nouts; i++) {
		inner[i] = NEW(m->arena, Value);
		*inner[i] = *op->outs[i];
		k->outs[i]->def = k;
	}
	op->outs = inner;
}

Op *kernel_wrap(Fn *fn, Op *op, const char *kind, const Type *over)
{
	Module *m = fn->module;
	Op *k = op_new(m, OP_kernel, 0, NULL, 0);
	Region *r = op_add_region(m, fn, k);

	k->loc = op->loc;
	attr_word(m, k, "kind", kind);
	attr_word(m, k, "over", over_word(m->arena, over));
	op_insert_before(op, k);
	op_unlink(op);
	for (int i = 0; i < op->nargs; i++)
		if (op->args[i]->def && op_is_source(op->args[i]->def))
			op->args[i] = source_inside(fn, r, op->args[i]);
	take_results(m, op, k);
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

static Op *first_work(const Region *r)
{
	Op *op = r->first;

	while (op_is_source(op))
		op = op->next;
	return op;
}

/* The source like op among the first ops of a region. */
static Op *twin_of(const Region *r, const Op *end, const Op *op)
{
	for (Op *twin = r->first; twin != end; twin = twin->next)
		if (ops_equal(twin, op))
			return twin;
	return NULL;
}

/* Sources stand first, each once. */
static void gather_sources(Region *r)
{
	Op *work = first_work(r);

	for (Op *op = work, *next; op; op = next) {
		next = op->next;
		if (!op_is_source(op))
			continue;
		Op *twin = twin_of(r, work, op);
		op_unlink(op);
		if (twin)
			region_replace(r, op->outs[0], twin->outs[0]);
		else
			op_insert_before(work, op);
	}
}

/* The sources of both, each once, then the work of `from`, then the work of `into`. */
static void join_regions(Region *from, Region *into)
{
	Op *work = first_work(into), *end = work;

	for (Op *op = from->first, *next; op->next; op = next) {
		next = op->next;
		bool source = op_is_source(op);
		Op *twin = source ? twin_of(into, end, op) : NULL;
		op_unlink(op);
		if (twin) {
			region_replace(from, op->outs[0], twin->outs[0]);
			continue;
		}
		op_insert_before(work, op);
		if (source && end == work)
			end = op;
	}
}

void kernel_take_schedule(Op *kernel, const Op *from)
{
	kernel->attrs = from->attrs;
	kernel->nattrs = from->nattrs;
	kernel->loc = from->loc;
}

/* Bits of Value.id: read by the ops behind; by those behind in the same kernel. */
enum { READ = 1, READ_INSIDE = 2 };

/* Results of k that `op` reads are marked; *left: how many are not yet. */
static void mark_reads(const Op *op, const Op *k, int *left)
{
	for (int i = 0; i < op->nargs; i++)
		if (op->args[i]->def == k && op->args[i]->id == 0) {
			op->args[i]->id = READ;
			--*left;
		}
	for (int i = 0; i < op->nregions; i++)
		for (const Op *at = op->regions[i]->first; at && *left > 0; at = at->next)
			mark_reads(at, k, left);
}

static void keep_read_results(Op *k)
{
	Op *yield = kernel_yield(k);
	int n = 0;

	for (int i = 0; i < k->nouts; i++) {
		bool read = k->outs[i]->id & READ;
		k->outs[i]->id = 0;
		if (!read)
			continue;
		k->outs[n] = k->outs[i];
		yield->args[n] = yield->args[i];
		k->outs[n]->index = n;
		n++;
	}
	k->nouts = yield->nargs = n;
}

static void drop_unread_work(Region *r)
{
	for (Op *op = r->last, *prev; op; op = prev) {
		bool read = op->nouts == 0;
		prev = op->prev;
		for (int i = 0; i < op->nouts; i++)
			read |= (op->outs[i]->id & READ_INSIDE) != 0;
		if (read)
			mark_operands(op, READ_INSIDE);
		else
			op_unlink(op);
	}
	for (const Op *op = r->first; op; op = op->next)
		unmark_operands(op, READ_INSIDE);
}

/* Those of its results that are read are marked. */
static void drop_unread_results(Op *k)
{
	keep_read_results(k);
	if (k->nouts == 0)
		op_unlink(k);
	else
		drop_unread_work(k->regions[0]);
}

/* Readers are `since` or behind it, most of them close. */
static void drop_unread_since(Op *k, const Op *since)
{
	int left = k->nouts;

	for (const Op *op = since; op && left > 0; op = op->next)
		mark_reads(op, k, &left);
	drop_unread_results(k);
}

void kernel_drop_unread(Op *k)
{
	drop_unread_since(k, k->next);
}

void kernel_merge(Fn *fn, Op *from, Op *into)
{
	Region *r = into->regions[0];
	const Op *since = from->next;

	join_regions(from->regions[0], r);
	for (int i = 0; i < from->nouts; i++)
		region_replace(r, from->outs[i], kernel_inside(from->outs[i]));
	adopt_results(fn->module, from, into);
	op_unlink(from);
	drop_unread_since(into, since);
}

/* Backwards: what reads a kernel was met before it. */
static void drop_in_region(Region *r)
{
	for (Op *op = r->last, *prev; op; op = prev) {
		prev = op->prev;
		if (op->kind == OP_kernel)
			drop_unread_results(op);
		else
			for (int i = 0; i < op->nregions; i++)
				drop_in_region(op->regions[i]);
		if (op->in)
			mark_operands(op, READ);
	}
}

void kernels_drop_unread(Fn *fn)
{
	clear_numbers(fn);
	drop_in_region(fn->body);
	clear_numbers(fn);
}

void kernel_tidy(Fn *fn, Op *k)
{
	gather_sources(k->regions[0]);
	kernel_drop_unread(k);
}
