/* SPDX-License-Identifier: Apache-2.0
 * verify: everything a pass may rely on.  Here: how modules, functions, regions, ops and
 * values hang together and which values may be used where; verify_op.c, verify_route.c
 * and verify_region.c: each op's own rules; verify_module.c: declarations and the call
 * graph. */
#include "verify.h"

#include <string.h>

bool rule(Verify *v, bool holds, const char *fmt, ...)
{
	va_list args;

	if (holds || v->why)
		return holds;
	Text text = text_new(v->m->arena);
	if (v->fn)
		text_printf(&text, "@%s: ", v->fn->name);
	if (v->op) {
		print_op(&text, v->op);
		text_add(&text, ": ");
	}
	va_start(args, fmt);
	text_add(&text, arena_vprintf(v->scratch, fmt, args));
	va_end(args);
	v->why = text.s;
	return false;
}

const char *type_text(Verify *v, const Type *t)
{
	Text text = text_new(v->scratch);

	print_type(&text, t);
	return text.s;
}

Fn *verify_fn_named(Verify *v, const char *name)
{
	Fn *fn = *map_text(&v->fns, name);

	rule(v, fn, "there is no function @%s", name);
	return fn;
}

bool serves(const Type *value, const Type *to)
{
	Type same = *value, joined;
	bool meets = infer_broadcast((Type[]){*to, *value}, 2, &joined) &&
		     joined.level == to->level;

	same.level = to->level;
	same.range = to->range;
	if (value->dtype == DT_index && value->axis == 0)
		same.axis = to->axis;
	return meets && type_equal(&same, to);
}

bool verify_type(Verify *v, const Type *t)
{
	int64_t n;

	if (!rule(v, t->dtype >= 0 && t->dtype < DT_COUNT && t->level >= LV_ONCE &&
			 t->level <= LV_ROW && t->rank >= 0 && t->rank <= MAX_RANK,
		  "a type that is none"))
		return false;
	for (int i = 0; i < t->rank; i++)
		if (!rule(v, t->dim[i] >= 1, "%s has an axis without entries",
			  type_text(v, t)))
			return false;
	if (t->level == LV_EXPERT || t->level == LV_ROW)
		if (!rule(v, t->range >= 0 && t->range < v->m->ranges.n,
			  "%s is of an expert range that does not exist",
			  type_text(v, t)))
			return false;
	return rule(v, shape_elems(t->dim, t->rank, &n) && n <= MAX_ELEMS,
		    "more than 2^48 entries") &&
	       rule(v, t->dtype != DT_f64 || t->level == LV_ONCE,
		    "f64 is for what exists once") &&
	       rule(v, t->dtype != DT_rows || (t->level == LV_ROW && t->rank == 0),
		    "rows are of a range and have no shape") &&
	       rule(v, t->dtype != DT_index || (t->axis >= 0 && t->axis <= MAX_ELEMS),
		    "an index of a negative axis");
}

/* ---- ops ---- */

static bool arity(Verify *v, const Op *op)
{
	static const struct {
		OpKind kind;
		int regions;
	} carries[] = {{OP_if, 2}, {OP_where, 2}, {OP_repeat, 1}, {OP_scan, 1},
		       {OP_kernel, 1}};
	const OpInfo *info = &op_info[op->kind];
	int regions = 0;

	for (size_t i = 0; i < COUNT(carries); i++)
		if (carries[i].kind == op->kind)
			regions = carries[i].regions;
	return rule(v, info->args < 0 || op->nargs == info->args, "takes %d operands",
		    info->args) &&
	       rule(v, info->outs < 0 || op->nouts == info->outs, "gives %d results",
		    info->outs) &&
	       rule(v, op->nregions == regions, "has %d regions, not %d", regions,
		    op->nregions);
}

static bool operands(Verify *v, const Op *op)
{
	for (int i = 0; i < op->nargs; i++)
		if (!rule(v, op->args[i] && *map_address(&v->visible, op->args[i]),
			  "operand %d is not defined here", i))
			return false;
	for (int i = 0; i < op->nouts; i++)
		if (!rule(v, op->outs[i]->def == op && op->outs[i]->index == i,
			  "result %d is not its own", i) ||
		    !verify_type(v, &op->outs[i]->type))
			return false;
	for (int i = 0; i < op->nattrs; i++)
		if (!rule(v, attr_find(op, op->attrs[i].name) == &op->attrs[i],
			  "two attributes '%s'", op->attrs[i].name))
			return false;
	return true;
}

/* From form-kernels on, what is compiled computes in kernels and nowhere else. */
static bool at_kernel_level(Verify *v, const Op *op)
{
	bool plain = op_info[op->kind].family == FAM_CTRL || op->kind == OP_kernel ||
		     op->kind == OP_state || op->kind == OP_next || op->kind == OP_defer;

	return rule(v, !v->m->target || !v->compiled || v->in_kernel || plain,
		    "stands outside of a kernel");
}

