/* SPDX-License-Identifier: Apache-2.0
 * elab_layer: a layer's declarations, and what is checked when it ends. */
#include "elab.h"

#include <string.h>

void run_input(Elab *e, const Node *n)
{
	Layer *l = e->layer;
	Module *m = l->m;
	Frame *f = e->frame;
	bool has_t;
	Type t;

	if (scope_find(f->scope, f->root->up, n->s)) {
		say(e, E_name_twice, n->loc, "use a new name", "there is already a `%s`",
		    n->s);
		return;
	}
	bool first = l->first_input.rank == 0 && !l->token;
	if (!type_eval(e, n->kids[0], true, &t, &has_t)) {
		l->input_poison = true;
		scope_add(e, f->scope, n->s, val_poison(), n->loc);
		return;
	}
	if (t.dtype == DT_f64)
		t.dtype = DT_f32;
	if (first && (!has_t || t.rank != 1)) {
		say(e, E_input, n->loc,
		    arena_printf(e->a, "`input %s: f32[T, 512]`", n->s),
		    "the first input is the token: one vector for each of the T tokens");
		l->input_poison = true;
		scope_add(e, f->scope, n->s, val_poison(), n->loc);
		return;
	}
	if (first) {
		l->first_input = t;
		l->wtype = t.dtype == DT_bf16 || t.dtype == DT_f16 ? t.dtype : DT_f32;
		l->token = n->s;
		if (l->outer)
			m->calls.at[l->nth].width = t.dim[0];
		else
			m->width = t.dim[0];
		f->width = val_num((double)t.dim[0]);
	}
	Val v = val_ir(region_arg(m, f->fn->body, t, n->s));
	if (l->ninputs < l->ngiven && !take_input(e, n, &t))
		v = val_poison();
	l->ninputs++;
	scope_add(e, f->scope, n->s, v, n->loc);
}

static bool route_values(Elab *e, const Node *call, Val *out)
{
	const Node *callee = call->kind == N_CALL ? call->kids[0] : call;
	Layer *l = e->layer;
	Frame *f = e->frame;
	Unit *unit;

	if (callee->kind != N_NAME) {
		say(e, E_route_call, call->loc, "`route softmax_topk(2)`",
		    "`route` takes a policy's call");
		return false;
	}
	const Node *def = function_find(e, callee->s, &unit);
	if (!def) {
		int n;
		const char *const *names = function_names(e, &n);
		if (function_unknown(e, callee->s))
			say(e, E_unknown_function, callee->loc,
			    fix_near(e, callee->s, names, n), "there is no policy `%s`",
			    callee->s);
		return false;
	}
	if (def->kind != N_POLICY) {
		say(e, E_function_kind, callee->loc, NULL, "`%s` is %s, not a policy",
		    callee->s, def->kind == N_DEF ? "a def" : "an expert");
		return false;
	}
	if (!l->token && l->input_poison)
		return false;
	if (!l->token) {
		say(e, E_input, call->loc, "declare `input` first",
		    "there is no token to route yet");
		return false;
	}
	Binding *b = scope_find(f->scope, NULL, l->token);
	l->policy = callee->s;
	l->route_call = true;
	int n = call_function(e, def, unit, call, b ? &b->val : NULL, out);
	l->route_call = false;
	return n == 2;
}

void run_route(Elab *e, const Node *n)
{
	static const char *const names[2] = {"pick", "weight"};
	Layer *l = e->layer;
	Frame *f = e->frame;
	Val out[MAX_ARGS];

	if (l->policy) {
		say(e, E_second_statement, n->loc,
		    "call the second policy as a function: `a, b = policy(x)`",
		    "a second `route`");
		return;
	}
	bool ok = need_experts(e, n->loc) && route_values(e, n->kids[0], out);
	l->route_poison = !ok;
	if (!l->policy)
		l->policy = "the policy";
	for (int i = 0; i < 2; i++) {
		Binding *b = scope_find(f->root, f->root->up, names[i]);
		Val v = ok ? out[i] : val_poison();
		if (v.kind == V_IR)
			v.v->name = names[i];
		if (b) {
			say(e, E_name_twice, n->loc, "rename it",
			    "`%s` is bound already (line %d); `route` "
			    "binds it",
			    names[i], b->loc.line);
			b->val = v;
		} else {
			scope_add(e, f->root, names[i], v, n->loc);
		}
	}
}

