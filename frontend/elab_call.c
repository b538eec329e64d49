/* SPDX-License-Identifier: Apache-2.0
 * elab_call: a call runs the function's body in a frame and an IR function of its own. */
#include "elab.h"

#include <string.h>

const char *unique_name(Elab *e, const char *name)
{
	for (int i = 0; i < e->names.n; i++)
		if (strcmp(e->names.at[i].name, name) == 0)
			return arena_printf(e->a, "%s.%d", name, ++e->names.at[i].n);
	vec_push(e->a, &e->names, ((NameCount){name, 0}));
	return name;
}

/* The arguments of one call, in the order of the function's parameters. */
typedef struct {
	const Node *def;
	Unit       *unit;
	int         n;                  /* parameters */
	Val         arg[MAX_ARGS];
	bool        given[MAX_ARGS];
	const char *instance;           /* name: "shared" */
	Loc         instance_loc;
} CallArgs;

static int param_place(const CallArgs *c, const char *name)
{
	for (int i = 0; i < c->n; i++)
		if (strcmp(c->def->kids[i]->s, name) == 0)
			return i;
	return -1;
}

static const char *params_text(Elab *e, const Node *def, int n)
{
	const char *names[MAX_ARGS];

	for (int i = 0; i < n; i++)
		names[i] = def->kids[i]->s;
	return n ? arena_printf(e->a, "it has %s", list_text(e, names, n)) : NULL;
}

static bool set_arg(Elab *e, CallArgs *c, int place, Val v, Loc loc)
{
	if (c->given[place]) {
		say(e, E_argument_twice, loc, NULL, "`%s` is given twice",
		    c->def->kids[place]->s);
		return false;
	}
	c->given[place] = true;
	c->arg[place] = v;
	return true;
}

static bool named_arg(Elab *e, CallArgs *c, const Node *k)
{
	int place = param_place(c, k->s);

	if (place >= 0)
		return set_arg(e, c, place, eval(e, k->kids[0]), k->loc);
	if (strcmp(k->s, "name") == 0) {
		c->instance_loc = k->loc;
		return need_str(e, eval(e, k->kids[0]), k->loc, "`name`", &c->instance);
	}
	const char *names[MAX_ARGS];
	for (int i = 0; i < c->n; i++)
		names[i] = c->def->kids[i]->s;
	const char *fix = fix_near(e, k->s, names, c->n);
	say(e, E_unknown_argument, k->loc, fix ? fix : params_text(e, c->def, c->n),
	    "%s has no argument `%s`", c->def->s, k->s);
	return false;
}

/* A default is a constant of the function's own file. */
static bool defaults(Elab *e, CallArgs *c, Loc loc)
{
	Frame *outer = e->frame;
	Frame f = {.caller = outer, .call = loc, .unit = c->unit, .name = c->def->s,
		   .fn = outer->fn, .region = outer->region, .range = outer->range,
		   .prefix = ""};
	bool ok = true;

	f.scope = f.root = c->unit->constants;
	e->frame = &f;
	for (int i = 0; i < c->n && ok; i++) {
		const Node *p = c->def->kids[i];
		if (c->given[i] || p->nkids == 0)
			continue;
		c->arg[i] = eval(e, p->kids[0]);
		c->given[i] = true;
		if (c->arg[i].kind == V_IR) {
			say(e, E_not_constant, p->loc, NULL,
			    "the default of `%s` must be a constant", p->s);
			ok = false;
		}
	}
	e->frame = outer;
	return ok;
}

static bool match(Elab *e, CallArgs *c, const Node *call, const Val *first)
{
	int place = 0, nargs = call->kind == N_CALL ? call->nkids : 1;

	if (c->n > MAX_ARGS) {
		say(e, E_limit, c->def->loc, NULL, "more than %d parameters", MAX_ARGS);
		return false;
	}
	if (first && c->n == 0) {
		say(e, E_parameters, call->loc, "its first parameter is the token",
		    "%s has no parameter", c->def->s);
		return false;
	}
	if (first)
		set_arg(e, c, place++, *first, call->loc);
	for (int i = 1; i < nargs; i++) {
		const Node *k = call->kids[i];
		if (k->kind == N_NAMED) {
			if (!named_arg(e, c, k))
				return false;
		} else if (place >= c->n) {
			say(e, E_argument_count, k->loc, params_text(e, c->def, c->n),
			    "%s takes %d argument%s%s", c->def->s, c->n - (first != NULL),
			    c->n - (first != NULL) == 1 ? "" : "s",
			    first ? " besides the token" : "");
			return false;
		} else if (!set_arg(e, c, place++, eval(e, k), k->loc)) {
			return false;
		}
	}
	if (!defaults(e, c, call->loc))
		return false;
	for (int i = 0; i < c->n; i++)
		if (!c->given[i]) {
			say(e, E_argument_count, call->loc, params_text(e, c->def, c->n),
			    "%s lacks its argument `%s`", c->def->s, c->def->kids[i]->s);
			return false;
		}
	return true;
}

