/* SPDX-License-Identifier: Apache-2.0
 * inline-std: calls become the callee's ops, and running experts becomes routing:
 *
 *   %y = experts %pick, %v {fns=[@f], counts=[8]}
 *
 *   %g = group %pick {first=0, count=8}
 *   %r = dispatch %v, %g
 *   ..                            the ops of @f on the rows %r
 *   %y = collect .., %g
 *
 * After it there is no call, no `experts`, no function but the layer, those that a model
 * calls and what loads weights, and every state of a sequence runs through a `scan` (scan.c). */
#include "kernel.h"
#include "../ir/names.h"

#include <string.h>

/* The body of a function in front of `at`; its results through results[]. */
static void paste(Fn *into, const Region *body, Value *const *args, Op *at,
		  Value **results)
{
	Module *m = into->module;
	ValueMap map = {0};

	for (int i = 0; i < body->nargs; i++)
		map_value(m->arena, &map, body->args[i], args[i]);
	for (const Op *op = body->first; op->next; op = op->next)
		op_insert_before(at, op_clone(m, into, op, &map));
	for (int i = 0; i < body->last->nargs; i++)
		results[i] = mapped(&map, body->last->args[i]);
}

/* What stands for the results of ops that are gone: ops behind them take it when it is
 * their turn. */
typedef struct {
	Fn *fn;
	Map stands;                     /* Value -> Value */
} Inline;

static void take_operands(Inline *in, Op *op)
{
	for (int i = 0; i < op->nargs; i++)
		for (Value *v = op->args[i]; v; v = *map_address(&in->stands, v))
			op->args[i] = v;
}

static void replace_op(Inline *in, Op *op, Value *const *results)
{
	for (int i = 0; i < op->nouts; i++) {
		if (!results[i]->name && results[i]->def)
			results[i]->name = op->outs[i]->name;
		*map_address(&in->stands, op->outs[i]) = results[i];
	}
	op_unlink(op);
}

static void inline_call(Inline *in, Op *op)
{
	Fn *fn = in->fn;
	const char *name = attr_get_str(op, "fn", "");
	Fn *callee = fn_find(fn->module, name);

	if (!callee || callee->body->nargs != op->nargs || callee->nouts != op->nouts)
		ice("call of @%s, which does not fit", name);
	Value **results = NEWN(fn->module->arena, Value *, (size_t)op->nouts);
	paste(fn, callee->body, op->args, op, results);
	replace_op(in, op, results);
}

/* One range's experts on their rows, back in the slots of their tokens. */
static Value *run_range(Fn *fn, Op *op, Value *pick, Value *v, const char *name)
{
	Module *m = fn->module;
	Fn *expert = fn_find(m, name);
	bool by_slot = op->args[1]->type.rank == 2;

	if (!expert || expert->body->nargs != 1 || expert->nouts != 1 ||
	    expert->outs[0].rank != 1)
		ice("experts of @%s, which does not fit", name);
	int range = expert->body->args[0]->type.range;
	Type rows = {.dtype = DT_rows, .level = LV_ROW, .range = range};
	Op *group = put_op(op, OP_group, 1, &pick, &rows);
	attr_int(m, group, "first", m->ranges.at[range].first);
	attr_int(m, group, "count", m->ranges.at[range].count);
	Type type = v->type;
	type.level = LV_ROW;
	type.range = range;
	if (by_slot) {
		type.rank = 1;
		type.dim[0] = v->type.dim[1];
		type.dim[1] = 0;
	}
	Op *dispatch = put_op(op, OP_dispatch, 2, (Value *[]){v, group->outs[0]}, &type);
	if (by_slot)
		attr_int(m, dispatch, "slot", 1);
	Value *y;
	paste(fn, expert->body, dispatch->outs, op, &y);
	Type back = type_of(y->type.dtype, LV_TOKEN, 0, 2,
			    (int64_t[]){pick->type.dim[0], y->type.dim[0]});
	return put2(op, OP_collect, y, group->outs[0], &back);
}

static void inline_experts(Inline *in, Op *op)
{
	const Attr *fns = attr_find(op, "fns"), *counts = attr_find(op, "counts");
	Value *pick = per_token(op, op->args[0]), *v = per_token(op, op->args[1]);
	Value *sum = NULL;

	if (!fns || fns->kind != AT_FNS || !counts || counts->kind != AT_INTS ||
	    fns->n != counts->n || fns->n == 0)
		ice("experts: fns and counts do not fit");
	for (int i = 0; i < fns->n; i++) {
		Value *part = run_range(in->fn, op, pick, v, fns->ss[i]);
		sum = sum ? put2(op, OP_add, sum, part, NULL) : part;
	}
	if (sum->type.dtype != op->outs[0]->type.dtype)
		sum = put1(op, OP_cast, sum, &op->outs[0]->type);
	replace_op(in, op, &sum);
}

/* Picks and gates that may be given are given for each token. */
static void give_each_token(Inline *in, Op *op)
{
	Module *m = in->fn->module;
	Value *v = per_token(op, op->args[0]);
	Op *stop = put_op(op, OP_stop, 1, &v, NULL);

	attr_word(m, stop, "given", attr_get_str(op, "given", ""));
	if (attr_find(op, "call"))
		attr_int(m, stop, "call", attr_get_int(op, "call", 0));
	replace_op(in, op, stop->outs);
}

/* Pasted ops are looked at in their turn, so that calls within callees go as well. */
static bool expand(Inline *in, Region *r)
{
	bool changed = false;

	for (Op *op = r->first, *next; op; op = next) {
		Op *before = op->prev;
		next = op->next;
		take_operands(in, op);
		if (op->kind == OP_call)
			inline_call(in, op);
		else if (op->kind == OP_experts)
			inline_experts(in, op);
		else if (op->kind == OP_stop && attr_find(op, "given") &&
			 op->args[0]->type.level != LV_TOKEN)
			give_each_token(in, op);
		else {
			for (int i = 0; i < op->nregions; i++)
				changed |= expand(in, op->regions[i]);
			continue;
		}
		changed = true;
		next = before ? before->next : r->first;
	}
	return changed;
}

static bool is_compiled(const Module *m, const Fn *fn)
{
	bool found = false;

	for (int i = 0; i < m->calls.n && !found; i++)
		found = m->calls.at[i].fn == fn;
	return found;
}

/* @load for the param's load function, and for experts' params @load.N */
static bool loads_a_param(const Module *m, const Fn *fn)
{
	for (int i = 0; i < m->params.n; i++) {
		const char *load = m->params.at[i].load;
		size_t n = load ? strlen(load) : 0;
		if (load && strncmp(fn->name, load, n) == 0 &&
		    (fn->name[n] == '\0' || fn->name[n] == '.'))
			return true;
	}
	return false;
}

bool inline_std(Module *m, PassContext *ctx)
{
	bool changed = false;

	if (m->target)
		return false;           /* kernels are behind this */
	for (Fn *fn = m->fns; fn; fn = fn->next) {
		Arena *scratch = arena_new();
		Inline in = {.fn = fn, .stands.arena = scratch};
		changed |= expand(&in, fn->body);
		arena_free(scratch);
	}
	for (Fn *fn = m->fns ? m->fns->next : NULL, *next; fn; fn = next) {
		next = fn->next;
		if (is_compiled(m, fn) || loads_a_param(m, fn))
			continue;
		fn_remove(m, fn);
		changed = true;
	}
	for (int i = 0; fn_compiled(m, i); i++)
		changed |= form_scans(fn_compiled(m, i));
	return changed;
}
