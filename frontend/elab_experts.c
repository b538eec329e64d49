/* SPDX-License-Identifier: Apache-2.0
 * elab_experts: the experts of a layer: their ranges, functions, and running them. */
#include "elab.h"

#include <string.h>

bool need_experts(Elab *e, Loc loc)
{
	if (e->layer && e->layer->has_experts)
		return !e->layer->experts_poison;
	say(e, E_no_experts, loc, "declare them first: `experts 8 of swiglu(1024)`",
	    "this layer has no experts");
	return false;
}

static const Node *expert_function(Elab *e, const Node *call, Unit **unit)
{
	const Node *callee = call->kind == N_CALL ? call->kids[0] : call;
	const Node *def = callee->kind == N_NAME ? function_find(e, callee->s, unit)
						 : NULL;
	int n;

	if (def && def->kind == N_EXPERT_FN)
		return def;
	if (def) {
		say(e, E_function_kind, callee->loc, NULL, "`%s` is a %s, not an expert",
		    callee->s, def->kind == N_POLICY ? "policy" : "def");
		return NULL;
	}
	const char *const *names = function_names(e, &n);
	if (callee->kind != N_NAME)
		say(e, E_function_kind, callee->loc, "`experts 8 of swiglu(1024)`",
		    "an expert's call is wanted here");
	else if (function_unknown(e, callee->s))
		say(e, E_unknown_function, callee->loc, fix_near(e, callee->s, names, n),
		    "there is no expert `%s`", callee->s);
	return NULL;
}

void run_experts_of(Elab *e, const Node *n)
{
	Layer *l = e->layer;
	Unit *unit;

	if (l->has_experts) {
		say(e, E_second_statement, n->loc, "`experts 8 of a(), 4 of b()`",
		    "a second `experts`");
		return;
	}
	l->has_experts = true;
	l->first_range = l->m->ranges.n;
	for (int i = 0; i + 1 < n->nkids; i += 2) {
		int64_t count;
		if (!expert_function(e, n->kids[i + 1], &unit) ||
		    !need_int(e, eval(e, n->kids[i]), n->kids[i]->loc,
			      "the number of experts", 1, MAX_EXPERTS - l->experts,
			      &count)) {
			l->experts_poison = true;
			continue;
		}
		vec_push(e->a, &l->ranges, ((Range){.first = l->experts, .count = count,
						    .call = n->kids[i + 1]}));
		vec_push(e->a, &l->m->ranges, ((ExpertRange){l->experts, count}));
		l->experts += count;
	}
	l->m->experts = MAX(l->m->experts, l->experts);
	if (l->outer)
		l->m->calls.at[l->nth].experts = l->experts;
}

/* The expert's function for rows of type `in`, in a frame whose caller is the layer's. */
static bool make_range(Elab *e, int i, Type in, Loc loc)
{
	Layer *l = e->layer;
	Range *r = &l->ranges.at[i];
	Frame *outer = e->frame;
	Val out[MAX_ARGS];
	Unit *unit;

	in.level = LV_ROW;
	in.range = l->first_range + i;
	if (r->fn && type_equal(&r->in, &in))
		return true;
	const Node *def = expert_function(e, r->call, &unit);
	if (!def)
		return false;
	Fn *fn = fn_new(l->m, unique_name(e, def->s));
	Frame f = {.caller = outer, .call = r->call->loc, .name = def->s, .unit = l->unit,
		   .fn = fn, .region = fn->body, .range = in.range,
		   .scope = l->frame->scope, .root = l->frame->root};
	f.prefix = *l->prefix ? arena_printf(e->a, "%sexperts.*.", l->prefix) : "";
	Val x = val_ir(region_arg(l->m, fn->body, in, "x"));
	bool sharing = l->sharing;
	l->sharing = r->fn != NULL;
	e->frame = &f;
	e->inline_next = true;
	int n = call_function(e, def, unit, r->call, &x, out);
	Value *y = n == 1 ? number_f32(e, out[0], r->call->loc) : NULL;
	e->inline_next = false;
	l->sharing = sharing;
	if (y && y->type.rank != 1) {
		say(e, E_expert_result, r->call->loc, NULL,
		    "an expert gives one vector, %s gives %s", def->s,
		    type_words(e, &y->type));
		y = NULL;
	}
	if (n > 1)
		say(e, E_expert_result, r->call->loc, NULL,
		    "an expert gives one vector, %s gives %d values", def->s, n);
	if (y) {
		fn->nouts = 1;
		fn->outs = NEWN(e->a, Type, 1);
		fn->out_names = NEWN(e->a, const char *, 1);
		fn->outs[0] = y->type;
		op_give(e, OP_return, 1, &y, r->call->loc);
		r->fn = fn;
		r->in = in;
		r->out = y->type.dim[0];
	}
	e->frame = outer;
	return y != NULL;
}