static bool name_taken(const Layer *l, const char *name)
{
	const Region *body = l->frame->fn->body;
	bool taken = false;

	for (int i = 0; i < body->nargs; i++)
		taken = taken || strcmp(body->args[i]->name, name) == 0;
	for (int i = 0; i < l->output_names.n; i++)
		taken = taken || strcmp(l->output_names.at[i], name) == 0;
	return taken;
}

/* In the C header: y, then each after its expression's name; inputs stand beside them. */
static const char *output_name(Elab *e, const Layer *l, const Node *n, int i)
{
	const char *name = arena_printf(e->a, i ? "y%d" : "y", i);

	if (i && (n->kind == N_NAME || n->kind == N_FIELD))
		name = n->s;
	while (name_taken(l, name))
		name = arena_printf(e->a, "%s_out", name);
	return name;
}

void run_output(Elab *e, const Node *n)
{
	Layer *l = e->layer;

	if (l->outputs.n || l->output_poison) {
		say(e, E_second_statement, n->loc, "`output a, b`", "a second `output`");
		return;
	}
	for (int i = 0; i < n->nkids; i++) {
		const Node *k = n->kids[i];
		Value *v = computed(e, eval(e, k), k->loc);
		bool first = i == 0;
		if (!v) {
			l->output_poison = true;
			continue;
		}
		if (first && v->type.level != LV_TOKEN) {
			say(e, E_output, k->loc, NULL,
			    "the first output must be one row a token");
			l->output_poison = true;
		}
		if (v->type.dtype == DT_f64)
			v = as_dtype(e, v, DT_f32, k->loc);
		if (first && v && v->type.dtype == DT_f32)
			v = as_dtype(e, v, l->first_input.dtype, k->loc);
		if (!v)
			return;
		vec_push(e->a, &l->outputs, v);
		const char *name = output_name(e, l, k, i);
		vec_push(e->a, &l->output_names, name);
	}
}

void run_loss(Elab *e, const Node *n)
{
	Layer *l = e->layer;
	Op *last = l->frame->region->last;
	Mark before = trial_begin(e);
	Val v = eval(e, n->kids[0]);

	if (v.kind == V_POISON)
		return;
	Value *x = number_f32(e, v, n->loc);
	if (!x)
		return;
	if (x->type.rank || x->type.level != LV_ONCE) {
		say(e, E_loss, n->kids[0]->loc, x->type.rank ? "`sum(..)` or `mean(..)`"
						     : "`mean(.., over: tokens)`",
		    "a loss is one number a call; this is %s%s", type_words(e, &x->type),
		    x->type.level == LV_ONCE ? ""
		    : arena_printf(e->a, " and %s", level_text(&x->type)));
		return;
	}
	if (e->opt->losses) {
		vec_push(e->a, &l->losses, x);
		return;
	}
	int sites = e->sites;   /* checked, and taken back; draws keep their numbers */
	while (l->frame->region->last != last)
		op_unlink(l->frame->region->last);
	trial_undo(e, before);
	e->sites = sites;
}

void run_group(Elab *e, const Node *n)
{
	const Node *k = n->kids[0];
	Layer *l = e->layer;

	if (l->group_loc.line) {
		say(e, E_second_statement, n->loc, NULL, "a second `group`");
		return;
	}
	l->group_loc = n->loc;
	if (k->kind == N_NAME && strcmp(k->s, "sequence") == 0)
		l->m->group = -1;
	else
		need_int(e, eval(e, k), k->loc, "the tokens of a group", 1, MAX_DIM,
			 &l->m->group);
}

