/* SPDX-License-Identifier: Apache-2.0
 * elab_stmt: statements that functions and layers share, but for branches and loops. */
#include "elab.h"

#include <string.h>

static void name_value(Val v, const char *name)
{
	if (v.kind == V_IR && v.v->def && !v.v->name)
		v.v->name = name;
}

static void run_bind(Elab *e, const Node *n)
{
	Val out[MAX_ARGS];
	int count = 1;

	if (n->nnames > 1 && n->kids[0]->kind != N_CALL) {
		say(e, E_result_count, n->loc, NULL, "only a call gives several values");
		count = -1;
	} else if (n->nnames > 1) {
		count = call_node(e, n->kids[0], out);
	} else {
		out[0] = eval(e, n->kids[0]);
	}
	if (n->nnames && count >= 0 && count != n->nnames) {
		say(e, E_result_count, n->loc, NULL, "%d name%s for %d value%s",
		    n->nnames, n->nnames == 1 ? "" : "s", count, count == 1 ? "" : "s");
		count = -1;
	}
	for (int i = 0; i < n->nnames; i++) {
		Val v = count < 0 ? val_poison() : out[i];
		name_value(v, n->names[i]);
		bind_name(e, n->names[i], v, n->name_locs[i]);
		scope_find(e->frame->scope, NULL, n->names[i])->value = n->kids[0]->loc;
	}
}

/* A policy gives choices of experts, and a weight for each. */
static void check_pair(Elab *e, const Node *n)
{
	Frame *f = e->frame;
	Val *pick = &f->ret[0], *weight = &f->ret[1];
	const Node *w = n->nkids > 1 ? n->kids[1] : n;

	if (f->nret != 2) {
		say(e, E_policy_result, n->loc, "`return pick, weight`",
		    "a policy returns picks and weights, not %d value%s", f->nret,
		    f->nret == 1 ? "" : "s");
		f->returned = false;
		return;
	}
	*pick = val_ir(as_tensor(e, *pick, DT_index, e->layer->experts, n->kids[0]->loc));
	*weight = val_ir(as_tensor(e, *weight, DT_f32, 0, w->loc));
	if (pick->kind != V_IR || weight->kind != V_IR)
		return;
	const Type *p = &pick->v->type, *g = &weight->v->type;
	if (p->dtype != DT_index || p->rank != 1) {
		say(e, E_policy_result, n->kids[0]->loc,
		    p->dtype == DT_index ? "put it into a list: `[e]`" : NULL,
		    "a policy returns its picks as index[k], not %s", type_words(e, p));
	} else if (e->layer->has_experts && p->axis && p->axis != e->layer->experts) {
		say(e, E_policy_result, n->kids[0]->loc, NULL,
		    "the picks choose one of %jd, but there are %jd experts",
		    (intmax_t)p->axis, (intmax_t)e->layer->experts);
	} else if (g->rank != 1 || g->dim[0] != p->dim[0]) {
		bool names = n->kids[0]->kind == N_NAME && w->kind == N_NAME &&
			     g->rank == 1 && g->dim[0] == p->axis;
		say(e, E_policy_result, w->loc,
		    names ? arena_printf(e->a, "`%s[%s]`", w->s, n->kids[0]->s) : NULL,
		    "a policy returns as many weights as picks: %jd picks, %s weights",
		    (intmax_t)p->dim[0],
		    g->rank == 1 ? arena_printf(e->a, "%jd", (intmax_t)g->dim[0])
				 : shape_words(e, g));
	} else {
		return;
	}
	*pick = *weight = val_poison();
}

void run_return(Elab *e, const Node *n)
{
	Frame *f = e->frame;
	bool poison = false;

	if (f == e->layer->frame) {
		say(e, E_return_place, n->loc, "write `output`",
		    "a layer has outputs and does not return");
		return;
	}
	if (f->regions > f->base || f->in_for) {
		say(e, E_return_place, n->loc, "bind a name, and return it at the end",
		    "`return` inside a loop, or an `if` that is known only at run time");
		return;
	}
	if (n->nkids > MAX_ARGS) {
		say(e, E_limit, n->loc, NULL, "more than %d results", MAX_ARGS);
		return;
	}
	f->nret = n->nkids;
	for (int i = 0; i < n->nkids; i++) {
		f->ret[i] = eval(e, n->kids[i]);
		poison = poison || f->ret[i].kind == V_POISON;
	}
	f->returned = true;
	if (!poison && f->def && f->def->kind == N_POLICY)
		check_pair(e, n);
}

typedef void Runner(Elab *, const Node *);

/* What stands only in a layer, and not inside its loops and branches at run time. */
static Runner *layer_runner(NodeKind kind)
{
	switch (kind) {
	case N_INPUT:      return run_input;
	case N_EXPERTS_OF: return run_experts_of;
	case N_ROUTE_BY:   return run_route;
	case N_OUTPUT:     return run_output;
	case N_LOSS:       return run_loss;
	case N_GROUP:      return run_group;
	case N_DEFER:      return run_defer;
	case N_CAUSAL:     return run_causal;
	case N_WEIGHTS:    return run_weights;
	default:           return NULL;
	}
}

static const char *word_of(NodeKind kind)
{
	static const char *const words[] = {
		[N_INPUT] = "input", [N_EXPERTS_OF] = "experts", [N_ROUTE_BY] = "route",
		[N_OUTPUT] = "output", [N_LOSS] = "loss", [N_GROUP] = "group",
		[N_DEFER] = "defer", [N_CAUSAL] = "causal", [N_WEIGHTS] = "weights",
	};
	return words[kind];
}

static void run_kind(Elab *e, const Node *n)
{
	Runner *layer = layer_runner(n->kind);
	const Frame *f = e->frame;

	if (layer && (f != e->layer->frame || f->regions > f->base || f->in_for)) {
		say(e, E_misplaced_statement, n->loc, NULL, f != e->layer->frame
			? "`%s` stands only in a layer"
			: "`%s` stands neither in a loop nor in an `if` at run time",
		    word_of(n->kind));
		if (n->kind == N_INPUT)
			bind_name(e, n->s, val_poison(), n->loc);
		return;
	}
	if (layer) {
		layer(e, n);
		return;
	}
	switch (n->kind) {
	case N_BIND:   run_bind(e, n); break;
	case N_NEXT:   run_next(e, n); break;
	case N_RETURN: run_return(e, n); break;
	case N_PARAM:  run_param(e, n); break;
	case N_STATE:  run_state(e, n); break;
	case N_IF:     run_if(e, n); break;
	case N_FOR:    run_for(e, n); break;
	case N_REPEAT: run_repeat(e, n); break;
	case N_BLOCK:  run_block(e, n); break;
	case N_LOST:   run_lost(e, n); break;
	default:
		say(e, E_misplaced_statement, n->loc, NULL, "this does not stand here");
		break;
	}
}

void run_stmt(Elab *e, const Node *n)
{
	e->depth++;
	if (may_go_on(e, n))
		run_kind(e, n);
	e->depth--;
}

void run_block(Elab *e, const Node *block)
{
	for (int i = 0; i < block->nkids && !e->fatal; i++) {
		if (e->frame->returned) {
			say(e, E_return_place, block->kids[i]->loc, NULL,
			    "nothing may follow `return`");
			return;
		}
		run_stmt(e, block->kids[i]);
	}
}
