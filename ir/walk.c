/* SPDX-License-Identifier: Apache-2.0
 * walk: visiting, counting, replacing, capturing and copying over nested regions. */
#include "ir.h"

void region_walk(const Region *r, void (*visit)(Op *, void *), void *ctx)
{
	for (Op *op = r->first, *next; op; op = next) {
		next = op->next;        /* visit may unlink the op */
		visit(op, ctx);
		for (int i = 0; i < op->nregions; i++)
			region_walk(op->regions[i], visit, ctx);
	}
}

typedef struct {
	Value *old, *new;
	int n;
} Uses;

static void replace_uses(Op *op, void *ctx)
{
	Uses *u = ctx;

	for (int i = 0; i < op->nargs; i++)
		if (op->args[i] == u->old)
			op->args[i] = u->new;
}

static void count_uses(Op *op, void *ctx)
{
	Uses *u = ctx;

	for (int i = 0; i < op->nargs; i++)
		u->n += op->args[i] == u->old;
}

void value_replace(Fn *fn, Value *old, Value *new)
{
	region_walk(fn->body, replace_uses, &(Uses){.old = old, .new = new});
}

int value_uses(const Fn *fn, const Value *v)
{
	Uses u = {.old = (Value *)v};

	region_walk(fn->body, count_uses, &u);
	return u.n;
}

bool value_used(const Fn *fn, const Value *v)
{
	return value_uses(fn, v) > 0;
}

bool value_inside(const Value *v, const Region *r)
{
	const Region *at = v->def ? v->def->in : v->owner;

	while (at && at != r)
		at = at->op ? at->op->in : NULL;
	return at == r;
}

typedef struct {
	Arena *arena;
	const Region *region;
	Vec(Value *) found;
} Captures;

static void capture(Op *op, void *ctx)
{
	Captures *c = ctx;

	for (int i = 0; i < op->nargs; i++) {
		bool known = value_inside(op->args[i], c->region);
		for (int j = 0; j < c->found.n && !known; j++)
			known = c->found.at[j] == op->args[i];
		if (!known)
			vec_push(c->arena, &c->found, op->args[i]);
	}
}

Value **region_captures(Arena *arena, const Region *r, int *n)
{
	Captures c = {.arena = arena, .region = r};

	region_walk(r, capture, &c);
	*n = c.found.n;
	return c.found.at;
}

const Value *kernel_rows(const Op *kernel, int range)
{
	const Value *found = NULL;

	for (const Op *op = kernel->regions[0]->first; op; op = op->next)
		for (int i = 0; i < op->nargs; i++) {
			const Value *v = op->args[i];
			if (v->type.range != range || value_inside(v, kernel->regions[0]))
				continue;
			if (v->type.dtype == DT_rows)
				return v;
			bool made = v->type.level == LV_ROW && v->def;
			if (!found && made && v->def->kind == OP_kernel)
				found = kernel_rows(v->def, range);
		}
	return found;
}

void map_value(Arena *arena, ValueMap *map, Value *from, Value *to)
{
	vec_push(arena, &map->from, from);
	vec_push(arena, &map->to, to);
}

/* From the end: what was mapped last is asked for most, and overrides. */
Value *mapped(const ValueMap *map, Value *v)
{
	for (int i = map->from.n - 1; i >= 0; i--)
		if (map->from.at[i] == v)
			return map->to.at[i];
	return v;
}

static void copy_attr(Module *m, Op *op, const Attr *a)
{
	switch (a->kind) {
	case AT_INT:    attr_int(m, op, a->name, a->i); break;
	case AT_FLOAT:  attr_float(m, op, a->name, a->f); break;
	case AT_STR:    attr_str(m, op, a->name, a->s); break;
	case AT_WORD:   attr_word(m, op, a->name, a->s); break;
	case AT_INTS:   attr_ints(m, op, a->name, a->is, a->n); break;
	case AT_FLOATS: attr_floats(m, op, a->name, a->fs, a->n); break;
	case AT_STRS:   attr_strs(m, op, a->name, a->ss, a->n); break;
	case AT_FNS:    attr_fns(m, op, a->name, a->ss, a->n); break;
	}
}

Op *op_clone(Module *m, Fn *fn, const Op *from, ValueMap *map)
{
	Op *op = op_new(m, from->kind, from->nargs, from->args, from->nouts);

	op->loc = from->loc;
	for (int i = 0; i < op->nargs; i++)
		op->args[i] = mapped(map, op->args[i]);
	for (int i = 0; i < op->nouts; i++) {
		op->outs[i]->type = from->outs[i]->type;
		op->outs[i]->name = from->outs[i]->name;
		map_value(m->arena, map, from->outs[i], op->outs[i]);
	}
	for (int i = 0; i < from->nattrs; i++)
		copy_attr(m, op, &from->attrs[i]);
	for (int i = 0; i < from->nregions; i++) {
		const Region *inner = from->regions[i];
		Region *r = op_add_region(m, fn, op);
		for (int j = 0; j < inner->nargs; j++)
			map_value(m->arena, map, inner->args[j],
				  region_arg(m, r, inner->args[j]->type,
					     inner->args[j]->name));
		for (const Op *at = inner->first; at; at = at->next)
			op_append(r, op_clone(m, fn, at, map));
	}
	return op;
}