static Val width_of(const Val *v)
{
	if (v->kind == V_IR && v->v->type.rank)
		return val_num((double)v->v->type.dim[v->v->type.rank - 1]);
	return v->kind == V_LIST ? val_num(v->n) : val_poison();
}

static bool may_call(Elab *e, const Node *def, Loc loc)
{
	int depth = 0;

	for (Frame *f = e->frame; f; f = f->caller, depth++)
		if (f->def == def) {
			say(e, E_recursion, loc, NULL,
			    "%s calls itself; there is no recursion", def->s);
			return false;
		}
	if (depth >= MAX_FRAMES) {
		say(e, E_limit, loc, NULL, "calls are nested more than %d deep",
		    MAX_FRAMES);
		return false;
	}
	if (++e->ncalls > MAX_CALLS) {
		stop_all(e, E_limit, loc, NULL, "more than %d calls of functions",
			 MAX_CALLS);
		return false;
	}
	return true;
}

/* What leaves the callee at run time, each value once. */
typedef struct {
	Value      *v[2 * MAX_ARGS + 64];
	const char *name[2 * MAX_ARGS + 64];
	int         n;
} Results;

static int result_place(Results *r, Value *v, const char *name)
{
	for (int i = 0; i < r->n; i++)
		if (r->v[i] == v) {
			if (!r->name[i])
				r->name[i] = name;
			return i;
		}
	if (r->n == (int)COUNT(r->v))
		return -1;
	r->v[r->n] = v;
	r->name[r->n] = name;
	return r->n++;
}

static void leave(Elab *e, Fn *fn, Frame *f, const Results *r, Value **args, int nargs,
		  Value **outs)
{
	Module *m = e->layer->m;
	Type types[COUNT(r->v)];

	fn->nouts = r->n;
	fn->outs = NEWN(e->a, Type, (size_t)r->n);
	fn->out_names = NEWN(e->a, const char *, (size_t)r->n);
	for (int i = 0; i < r->n; i++) {
		types[i] = fn->outs[i] = r->v[i]->type;
		fn->out_names[i] = r->name[i];
	}
	e->frame = f;
	op_give(e, OP_return, r->n, (Value **)r->v, f->def->loc);
	e->frame = f->caller;
	Op *call = op_start(e, OP_call, nargs, args, 0, f->call);
	attr_fns(m, call, "fn", &fn->name, 1);
	op_results(e, call, r->n, types);
	op_append(e->frame->region, call);
	vec_push(e->a, &e->calls, ((CallSite){fn, call}));
	for (int i = 0; i < r->n; i++) {
		outs[i] = call->outs[i];
		outs[i]->name = r->name[i];
	}
}

/* The values a policy's body has bound, in order, but for its parameters. */
static void body_names(Elab *e, Frame *f, Layer *l)
{
	l->route.n = 0;
	for (Binding *b = f->root->first; b; b = b->next)
		if (!b->is_arg)
			vec_push(e->a, &l->route, ((Named){b->name, b->val}));
	l->route_body = f;
}

/* Losses of layers that a model's function calls leave it with its results: outs NULL puts
 * them there, else each becomes what left. */
static void carry_losses(Elab *e, const Fn *fn, Results *r, Value *const *outs)
{
	Layer *l = e->layer;

	for (int i = 0; i < l->losses.n; i++) {
		Value *v = l->losses.at[i];
		if (!v->def || v->def->in->fn != fn)
			continue;
		int place = result_place(r, v, NULL);
		if (place < 0)
			stop_all(e, E_limit, v->def->loc, NULL,
				 "a function with more than %d losses", (int)COUNT(r->v));
		else if (outs)
			l->losses.at[i] = outs[place];
	}
}

static void close_frame(Elab *e, Fn *fn, Frame *f, Value **args, int nargs, Layer *names)
{
	Results r = {.n = 0};
	Value *outs[COUNT(r.v)];
	int nnamed = names ? names->route.n : 0;

	for (int i = 0; i < f->nret; i++)
		if (f->ret[i].kind == V_IR)
			result_place(&r, f->ret[i].v, NULL);
	for (int i = 0; i < nnamed; i++) {
		Named *n = &names->route.at[i];
		if (n->val.kind == V_IR && result_place(&r, n->val.v, n->name) < 0)
			n->val = val_poison();
	}
	carry_losses(e, fn, &r, NULL);
	if (r.n == 0 && !f->effects) {
		fn_remove(e->layer->m, fn);
		return;
	}
	leave(e, fn, f, &r, args, nargs, outs);
	carry_losses(e, fn, &r, outs);
	for (int i = 0; i < f->nret; i++)
		if (f->ret[i].kind == V_IR)
			f->ret[i].v = outs[result_place(&r, f->ret[i].v, NULL)];
	for (int i = 0; i < nnamed; i++) {
		Named *n = &names->route.at[i];
		if (n->val.kind == V_IR)
			n->val.v = outs[result_place(&r, n->val.v, NULL)];
	}
}

