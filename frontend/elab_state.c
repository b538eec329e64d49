/* SPDX-License-Identifier: Apache-2.0
 * elab_state: what is trained (`param`) and what is remembered (`state`, `next`). */
#include "elab.h"

#include <ctype.h>
#include <string.h>

static void say_twice(Elab *e, const Param *old, const char *path, Loc loc)
{
	Loc user = user_loc(e, loc);
	const char *callee = NULL;

	if (e->twice.line == user.line && e->twice.col == user.col)
		return;                         /* its other parameters too */
	e->twice = user;
	for (Frame *f = e->frame; f; f = f->caller)
		if (f->def && f->def->kind != N_LAYER_DEF && f->def->kind != N_MODEL)
			callee = f->name;
	const char *lines = old->loc.line == user.line
		? arena_printf(e->a, "line %d", user.line)
		: arena_printf(e->a, "lines %d, %d", old->loc.line, user.line);
	say(e, E_parameter_twice, loc,
	    callee ? "add `name: \"shared\"` to one of them" : "use another name",
	    "the parameter `%s` is made twice (%s)", path, lines);
}

bool valid_path(const char *s)
{
	size_t n = strlen(s);

	for (const char *c = s; *c; c++)
		if (!isalnum((unsigned char)*c) && *c != '_' && *c != '.')
			return false;
	return n && s[0] != '.' && s[n - 1] != '.' && !strstr(s, "..");
}

Value *param_make(Elab *e, const char *name, Type t, bool has_init, double init,
		  bool step, Loc loc)
{
	Module *m = e->layer->m;
	Frame *f = e->frame;
	const char *path = arena_printf(e->a, "%s%s", f->prefix, name);
	const Param *old = param_find(m, path, f->range);

	for (Frame *k = f; k; k = k->caller)
		k->params = true;
	const char *star = strstr(path, "*.");  /* of a model's experts: ours */
	if (!valid_path(f->range >= 0 && star ? star + 2 : path)) {
		say(e, E_parameter_name, loc, NULL, "`%s` is no name for a weight", path);
		return NULL;
	}
	if (f->range >= 0) {
		t.level = LV_EXPERT;
		t.range = f->range;
	}
	if (old && !(e->layer->sharing && f->range >= 0)) {
		say_twice(e, old, path, loc);
		return NULL;
	}
	if (old && !type_equal(&old->type, &t)) {
		say(e, E_experts_call, loc, NULL,
		    "`%s` of the experts is %s for one of their inputs, %s for another",
		    path, type_words(e, &old->type), type_words(e, &t));
		return NULL;
	}
	if (!old)
		vec_push(e->a, &m->params,
			 ((Param){.name = path,
				  .type = t,
				  .has_init = has_init,
				  .init = init,
				  .step = step,
				  .loc = user_loc(e, loc)}));
	Op *op = op_start(e, OP_param, 0, NULL, 1, loc);
	attr_str(m, op, "name", path);
	Value *v = op_typed(e, op, t);
	if (v)
		v->name = name;
	return v;
}

/* A declared first value: a number, true, false or none. */
static bool init_value(Elab *e, const Node *n, Dtype d, double *init)
{
	Val v = eval(e, n);
	bool b;

	if (d == DT_index && v.kind == V_NONE) {
		*init = -1;
		return true;
	}
	if (d == DT_bool) {
		if (!need_bool(e, v, n->loc, "the first value", &b))
			return false;
		*init = b;
		return true;
	}
	return need_num(e, v, n->loc, "the first value", init);
}

static bool free_name(Elab *e, const Node *n)
{
	if (!scope_find(e->frame->scope, e->frame->root->up, n->s))
		return true;
	say(e, E_name_twice, n->loc, "use a new name", "there is already a `%s`", n->s);
	return false;
}

void run_param(Elab *e, const Node *n)
{
	Frame *f = e->frame;
	Value *v = NULL;
	double init = 0;
	bool has_t;
	Type t;

	if (f->regions > f->base) {     /* a function that is called there may have some */
		say(e, E_misplaced_statement, n->loc, "declare it before",
		    "`param` inside a branch or loop at run time");
		return;
	}
	if (free_name(e, n) && type_eval(e, n->kids[0], false, &t, &has_t) &&
	    (!n->kids[1] || init_value(e, n->kids[1], t.dtype, &init)))
		v = param_make(e, n->s, t, n->kids[1] != NULL, init, false, n->loc);
	scope_add(e, f->scope, n->s, val_ir(v), n->loc);
}

static Val step_state(Elab *e, const Node *n, Type t, double init)
{
	StateInfo s = {.name = n->s, .loc = n->loc, .per_step = true, .frame = e->frame};

	vec_push(e->a, &e->layer->states, s);
	return val_ir(param_make(e, n->s, t, true, init, true, n->loc));
}

static Val run_time_state(Elab *e, const Node *n, Type t, double init)
{
	Layer *l = e->layer;
	bool sequence = strcmp(n->s2, "sequence") == 0;
	const char *path = arena_printf(e->a, "%s%s", e->frame->prefix, n->s);

	if (state_find(l->m, path)) {
		say(e, E_parameter_twice, n->loc,
		    "add `name: \"other\"` to one of the calls",
		    "the state `%s` is made twice", path);
		return val_poison();
	}
	t.level = sequence ? LV_SEQ : LV_ONCE;
	State s = {.name = path, .type = t, .init = init,
		   .scope = sequence ? PER_SEQUENCE : PER_CALL};
	vec_push(
	    e->a, &l->states,
	    ((StateInfo){.name = n->s, .loc = n->loc, .frame = e->frame, .path = path}));
	vec_push(e->a, &l->m->states, s);
	Op *op = op_start(e, OP_state, 0, NULL, 1, n->loc);
	attr_str(l->m, op, "name", path);
	if (sequence)
		t.level = LV_TOKEN;
	Value *v = op_typed(e, op, t);
	if (v)
		v->name = n->s;
	return val_ir(v);
}