static bool make_ranges(Elab *e, Type in, Loc loc)
{
	Layer *l = e->layer;

	if (l->experts_poison || l->experts_failed)
		return false;
	for (int i = 0; i < l->ranges.n; i++)
		if (!make_range(e, i, in, loc)) {
			l->experts_failed = !e->mute;
			return false;
		}
	for (int i = 1; i < l->ranges.n; i++)
		if (l->ranges.at[i].out != l->ranges.at[0].out) {
			say(e, E_expert_result, l->ranges.at[i].call->loc, NULL,
			    "these experts give %jd values, those before them %jd",
			    (intmax_t)l->ranges.at[i].out, (intmax_t)l->ranges.at[0].out);
			l->experts_failed = !e->mute;
			return false;
		}
	return l->ranges.n > 0;
}

/* Routing that is read out, or given from outside, is the layer's own pick and weight at
 * the place where the experts first run. */
static Value *marked(Elab *e, Value *v, const char *given, Loc loc)
{
	if (!v)
		return NULL;
	Op *op = op_start(e, OP_stop, 1, &v, 1, loc);
	attr_word(e->layer->m, op, "given", given);
	if (e->layer->outer)
		attr_int(e->layer->m, op, "call", e->layer->nth);
	return op_finish(e, op);
}

static bool is_own(Elab *e, const Node *n, const char *name)
{
	return n->kind == N_NAME && strcmp(n->s, name) == 0 &&
	       e->frame == e->layer->frame && !e->frame->regions && e->layer->policy;
}

static Value *pick_value(Elab *e, const Node *n)
{
	Layer *l = e->layer;
	Value *pick = as_tensor(e, eval(e, n), DT_index, l->experts, n->loc);

	if (!pick)
		return NULL;
	const Type *t = &pick->type;
	if (t->dtype != DT_index || t->rank != 1) {
		say(e, E_experts_call, n->loc,
		    t->dtype == DT_index && !t->rank ? "put it into a list: `[e]`" : NULL,
		    "experts are picked by index[k], not %s", type_words(e, t));
		return NULL;
	}
	if (t->axis && t->axis != l->experts) {
		say(e, E_experts_call, n->loc, NULL,
		    "this picks one of %jd, but there are %jd experts", (intmax_t)t->axis,
		    (intmax_t)l->experts);
		return NULL;
	}
	if (is_own(e, n, "pick") && !l->marked && t->level == LV_TOKEN) {
		l->marked = true;
		l->own_pick = pick;
		l->given_pick = marked(e, pick, "pick", n->loc);
	}
	return l->own_pick == pick ? l->given_pick : pick;
}

static bool check_rows(Elab *e, const Node *call, const Type *pick, const Type *v)
{
	if (v->rank == 1 || (v->rank == 2 && v->dim[0] == pick->dim[0]))
		return true;
	say(e, E_experts_call, call->kids[2]->loc, NULL,
	    "experts run on a vector, or on one for each of %jd picks: %s is neither",
	    (intmax_t)pick->dim[0], type_words(e, v));
	return false;
}