void run_defer(Elab *e, const Node *n)
{
	Val c = eval(e, n->kids[0]);
	int64_t rows = 0;
	bool right = need_int(e, eval(e, n->kids[1]), n->kids[1]->loc, "the rows of the queue", 1,
			      MAX_DIM, &rows);

	if (e->layer->defer_loc.line) {
		say(e, E_second_statement, n->loc, NULL, "a second `defer`");
		return;
	}
	e->layer->defer_loc = n->loc;
	if (c.kind == V_POISON || !right)
		return;
	Value *v = computed(e, c, n->loc);
	if (!v)
		return;
	if (v->type.dtype != DT_bool || v->type.rank || v->type.level != LV_TOKEN) {
		say(e, E_condition, n->kids[0]->loc, "`all(pick == none)`",
		    "what is deferred must be one bool a token, not %s, %s",
		    type_words(e, &v->type), level_text(&v->type));
		return;
	}
	Op *op = op_start(e, OP_defer, 1, &v, 0, n->loc);
	attr_int(e->layer->m, op, "rows", rows);
	op_append(e->frame->region, op);
}

void run_causal(Elab *e, const Node *n)
{
	e->layer->causal = true;
	e->layer->causal_loc = n->loc;
}

void run_weights(Elab *e, const Node *n)
{
	vec_push(e->a, &e->layer->weights, ((WeightsBlock){n->kids[0], n}));
}

/* Where a name got its value, if a statement of the layer says so. */
static Loc value_loc(Elab *e, const char *name, Loc otherwise)
{
	const Binding *b = scope_find(e->frame->scope, NULL, name);

	return b && b->value.line ? b->value : otherwise;
}

/* `weight @ experts(pick, x)`, as if it were written. */
static void default_output(Elab *e, Layer *l)
{
	Loc loc = l->def->loc;
	Node pick = {.kind = N_NAME, .s = "pick", .loc = value_loc(e, "pick", loc)};
	Node weight = {.kind = N_NAME, .s = "weight",
		       .loc = value_loc(e, "weight", loc)};
	Node token = {.kind = N_NAME, .s = l->token, .loc = loc};
	Node experts = {.kind = N_EXPERTS, .loc = loc};
	Node call = {.kind = N_CALL, .nkids = 3, .loc = loc,
		     .kids = (Node *[]){&experts, &pick, &token}};
	Node product = {.kind = N_BINARY, .op = O_MATMUL, .nkids = 2, .loc = loc,
			.kids = (Node *[]){&weight, &call}};
	Node output = {
	    .kind = N_OUTPUT, .nkids = 1, .loc = loc, .kids = (Node *[]){&product}};

	if (l->outputs.n || l->output_poison || l->route_poison)
		return;
	if (!l->policy && l->lost)
		return;
	if (!l->policy) {
		say(e, E_output, loc, "add `output ..`, or `route ..`",
		    "layer `%s` has no output", l->def->s);
		return;
	}
	run_output(e, &output);
}

static void check_group(Elab *e, Layer *l)
{
	if (!l->group_loc.line || l->m->group < 0)
		return;
	for (int i = 0; i < l->m->states.n; i++)
		if (l->m->states.at[i].scope == PER_SEQUENCE) {
			say(e, E_group_state, l->group_loc, "`group sequence`",
			    "a group may cut a sequence, whose state `%s` is",
			    l->m->states.at[i].name);
			return;
		}
}

/* Who waits changes which tokens a call has. */
static void check_defer(Elab *e, Layer *l)
{
	if (l->defer_loc.line && l->group_loc.line)
		say(e, E_not_supported, l->group_loc, "do without one of them",
		    "`group` of a layer whose tokens may wait is not compiled yet");
	if (l->defer_loc.line && l->causal)
		say(e, E_not_causal, l->causal_loc, "drop `causal`",
		    "not causal: `defer` moves tokens to other calls");
}

