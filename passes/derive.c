/* SPDX-License-Identifier: Apache-2.0
 * derive: weights that are computed from weights are computed once, when they are packed:
 *
 *   %t = kernel {weights=1, ..} { %w = param {name="w"} ..  %t.1 = transpose %w  .. }
 *
 *   param "derived.0" load=@derived.0          fn @derived.0: param, transpose, return
 *   %t = param {name="derived.0"}
 *
 * A derived param of experts has one load function, whose values are an expert's. */
#include "kernel.h"

#include <string.h>

typedef struct {
	Module *m;
	Fn     *layer;
	bool    changed;
} Derive;

/* The params and computations that v needs, copied to the end of `to`. */
static Value *copy_work(Derive *d, Fn *to, Value *v, ValueMap *map)
{
	Value *known = mapped(map, v);

	if (known != v)
		return known;
	if (!v->def)
		ice("a weight that depends on an argument");
	if (v->def->kind == OP_kernel)
		return copy_work(d, to, kernel_inside(v), map);
	for (int i = 0; i < v->def->nargs; i++)
		copy_work(d, to, v->def->args[i], map);
	Op *copy = op_clone(d->m, to, v->def, map);
	for (int i = 0; i < copy->nargs; i++)
		copy->args[i] = copy_work(d, to, v->def->args[i], map);
	op_append(to->body, copy);
	return copy->outs[v->index];
}

static const char *free_name(const Module *m)
{
	for (int i = 0;; i++) {
		const char *name = arena_printf(m->arena, "derived.%d", i);
		if (!fn_find(m, name))
			return name;
	}
}

static bool same_work(Module *m, const Fn *a, const Fn *b)
{
	const Op *p = a->body->first, *q = b->body->first;
	ValueMap map = {0};

	for (; p && q && ops_alike(p, q); p = p->next, q = q->next) {
		for (int i = 0; i < p->nargs; i++)
			if (mapped(&map, p->args[i]) != q->args[i])
				return false;
		for (int i = 0; i < p->nouts; i++)
			map_value(m->arena, &map, p->outs[i], q->outs[i]);
	}
	return !p && !q;
}

/* What a layer derives in the whole of a model it derives in calls of its own as well. */
static Param *find_equal(Module *m, const Fn *fn, const Type *type)
{
	for (int i = 0; i < m->params.n; i++) {
		Param *p = &m->params.at[i];
		const Fn *load = p->load ? fn_find(m, p->load) : NULL;
		if (load && type_equal(&p->type, type) && same_work(m, fn, load))
			return p;
	}
	return NULL;
}

/* The params that v's work reads may be derived themselves: their functions are not
 * nested, only params of the file are. */
static Param *make_param(Derive *d, Value *v)
{
	Param p = {.name = free_name(d->m), .type = v->type, .loc = v->def->loc};
	Fn *fn = fn_new(d->m, p.name);
	ValueMap map = {0};
	Value *result = copy_work(d, fn, v, &map);

	p.load = fn->name;
	op_append(fn->body, op_new(d->m, OP_return, 1, &result, 0));
	fn->nouts = 1;
	fn->outs = NEW(d->m->arena, Type);
	*fn->outs = result->type;
	fn->out_names = NEWN(d->m->arena, const char *, 1);
	Param *known = find_equal(d->m, fn, &p.type);
	if (known) {
		fn_remove(d->m, fn);
		return known;
	}
	vec_push(d->m->arena, &d->m->params, p);
	return &d->m->params.at[d->m->params.n - 1];
}

/* Whether something computes from v at run time: work on weights alone does not. */
static bool read_at_run_time(const Region *r, const Value *v)
{
	for (const Op *op = r->first; op; op = op->next) {
		if (kernel_of_weights(op))
			continue;
		for (int i = 0; i < op->nargs; i++)
			if (op->args[i] == v)
				return true;
		for (int i = 0; i < op->nregions; i++)
			if (read_at_run_time(op->regions[i], v))
				return true;
	}
	return false;
}

static void read_param(Derive *d, Op *kernel, Value *v, const Param *p)
{
	Region *body = kernel->regions[0];
	Op *param = put_op(body->first, OP_param, 0, NULL, &p->type);

	attr_str(d->m, param, "name", p->name);
	param->outs[0]->name = v->name;
	region_replace(body, v, param->outs[0]);
	kernel_tidy(d->layer, kernel);
}

/* Kernels read the param; results and control read a kernel that does nothing else. */
static void use_param(Derive *d, Region *r, Value *v, const Param *p, Value *kept)
{
	for (Op *op = r->first; op; op = op->next) {
		if (op->kind == OP_kernel) {
			if (!kernel_of_weights(op) && op_reads(op, v->def))
				read_param(d, op, v, p);
			continue;
		}
		for (int i = 0; i < op->nargs; i++)
			if (op->args[i] == v)
				op->args[i] = kept;
		for (int i = 0; i < op->nregions; i++)
			use_param(d, op->regions[i], v, p, kept);
	}
}

/* A kernel in front of v's that reads the param; without a reader it is dropped again. */
static Op *keeper(Derive *d, Value *v, const Param *p)
{
	Op *param = put_op(v->def, OP_param, 0, NULL, &p->type);

	attr_str(d->m, param, "name", p->name);
	param->outs[0]->name = v->name;
	Op *k = kernel_wrap(d->layer, param, "map", &p->type);
	attr_str(d->m, k, "name", attr_get_str(v->def, "name", p->name));
	return k;
}

static void derive_value(Derive *d, Value *v)
{
	if (!read_at_run_time(d->layer->body, v))
		return;
	const Param *p = make_param(d, v);
	Op *k = keeper(d, v, p);
	use_param(d, d->layer->body, v, p, k->outs[0]);
	kernel_tidy(d->layer, k);
}

static void derive_region(Derive *d, Region *r)
{
	for (Op *op = r->first; op; op = op->next) {
		if (!kernel_of_weights(op)) {
			for (int i = 0; op->kind != OP_kernel && i < op->nregions; i++)
				derive_region(d, op->regions[i]);
			continue;
		}
		for (int i = 0; i < op->nouts; i++)
			derive_value(d, op->outs[i]);
		d->changed = true;
	}
}

/* Kernels of weights, which nobody reads any more. */
static void drop_region(Derive *d, Region *r)
{
	for (Op *op = r->last, *prev; op; op = prev) {
		prev = op->prev;
		if (kernel_of_weights(op))
			kernel_tidy(d->layer, op);
		else if (op->kind != OP_kernel)
			for (int i = 0; i < op->nregions; i++)
				drop_region(d, op->regions[i]);
	}
}

static bool gives_bool(const Derive *d, const Op *op)
{
	for (int i = 0; i < op->nouts; i++)
		if (op->outs[i]->type.dtype == DT_bool &&
		    read_at_run_time(d->layer->body, op->outs[i]))
			return true;
	return false;
}

/* No file holds a bool: one that is read at run time is computed there.  Backwards: what
 * computes it reads others. */
static void keep_bools(Derive *d, Region *r)
{
	for (Op *op = r->last; op; op = op->prev)
		if (kernel_of_weights(op) && gives_bool(d, op))
			attr_drop(op, "weights");
		else if (op->kind != OP_kernel)
			for (int i = 0; i < op->nregions; i++)
				keep_bools(d, op->regions[i]);
}

bool derive_params(Fn *layer)
{
	Derive d = {.m = layer->module, .layer = layer};

	keep_bools(&d, layer->body);
	derive_region(&d, layer->body);
	drop_region(&d, layer->body);
	return d.changed;
}