Val run_experts(Elab *e, const Node *call)
{
	Layer *l = e->layer;
	const char **names = NEWN(e->a, const char *, (size_t)l->ranges.n);
	int64_t *counts = NEWN(e->a, int64_t, (size_t)l->ranges.n);
	Value *arg[2];

	if (!need_experts(e, call->loc))
		return val_poison();
	if (call->nkids != 3 || call->kids[1]->kind == N_NAMED ||
	    call->kids[2]->kind == N_NAMED) {
		say(e, E_argument_count, call->loc, "`experts(pick, x)`",
		    "experts takes picks and what to run on");
		return val_poison();
	}
	if (e->frame->range >= 0) {
		say(e, E_misplaced_statement, call->loc, NULL,
		    "experts inside an expert");
		return val_poison();
	}
	arg[0] = pick_value(e, call->kids[1]);
	Val v = eval(e, call->kids[2]);
	arg[1] = v.kind == V_IR ? v.v : as_tensor(e, v, DT_f32, 0, call->loc);
	if (!arg[0] || !arg[1] || !check_rows(e, call, &arg[0]->type, &arg[1]->type))
		return val_poison();
	Type in = arg[1]->type;
	if (in.dtype != DT_f32 && dtype_info[in.dtype].computed)
		arg[1] = number_f32(e, v, call->loc);
	if (!arg[1])
		return val_poison();
	in.dtype = arg[1]->type.dtype;
	in.rank = 1;
	in.dim[0] = arg[1]->type.dim[arg[1]->type.rank - 1];
	in.dim[1] = 0;
	if (!make_ranges(e, in, call->loc))
		return val_poison();
	for (int i = 0; i < l->ranges.n; i++) {
		names[i] = l->ranges.at[i].fn->name;
		counts[i] = l->ranges.at[i].count;
	}
	Type t = type_of(DT_f32, LV_TOKEN, 0, 2,
			 (int64_t[]){arg[0]->type.dim[0], l->ranges.at[0].out});
	Op *op = op_start(e, OP_experts, 2, arg, 1, call->loc);
	attr_fns(l->m, op, "fns", names, l->ranges.n);
	attr_ints(l->m, op, "counts", counts, l->ranges.n);
	int64_t *picks = l->outer ? &l->m->calls.at[l->nth].picks : &l->m->picks;
	if (!*picks)
		*picks = t.dim[0];
	return val_ir(op_typed(e, op, t));
}

/* Weights that are the same for all tokens, [1] say, become each token's own. */
static Value *token_weight(Elab *e, Value *w, Value *pick, const Node *n)
{
	if (!w || w->type.level == LV_TOKEN || !pick || pick->type.level != LV_TOKEN)
		return w;
	Value *none = emit(e, OP_isnone, 1, &pick, n->loc);
	return select_op(e, val_ir(none), val_num(0), val_ir(w), n).v;
}

/* weight @ experts(pick, ..): the first one with the layer's own names is the routing, and
 * the same choice later on is the same routing. */
Val weighted_experts(Elab *e, const Node *n, bool *taken)
{
	const Node *call = n->kids[1];
	Layer *l = e->layer;
	bool own;

	*taken = call->kind == N_CALL && call->kids[0]->kind == N_EXPERTS;
	if (!*taken)
		return val_poison();
	own = is_own(e, n->kids[0], "weight");
	Val w = eval(e, n->kids[0]);
	Val y = run_experts(e, call);
	bool given = y.kind == V_IR && y.v->def->args[0] == l->given_pick;
	if (given && own && !l->given_weight && w.kind != V_POISON) {
		l->own_weight = w.kind == V_IR ? w.v : NULL;
		Value *gate = number_f32(e, w, n->loc);
		gate = token_weight(e, gate, y.v->def->args[0], n);
		l->given_weight = marked(e, gate, "gate", n->loc);
		w = val_ir(l->given_weight);
	} else if (given && w.kind == V_IR && l->own_weight == w.v) {
		w = val_ir(l->given_weight);
	}
	return eval_operator(e, O_MATMUL, w, y, n);
}

/* flops, bytes: what one token costs at each expert. */
Val experts_cost(Elab *e, bool bytes, Loc loc)
{
	Layer *l = e->layer;
	double *cost;

	if (!need_experts(e, loc) || !make_ranges(e, l->first_input, loc))
		return val_poison();
	cost = NEWN(e->a, double, (size_t)l->experts);
	for (int i = 0; i < l->m->params.n; i++) {
		const Param *p = &l->m->params.at[i];
		int range = p->type.range - l->first_range;
		if (p->type.level != LV_EXPERT || range < 0 || range >= l->ranges.n)
			continue;
		const Range *r = &l->ranges.at[range];
		double n = (double)type_elems(&p->type);
		double each = bytes ? n * dtype_info[p->type.dtype].bits / 8
				    : p->type.rank >= 2 ? 2 * n : 0;
		for (int64_t k = r->first; k < r->first + r->count; k++)
			cost[k] += each;
	}
	Type t = type_of(DT_f32, LV_ONCE, 0, 1, &l->experts);
	return val_ir(make_const(e, t, cost, (int)l->experts, loc));
}