/* Parameters become names of the frame; those known at run time arguments of its fn. */
static int bind_params(Elab *e, Frame *f, const CallArgs *c, Value **args)
{
	int n = 0;

	for (int i = 0; i < c->n; i++) {
		const Node *p = c->def->kids[i];
		Val v = c->arg[i];
		if (v.kind == V_IR && f->fn != f->caller->fn) {
			args[n++] = v.v;
			v.v = region_arg(e->layer->m, f->fn->body, v.v->type, p->s);
		}
		scope_add(e, f->root, p->s, v, p->loc)->is_arg = true;
	}
	return n;
}

static int run_body(Elab *e, const CallArgs *c, Frame *f, Layer *names, bool own,
		    Val *outs)
{
	Value *args[MAX_ARGS];

	if (own) {
		f->fn = fn_new(e->layer->m, unique_name(e, c->def->s));
		f->region = f->fn->body;
	}
	int nargs = bind_params(e, f, c, args), errors = e->errors;
	e->frame = f;
	run_block(e, c->def->kids[c->n]);
	e->frame = f->caller;
	f->caller->effects = f->caller->effects || f->effects;
	f->caller->params = f->caller->params || f->params;
	if (!f->returned && e->errors == errors && !e->fatal)
		say(e, E_no_return, c->def->loc, "end it with `return`",
		    "%s returns nothing", c->def->s);
	if (!f->returned)
		f->nret = 0;
	if (names)
		body_names(e, f, names);
	if (own)
		close_frame(e, f->fn, f, args, nargs, names);
	for (int i = 0; i < f->nret; i++)
		outs[i] = f->ret[i];
	return f->returned ? f->nret : -1;
}

int call_function(Elab *e, const Node *def, Unit *unit, const Node *call,
		  const Val *first, Val *outs)
{
	Layer *names = e->layer->route_call ? e->layer : NULL;
	bool own = !e->inline_next && !e->frame->layout;
	CallArgs c = {.def = def, .unit = unit, .n = def->nkids - 1};
	Frame *up = e->frame;

	e->layer->route_call = e->inline_next = false;
	if (!may_call(e, def, call->loc) || !match(e, &c, call, first))
		return -1;
	for (int i = 0; i < c.n; i++)
		if (c.arg[i].kind == V_POISON)
			return -1;
	vec_push(e->a, &e->ran, def);
	Frame *f = NEW(e->a, Frame);
	*f = (Frame){.caller = up,
		     .call = call->loc,
		     .def = def,
		     .name = def->s,
		     .unit = unit,
		     .fn = up->fn,
		     .region = up->region,
		     .range = up->range,
		     .policy = up->policy || def->kind == N_POLICY,
		     .layout = up->layout,
		     .regions = up->regions,
		     .base = up->regions,
		     .token_if = up->token_if,
		     .width = c.n ? width_of(&c.arg[0]) : val_poison()};
	f->prefix = c.instance ? arena_printf(e->a, "%s%s.", up->prefix, c.instance)
			       : up->prefix;
	f->scope = f->root = scope_new(e, unit->constants);
	bool had = up->params;
	up->params = false;
	int n = run_body(e, &c, f, names, own, outs);
	if (c.instance && !up->params && n >= 0)
		say(e, E_parameters, c.instance_loc, "leave `name:` out",
		    "%s owns no parameters that could be named", def->s);
	up->params = up->params || had;
	return n;
}

static void say_no_function(Elab *e, const Node *call)
{
	const Node *callee = call->kids[0];
	int n;
	const char *const *names = function_names(e, &n);

	if (scope_find(e->frame->scope, NULL, callee->s))
		say(e, E_not_callable, callee->loc, NULL,
		    "`%s` is a value and cannot be called", callee->s);
	else if (function_unknown(e, callee->s))
		say(e, E_unknown_function, callee->loc, fix_near(e, callee->s, names, n),
		    "there is no function `%s`", callee->s);
}

int call_node(Elab *e, const Node *call, Val *outs)
{
	const Node *callee = call->kids[0];
	const Builtin *b;
	const Node *def;
	Unit *unit;

	if (callee->kind == N_EXPERTS) {
		outs[0] = run_experts(e, call);
		return 1;
	}
	if (callee->kind != N_NAME) {
		say(e, E_not_callable, callee->loc, NULL,
		    "only a function can be called");
		return -1;
	}
	if ((def = function_find(e, callee->s, &unit)))
		return call_function(e, def, unit, call, NULL, outs);
	if ((b = builtin_find(callee->s))) {
		outs[0] = call_builtin(e, b, call);
		return 1;
	}
	if ((def = layer_find(e->frame->unit, callee->s)))
		return call_layer(e, def, call, outs);
	say_no_function(e, call);
	e->errors++;
	for (int i = 1; i < call->nkids; i++)
		eval(e, call->kids[i]->kind == N_NAMED ? call->kids[i]->kids[0]
						       : call->kids[i]);
	return -1;
}