static bool check_region(Verify *v, Region *r, const Op *op);

static bool check_op(Verify *v, Op *op)
{
	v->op = NULL;
	if (!rule(v, op->kind >= 0 && op->kind < OP_COUNT, "an op that is none"))
		return false;
	v->op = op;
	if (!arity(v, op) || !operands(v, op) || !at_kernel_level(v, op))
		return false;
	bool outer = v->in_kernel;
	if (op->kind == OP_kernel) {
		if (!rule(v, v->m->target, "a kernel, but no target") ||
		    !rule(v, !v->in_kernel, "a kernel in a kernel"))
			return false;
		v->in_kernel = true;
	}
	for (int i = 0; i < op->nregions; i++)
		if (!check_region(v, op->regions[i], op))
			return false;
	v->in_kernel = outer;
	v->op = op;
	if (!verify_op(v, op))
		return false;
	for (int i = 0; i < op->nouts; i++)
		*map_address(&v->visible, op->outs[i]) = op->outs[i];
	return true;
}

static bool check_args(Verify *v, const Region *r)
{
	for (int i = 0; i < r->nargs; i++) {
		Value *arg = r->args[i];
		if (!rule(v, !arg->def && arg->owner == r && arg->index == i,
			  "argument %d of a region is not its own", i) ||
		    !verify_type(v, &arg->type))
			return false;
		*map_address(&v->visible, arg) = arg;
	}
	return true;
}

static bool check_ops(Verify *v, const Region *r, const Op *op)
{
	OpKind end = op ? OP_yield : OP_return;
	Op *prev = NULL;

	for (Op *at = r->first; at; prev = at, at = at->next) {
		v->op = op;
		if (!rule(v, at->in == r && at->prev == prev, "its ops are not linked") ||
		    !check_op(v, at) ||
		    !rule(v, (at->kind != OP_yield && at->kind != OP_return) || !at->next,
			  "ends its region, but ops follow"))
			return false;
	}
	v->op = op;
	return rule(v, r->last == prev && prev && prev->kind == end,
		    op ? "a region must end in yield" : "a function must end in return");
}

static bool check_region(Verify *v, Region *r, const Op *op)
{
	if (!rule(v, r->op == op && r->fn == v->fn, "a region that is another's") ||
	    !rule(v, v->depth < DEEPEST, "regions nested more than %d deep", DEEPEST))
		return false;
	v->depth++;
	if (!check_args(v, r) || !check_ops(v, r, op))
		return false;
	v->depth--;
	for (int i = 0; i < r->nargs; i++)
		*map_address(&v->visible, r->args[i]) = NULL;
	for (Op *at = r->first; at; at = at->next)
		for (int i = 0; i < at->nouts; i++)
			*map_address(&v->visible, at->outs[i]) = NULL;
	return true;
}

/* ---- functions ---- */

static bool find_fns(Verify *v)
{
	for (Fn *fn = v->m->fns; fn; fn = fn->next) {
		void **place = map_text(&v->fns, fn->name);
		if (!rule(v, !*place, "two functions @%s", fn->name) ||
		    !rule(v, *fn->name, "a function without a name") ||
		    !rule(v, fn->module == v->m, "@%s is of another module", fn->name))
			return false;
		*place = fn;
	}
	return rule(v, v->m->fns && strcmp(v->m->fns->name, "layer") == 0,
		    "the first function must be @layer") &&
	       rule(v, v->m->nlosses >= 0 && v->m->nlosses <= v->m->fns->nouts,
		    "%d losses of %d results of @layer", v->m->nlosses, v->m->fns->nouts);
}

static bool check_fn(Verify *v, Fn *fn)
{
	v->fn = fn;
	v->op = NULL;
	v->compiled = fn == v->m->fns;
	for (int i = 0; i < v->m->calls.n; i++)
		v->compiled |= v->m->calls.at[i].fn == fn;
	v->visible = (Map){.arena = v->scratch};
	for (int i = 0; i < fn->nouts; i++)
		if (!verify_type(v, &fn->outs[i]))
			return false;
	return check_region(v, fn->body, NULL);
}

bool verify(Module *m, const char **why)
{
	Arena *scratch = arena_new();
	Verify v = {.m = m, .scratch = scratch, .fns.arena = scratch,
		    .declared.arena = scratch};
	bool ok = find_fns(&v) && verify_declarations(&v);

	for (Fn *fn = m->fns; fn && ok; fn = fn->next)
		ok = check_fn(&v, fn);
	v.fn = NULL;
	v.op = NULL;
	ok = ok && verify_calls(&v);
	*why = v.why ? v.why : "";
	arena_free(scratch);
	return ok;
}