static void close_layer(Elab *e, Layer *l)
{
	int n = l->outputs.n + l->losses.n;
	Fn *fn = l->frame->fn;
	Value **v = NEWN(e->a, Value *, (size_t)n);

	fn->outs = NEWN(e->a, Type, (size_t)n);
	fn->out_names = NEWN(e->a, const char *, (size_t)n);
	for (int i = 0; i < n; i++) {
		int loss = i - l->outputs.n;
		v[i] = loss < 0 ? l->outputs.at[i] : l->losses.at[loss];
		fn->outs[i] = v[i]->type;
		fn->out_names[i] = loss < 0 ? l->output_names.at[i]
					    : arena_printf(e->a, "loss%d", loss);
	}
	fn->nouts = n;
	if (l->outer)
		l->m->calls.at[l->nth].nlosses = l->losses.n;
	else
		l->m->nlosses = l->losses.n;
	op_give(e, OP_return, n, v, l->def->loc);
}

/* Its place among the calls; numbers are filled in as they are met. */
static bool add_call(Elab *e, Layer *l, Fn *fn)
{
	int n = (int)strlen(l->prefix) - 1;
	LayerCall c = {.path = arena_printf(e->a, "%.*s", n, l->prefix),
		       .layer = l->def->s, .fn = fn};

	for (int i = 0; i < l->m->calls.n; i++)
		if (strcmp(l->m->calls.at[i].path, c.path) == 0) {
			say(e, E_parameter_twice, l->call, "give one of them a `name:`",
			    "the layer `%s` is called twice", c.path);
			return false;
		}
	l->nth = l->m->calls.n;
	vec_push(e->a, &l->m->calls, c);
	vec_push(e->a, &e->called, l);
	return true;
}

bool run_layer(Elab *e, const Node *def, Layer *l)
{
	Frame *f = NEW(e->a, Frame), *outer = e->frame;
	Layer *up = e->layer;
	int errors = e->errors;

	l->def = def;
	l->m = l->outer ? l->outer->m : module_new(e->a, def->s);
	l->expert = -1;
	l->wtype = DT_COUNT;
	*f = (Frame){.def = def, .name = def->s, .unit = l->unit, .prefix = l->prefix,
		     .range = -1, .call = l->call};
	if (l->outer) {
		f->caller = outer;
		f->regions = f->base = outer->regions;
		f->token_if = outer->token_if;
	}
	f->scope = f->root = scope_new(e, e->family ? e->family : l->unit->constants);
	f->fn = fn_new(l->m, l->outer ? unique_name(e, def->s) : "layer");
	f->region = f->fn->body;
	if (l->outer && !add_call(e, l, f->fn))
		return false;
	l->frame = f;
	e->frame = f;
	e->layer = l;
	l->lost = contains(def, N_LOST);
	run_block(e, def->kids[1]);
	if (l->outer && l->ninputs != l->ngiven && !e->fatal)
		say(e, E_argument_count, l->call, NULL, "%s has %d input%s, not %d",
		    def->s, l->ninputs, l->ninputs == 1 ? "" : "s", l->ngiven);
	if (!l->token && !l->input_poison && !l->lost && !e->fatal)
		say(e, E_input, def->loc, "`input x: f32[T, 512]`",
		    "layer `%s` has no input", def->s);
	else if (l->token && !e->fatal)
		default_output(e, l);
	if (!e->fatal) {
		check_states(e, l);
		check_group(e, l);
		check_defer(e, l);
		check_causal(e, l);
	}
	bool ok = e->errors == errors && !e->fatal;
	if (ok)
		close_layer(e, l);
	e->frame = outer;
	e->layer = up;
	return ok;
}