void run_state(Elab *e, const Node *n)
{
	Frame *f = e->frame;
	double init = 0;
	Val v = val_poison();
	bool has_t;
	Type t;

	if (f->regions > 0 || f->range >= 0) {
		say(e, E_misplaced_statement, n->loc, NULL,
		    f->range >= 0 ? "`state` inside an expert"
				  : "`state` inside a branch or loop at run time");
		scope_add(e, f->scope, n->s, v, n->loc);
		return;
	}
	bool ok = free_name(e, n) && type_eval(e, n->kids[0], false, &t, &has_t);
	if (ok && !dtype_info[t.dtype].computed)
		t.dtype = DT_f32;
	if (ok && t.dtype == DT_index)
		init = -1;
	ok = ok && (!n->kids[1] || init_value(e, n->kids[1], t.dtype, &init));
	if (ok && strcmp(n->s2, "step") == 0)
		v = step_state(e, n, t, init);
	else if (ok)
		v = run_time_state(e, n, t, init);
	scope_add(e, f->scope, n->s, v, n->loc);
}

static StateInfo *state_named(Elab *e, const Node *n)
{
	Layer *l = e->layer;
	Vec(const char *) names = {0};

	for (int i = 0; i < l->states.n; i++) {
		if (l->states.at[i].frame != e->frame)
			continue;
		if (strcmp(l->states.at[i].name, n->s) == 0)
			return &l->states.at[i];
		vec_push(e->a, &names, l->states.at[i].name);
	}
	Binding *b = scope_find(e->frame->scope, e->frame->root->up, n->s);
	if (b && b->val.kind == V_POISON)
		return NULL;
	say(e, E_unknown_state, n->loc, fix_near(e, n->s, names.at, names.n),
	    b ? "`%s` is not a state" : "there is no state `%s` here", n->s);
	e->layer->lost = true;          /* the `next` was meant for another one */
	return NULL;
}

/* Only sums and extrema of all tokens can be gathered over many calls. */
static void check_step(Elab *e, const StateInfo *s, Value *v, const Node *n)
{
	const Op *op = find_ordered(e, v);

	if (op)
		say(e, E_state_order, n->loc,
		    "only sum, mean, max, min, any and all may look over the tokens",
		    "the next `%s` is made of %s, which needs all tokens at once",
		    s->name, over_text(e, op));
}

void run_next(Elab *e, const Node *n)
{
	Layer *l = e->layer;
	StateInfo *s = state_named(e, n);
	Frame *f = e->frame;

	if (!s) {
		eval(e, n->kids[0]);
		return;
	}
	if (f->regions > 0) {
		say(e, E_misplaced_statement, n->loc,
		    "bind a name there and set `next` behind it",
		    "`next` inside a branch or loop at run time");
		s->is_next = true;
		return;
	}
	if (s->is_next) {
		say(e, E_second_statement, n->loc, NULL, "`next %s` is set twice", n->s);
		return;
	}
	s->is_next = true;
	s->next_loc = n->loc;
	Val v = eval(e, n->kids[0]);
	if (v.kind == V_POISON)
		return;
	Type t = s->per_step
		     ? param_find(l->m, arena_printf(e->a, "%s%s", f->prefix, n->s), -1)
			   ->type
		     : state_find(l->m, s->path)->type;
	Value *x = bring(e, v, &t, n->kids[0]->loc);
	if (!x)
		return;
	if (!shape_equal(&x->type, &t) ||
	    (t.dtype == DT_index) != (x->type.dtype == DT_index)) {
		say(e, E_state_value, n->kids[0]->loc, NULL,
		    "`%s` is %s and cannot become %s", n->s, type_words(e, &t),
		    type_words(e, &x->type));
		return;
	}
	if (t.level == LV_ONCE && x->type.level != LV_ONCE) {
		say(e, E_state_value, n->kids[0]->loc, "reduce it `over: tokens`",
		    "`%s` is one value a %s, this one %s", n->s,
		    s->per_step ? "step" : "call", level_text(&x->type));
		return;
	}
	s = state_named(e, n);                  /* calls may have moved it */
	s->next = x;
	if (s->per_step) {
		check_step(e, s, x, n);
		return;
	}
	Op *op = op_start(e, OP_next, 1, &x, 0, n->loc);
	attr_str(l->m, op, "name", s->path);
	op_append(f->region, op);
	f->effects = true;
}

/* At the layer's end: every state changes, and no state waits for later tokens. */
void check_states(Elab *e, Layer *l)
{
	for (int i = 0; i < l->states.n; i++) {
		const StateInfo *s = &l->states.at[i];
		if (!s->is_next && l->lost)
			continue;
		if (!s->is_next) {
			say(e, E_state_constant, s->loc,
			    arena_printf(e->a, "add `next %s = ..`, or make it a `param`",
					 s->name),
			    "`%s` never changes", s->name);
			continue;
		}
		const State *st = s->path ? state_find(l->m, s->path) : NULL;
		const Op *over = st && st->scope == PER_SEQUENCE && s->next
					 ? find_waiting(e, s->next, s->path)
					 : NULL;
		if (!over)
			continue;
		bool picks = s->next->type.dtype == DT_index && l->policy;
		say(e, E_state_order, s->next_loc,
		    picks ? arena_printf(e->a,
					 "keep the picks before capacity: "
					 "`next %s = route.pick`",
					 s->name)
			  : "take what goes into it instead",
		    "`%s` would need the tokens that come after it, through %s", s->name,
		    over_text(e, over));
	}
}
