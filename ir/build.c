/* SPDX-License-Identifier: Apache-2.0
 * build: modules, functions, regions and ops are made and rearranged here. */
#include "ir.h"

#include <string.h>

Module *module_new(Arena *arena, const char *name)
{
	Module *m = NEW(arena, Module);

	m->arena = arena;
	m->name = arena_strdup(arena, name);
	return m;
}

Fn *fn_new(Module *m, const char *name)
{
	Fn *fn = NEW(m->arena, Fn), **end = &m->fns;

	fn->name = arena_strdup(m->arena, name);
	fn->module = m;
	fn->body = region_new(fn, NULL);
	while (*end)
		end = &(*end)->next;
	*end = fn;
	return fn;
}

Fn *fn_find(const Module *m, const char *name)
{
	for (Fn *fn = m->fns; fn; fn = fn->next)
		if (strcmp(fn->name, name) == 0)
			return fn;
	return NULL;
}

Fn *fn_compiled(const Module *m, int i)
{
	return i == 0 ? m->fns : i <= m->calls.n ? m->calls.at[i - 1].fn : NULL;
}

void fn_remove(Module *m, Fn *fn)
{
	for (Fn **at = &m->fns; *at; at = &(*at)->next)
		if (*at == fn) {
			*at = fn->next;
			fn->next = NULL;
			return;
		}
}

Param *param_find(const Module *m, const char *name, int range)
{
	for (int i = 0; i < m->params.n; i++) {
		Param *p = &m->params.at[i];
		int its = p->type.level == LV_EXPERT ? p->type.range : -1;
		if (its == range && strcmp(p->name, name) == 0)
			return p;
	}
	return NULL;
}

Panel *panel_find(const Module *m, const char *name)
{
	for (int i = 0; i < m->panels.n; i++)
		if (strcmp(m->panels.at[i].name, name) == 0)
			return &m->panels.at[i];
	return NULL;
}

State *state_find(const Module *m, const char *name)
{
	for (int i = 0; i < m->states.n; i++)
		if (strcmp(m->states.at[i].name, name) == 0)
			return &m->states.at[i];
	return NULL;
}

Type type_of(Dtype dtype, Level level, int range, int rank, const int64_t *dims)
{
	Type t = {.dtype = dtype, .level = level, .range = range, .rank = rank};

	if (rank < 0 || rank > MAX_RANK)
		ice("a type of rank %d", rank);
	for (int i = 0; i < rank; i++)
		t.dim[i] = dims[i];
	return t;
}

Type type_scalar(Dtype dtype, Level level)
{
	return (Type){.dtype = dtype, .level = level};
}

bool shape_equal(const Type *a, const Type *b)
{
	if (a->rank != b->rank)
		return false;
	for (int i = 0; i < a->rank; i++)
		if (a->dim[i] != b->dim[i])
			return false;
	return true;
}

bool type_equal(const Type *a, const Type *b)
{
	bool ranged = a->level == LV_EXPERT || a->level == LV_ROW;

	return a->dtype == b->dtype && a->level == b->level &&
	       (!ranged || a->range == b->range) &&
	       (a->dtype != DT_index || a->axis == b->axis) && shape_equal(a, b);
}

int64_t type_elems(const Type *t)
{
	int64_t n;

	if (!shape_elems(t->dim, t->rank, &n))
		ice("a shape that no memory holds");
	return n;
}

/* Of levels that join at all: those that do not are refused by infer_broadcast. */
Level level_join(Level a, Level b)
{
	return MAX(a, b);
}

Region *region_new(Fn *fn, Op *parent)
{
	Region *r = NEW(fn->module->arena, Region);

	r->fn = fn;
	r->op = parent;
	return r;
}

Value *region_arg(Module *m, Region *r, Type type, const char *name)
{
	Value *v = NEW(m->arena, Value);
	Value **args = NEWN(m->arena, Value *, (size_t)r->nargs + 1);

	if (r->nargs)
		memcpy(args, r->args, (size_t)r->nargs * sizeof *args);
	v->type = type;
	v->owner = r;
	v->index = r->nargs;
	v->name = name ? arena_strdup(m->arena, name) : NULL;
	args[r->nargs++] = v;
	r->args = args;
	return v;
}

Op *op_new(Module *m, OpKind kind, int nargs, Value **args, int nouts)
{
	Op *op = NEW(m->arena, Op);

	op->kind = kind;
	op->nargs = nargs;
	op->nouts = nouts;
	op->args = NEWN(m->arena, Value *, (size_t)nargs);
	op->outs = NEWN(m->arena, Value *, (size_t)nouts);
	for (int i = 0; i < nargs; i++)
		op->args[i] = args[i];
	for (int i = 0; i < nouts; i++) {
		op->outs[i] = NEW(m->arena, Value);
		op->outs[i]->def = op;
		op->outs[i]->index = i;
	}
	return op;
}

Region *op_add_region(Module *m, Fn *fn, Op *op)
{
	Region **regions = NEWN(m->arena, Region *, (size_t)op->nregions + 1);

	if (op->nregions)
		memcpy(regions, op->regions, (size_t)op->nregions * sizeof *regions);
	op->regions = regions;
	return regions[op->nregions++] = region_new(fn, op);
}

void op_append(Region *r, Op *op)
{
	op->in = r;
	op->prev = r->last;
	op->next = NULL;
	if (r->last)
		r->last->next = op;
	else
		r->first = op;
	r->last = op;
}

void op_insert_before(Op *at, Op *op)
{
	op->in = at->in;
	op->prev = at->prev;
	op->next = at;
	if (at->prev)
		at->prev->next = op;
	else
		at->in->first = op;
	at->prev = op;
}

void op_unlink(Op *op)
{
	if (!op->in)
		return;
	if (op->prev)
		op->prev->next = op->next;
	else
		op->in->first = op->next;
	if (op->next)
		op->next->prev = op->prev;
	else
		op->in->last = op->prev;
	op->in = NULL;
	op->prev = op->next = NULL;
}

Value *emit_op(Module *m, Region *r, OpKind kind, int nargs, Value **args, Loc loc)
{
	int nouts = op_info[kind].outs;
	const char *why;

	if (nouts < 0)
		ice("emit_op of '%s', whose results differ in number",
		    op_info[kind].name);
	Op *op = op_new(m, kind, nargs, args, nouts);
	op->loc = loc;
	if (!infer_op(m, op, &why))
		ice("%s", why);
	op_append(r, op);
	return nouts ? op->outs[0] : NULL;
}

Value *emit1(Module *m, Region *r, OpKind kind, Value *a, Loc loc)
{
	return emit_op(m, r, kind, 1, &a, loc);
}

Value *emit2(Module *m, Region *r, OpKind kind, Value *a, Value *b, Loc loc)
{
	return emit_op(m, r, kind, 2, (Value *[]){a, b}, loc);
}

Value *emit3(Module *m, Region *r, OpKind kind, Value *a, Value *b, Value *c, Loc loc)
{
	return emit_op(m, r, kind, 3, (Value *[]){a, b, c}, loc);
}

Value *emit_const(Module *m, Region *r, Type type, const double *values, int n, Loc loc)
{
	Op *op = op_new(m, OP_const, 0, NULL, 1);

	op->loc = loc;
	op->outs[0]->type = type;
	attr_floats(m, op, "value", values, n);
	op_append(r, op);
	return op->outs[0];
}
