/* SPDX-License-Identifier: Apache-2.0
 * elab_model: a layer called by a model: a function, and one more instance of its weights. */
#include "elab.h"

#include <string.h>

/* What a model gives for an input, in the input's type: made in front of the call. */
bool take_input(Elab *e, const Node *n, const Type *t)
{
	Layer *l = e->layer;
	Frame *f = e->frame;
	Val given = l->given[l->ninputs];

	e->frame = f->caller;
	Value *v = bring(e, given, t, l->call);
	bool fits = v && shape_equal(&v->type, t);
	if (v && !fits)
		say(e, E_layer_input, l->call, NULL, "`%s` of %s is %s, not %s", n->s,
		    l->def->s, type_words(e, t), type_words(e, &v->type));
	if (fits && v->type.level != t->level) {
		say(e, E_layer_input, l->call, NULL, "`%s` of %s %s, this %s", n->s,
		    l->def->s, level_text(t), level_text(&v->type));
		fits = false;
	}
	e->frame = f;
	l->args[l->ninputs] = v;
	return fits;
}

/* What a whole stack cannot do for one of its layers. */
static bool may_stand_in_model(Elab *e, const Layer *l, const Node *call)
{
	const char *what = l->group_loc.line ? "`group`" : l->defer_loc.line ? "`defer`" : NULL;

	if (what)
		say(e, E_not_supported, call->loc, "compile this layer alone: `--layer`",
		    "%s of a layer that a model calls is not compiled yet", what);
	else if (l->losses.n && e->frame->regions)
		say(e, E_not_supported, call->loc, "call it before",
		    "a layer with a loss inside a branch or loop at run time");
	else
		return true;
	return false;
}

/* Its outputs, then its losses, which are the model's too. */
static int emit_call(Elab *e, Layer *l, const Node *call, Val *outs)
{
	Fn *fn = l->frame->fn;
	Op *op = op_start(e, OP_call, l->ninputs, l->args, 0, call->loc);

	attr_fns(l->m, op, "fn", &fn->name, 1);
	op_results(e, op, fn->nouts, fn->outs);
	op_append(e->frame->region, op);
	vec_push(e->a, &e->calls, ((CallSite){fn, op}));
	for (int i = 0; i < fn->nouts; i++)
		if (i >= l->outputs.n)
			vec_push(e->a, &e->layer->losses, op->outs[i]);
		else if (i < MAX_ARGS)
			outs[i] = val_ir(op->outs[i]);
	return MIN(l->outputs.n, MAX_ARGS);
}

/* The inputs; the name of the instance is the layer's unless `name:` gives one. */
static bool layer_args(Elab *e, Layer *l, const Node *call)
{
	const char *name = l->def->s;

	l->given = NEWN(e->a, Val, MAX_ARGS);
	l->args = NEWN(e->a, Value *, MAX_ARGS);
	for (int i = 1; i < call->nkids; i++) {
		const Node *k = call->kids[i];
		bool instance = k->kind == N_NAMED && strcmp(k->s, "name") == 0;
		if (k->kind == N_NAMED && !instance) {
			say(e, E_unknown_argument, k->loc, NULL,
			    "the inputs of a layer come in their order");
			return false;
		}
		Val v = eval(e, instance ? k->kids[0] : k);
		if (v.kind == V_POISON ||
		    (instance && !need_str(e, v, k->loc, "`name`", &name)))
			return false;
		if (instance)
			continue;
		if (l->ngiven == MAX_ARGS) {
			say(e, E_limit, k->loc, NULL, "more than %d inputs", MAX_ARGS);
			return false;
		}
		l->given[l->ngiven++] = v;
	}
	l->prefix = arena_printf(e->a, "%s%s.", e->frame->prefix, name);
	if (valid_path(name))
		return true;
	say(e, E_parameter_name, call->loc, NULL, "`%s` is no name for a layer", name);
	return false;
}

/* A layer called by a model: a function of its own, an instance of its parameters. */
int call_layer(Elab *e, const Node *def, const Node *call, Val *outs)
{
	Layer *l = NEW(e->a, Layer);

	if (e->loose && !e->layer->def)
		return -1;              /* a function that only models call, perhaps */
	for (Layer *k = e->layer; k; k = k->outer)
		if (k->def == def || !k->def || k->def->kind != N_MODEL) {
			say(e, E_recursion, call->loc, NULL,
			    k->def == def ? "%s calls itself"
					  : "only a model calls a layer; `%s` is one",
			    def->s);
			return -1;
		}
	*l = (Layer){.def = def, .outer = e->layer, .call = call->loc,
		     .unit = e->frame->unit, .number = -1, .stored = DT_COUNT};
	if (e->frame->layout || ++e->ncalls > MAX_CALLS) {
		stop_all(e, E_limit, call->loc, NULL, "more than %d calls", MAX_CALLS);
		return -1;
	}
	if (!layer_args(e, l, call) || !run_layer(e, def, l) ||
	    !may_stand_in_model(e, l, call))
		return -1;
	return emit_call(e, l, call, outs);
}
