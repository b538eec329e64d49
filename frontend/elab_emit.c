/* SPDX-License-Identifier: Apache-2.0
 * elab_emit: ops are made here, counted, and taken back after a trial. */
#include "elab.h"

#include <string.h>

static Module *module(const Elab *e)
{
	return e->layer->m;
}

Op *op_start(Elab *e, OpKind kind, int nargs, Value **args, int nouts, Loc loc)
{
	Op *op = op_new(module(e), kind, nargs, args, nouts);

	op->loc = loc;
	return op;
}

static bool count(Elab *e, Loc loc)
{
	if (++e->ops > e->max_ops && !e->fatal)
		stop_all(e, E_limit, loc, "use `repeat`, or fewer rounds",
			 "this unrolls into more than %jd operations",
			 (intmax_t)e->max_ops);
	return !e->fatal;
}

Value *op_finish(Elab *e, Op *op)
{
	const char *why = "";

	for (int i = 0; i < op->nargs; i++)
		if (!op->args[i])
			return NULL;
	if (!count(e, op->loc))
		return NULL;
	if (!infer_op(module(e), op, &why)) {
		say(e, E_types, op->loc, NULL, "%s", why);
		return NULL;
	}
	for (int i = 0; i < op->nouts; i++)
		for (int d = 0; d < op->outs[i]->type.rank; d++)
			if (op->outs[i]->type.dim[d] > MAX_DIM) {
				say(e, E_limit, op->loc, NULL,
				    "an axis of more than 2^31 entries");
				return NULL;
			}
	op_append(e->frame->region, op);
	return op->nouts ? op->outs[0] : NULL;
}

Value *op_typed(Elab *e, Op *op, Type type)
{
	int64_t n;

	if (!shape_elems(type.dim, type.rank, &n)) {
		say(e, E_limit, op->loc, NULL, "a tensor of %s entries",
		    shape_words(e, &type));
		return NULL;
	}
	op->outs[0]->type = type;
	return op_finish(e, op);
}

Value *emit(Elab *e, OpKind kind, int nargs, Value **args, Loc loc)
{
	return op_finish(e, op_start(e, kind, nargs, args, 1, loc));
}

Value *reshape_op(Elab *e, Value *v, int rank, const int64_t *dims, Loc loc)
{
	if (!v)
		return NULL;
	if (rank > MAX_RANK) {
		say(e, E_limit, loc, NULL, "more than %d axes", MAX_RANK);
		return NULL;
	}
	Type t = v->type;
	t.rank = rank;
	memset(t.dim, 0, sizeof t.dim);
	for (int i = 0; i < rank; i++)
		t.dim[i] = dims[i];
	if (shape_equal(&t, &v->type))
		return v;
	return op_typed(e, op_start(e, OP_reshape, 1, &v, 1, loc), t);
}

Value *slice_op(Elab *e, Value *v, const int64_t *start, const int64_t *size,
	     const int64_t *step, int n, Loc loc)
{
	bool whole = true;

	if (!v)
		return NULL;
	for (int i = 0; i < n; i++)
		whole = whole && size[i] == v->type.dim[i] && step[i] == 1;
	if (whole)
		return v;
	Op *op = op_start(e, OP_slice, 1, &v, 1, loc);
	attr_ints(module(e), op, "start", start, n);
	attr_ints(module(e), op, "size", size, n);
	attr_ints(module(e), op, "step", step, n);
	return op_finish(e, op);
}

/* Ops with regions are made before what their regions give is known. */
void op_results(Elab *e, Op *op, int n, const Type *types)
{
	op->nouts = n;
	op->outs = NEWN(e->a, Value *, (size_t)n);
	for (int i = 0; i < n; i++) {
		op->outs[i] = NEW(e->a, Value);
		op->outs[i]->def = op;
		op->outs[i]->index = i;
		op->outs[i]->type = types[i];
	}
}

void op_give(Elab *e, OpKind kind, int n, Value **v, Loc loc)
{
	Op *op = op_start(e, kind, n, v, 0, loc);

	op_append(e->frame->region, op);
}

static int count_fns(const Module *m)
{
	int n = 0;

	for (const Fn *f = m->fns; f; f = f->next)
		n++;
	return n;
}

Mark trial_begin(Elab *e)
{
	Layer *l = e->layer;
	NameCount *names = NEWN(e->a, NameCount, (size_t)e->names.n);

	for (int i = 0; i < e->names.n; i++)
		names[i] = e->names.at[i];
	return (Mark){.names = names, .nnames = e->names.n,
		      .params = l->m->params.n, .states = l->m->states.n,
		      .ranges = l->m->ranges.n,
		      .fns = count_fns(l->m), .sites = e->sites, .ncalls = e->ncalls,
		      .calls = e->calls.n, .infos = l->states.n, .ops = e->ops,
		     .layers = l->m->calls.n,
		      .fn_made = l->ranges.n && l->ranges.at[0].fn};
}

void trial_undo(Elab *e, Mark k)
{
	Layer *l = e->layer;
	Fn *fn = l->m->fns;

	for (int i = 1; fn && i < k.fns; i++)
		fn = fn->next;
	if (fn)
		fn->next = NULL;
	l->m->params.n = k.params;
	l->m->states.n = k.states;
	l->m->ranges.n = k.ranges;
	l->m->calls.n = e->called.n = k.layers;
	l->states.n = k.infos;
	e->sites = k.sites;
	e->ncalls = k.ncalls;
	e->calls.n = k.calls;
	e->names.n = k.nnames;
	for (int i = 0; i < k.nnames; i++)
		e->names.at[i] = k.names[i];
	for (int i = 0; i < l->states.n; i++)
		l->states.at[i].is_next = l->states.at[i].is_next && l->states.at[i].next;
	for (int i = 0; !k.fn_made && i < l->ranges.n; i++)
		l->ranges.at[i].fn = NULL;
}
