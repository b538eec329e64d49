/* SPDX-License-Identifier: Apache-2.0
 * elab_expr: expressions, all but operators and subscripts. */
#include "elab.h"

#include <math.h>
#include <string.h>

static const char *config_name(const Elab *e)
{
	const char *file = e->opt->config_file ? e->opt->config_file : "config.json";
	const char *slash = strrchr(file, '/');

	return slash ? slash + 1 : file;
}

/* What a JSON value is here; null is `none`, which `??` takes for missing. */
static Val json_val(Elab *e, json_t *j, const char *origin)
{
	Val v = {.kind = V_JSON, .json = j};

	if (json_is_number(j))
		v = val_num(json_number_value(j));
	else if (json_is_boolean(j))
		v = val_bool(json_boolean_value(j));
	else if (json_is_string(j))
		v = val_str(arena_strdup(e->a, json_string_value(j)));
	else if (json_is_null(j))
		v = val_none();
	v.origin = origin;
	return v;
}

static Val missing(Elab *e)
{
	e->absent = true;
	return val_poison();
}

Val json_get(Elab *e, Val from, const char *key, Loc loc)
{
	const char *origin = from.origin ? arena_printf(e->a, "%s.%s", from.origin, key)
					 : key;
	json_t *j = json_is_object(from.json) ? json_object_get(from.json, key) : NULL;
	Vec(const char *) names = {0};
	const char *name;
	json_t *item;

	if (j && !(e->probe && json_is_null(j)))
		return json_val(e, j, origin);
	if (e->probe)
		return missing(e);
	if (!json_is_object(from.json)) {
		say(e, E_config_value, loc, NULL, "%s is a list and has no `%s`",
		    from.origin, key);
		return val_poison();
	}
	json_object_foreach(from.json, name, item)
		vec_push(e->a, &names, arena_strdup(e->a, name));
	const char *near = nearest_name(key, names.at, names.n);
	const char *base = from.origin ? from.origin : "config";
	say(e, E_config_key, loc,
	    near ? arena_printf(e->a, "it has %s: `%s.%s ?? %s.%s`", near, base, key,
				base, near)
		 : NULL,
	    "%s has no `%s`", config_name(e), key);
	return val_poison();
}

Val json_item(Elab *e, Val from, int64_t i, Loc loc)
{
	json_t *j = NULL;

	if (from.kind == V_JSON && json_is_array(from.json) && i >= 0)
		j = json_array_get(from.json, (size_t)i);
	if (j && !(e->probe && json_is_null(j)))
		return json_val(e, j,
				arena_printf(e->a, "%s[%jd]", from.origin, (intmax_t)i));
	if (e->probe)
		return missing(e);
	if (from.kind != V_JSON || !json_is_array(from.json))
		say(e, E_index_range, loc, NULL, "%s cannot be indexed",
		    val_words(e, &from));
	else
		say(e, E_index_range, loc, NULL, "%s has %zu entries and no number %jd",
		    from.origin, json_array_size(from.json), (intmax_t)i);
	return val_poison();
}

static Val route_name(Elab *e, const Node *n)
{
	Layer *l = e->layer;
	Vec(const char *) names = {0};

	if (l->route_poison)
		return val_poison();
	if (!l->policy) {
		say(e, E_misplaced_word, n->loc, "put it behind `route`",
		    "`route.%s` stands before any `route`", n->s);
		return val_poison();
	}
	for (int i = 0; i < l->route.n; i++) {
		if (strcmp(l->route.at[i].name, n->s) == 0)
			return l->route.at[i].val;
		vec_push(e->a, &names, l->route.at[i].name);
	}
	for (int i = 0; l->route_body && i < l->route_body->lost.n; i++)
		if (strcmp(l->route_body->lost.at[i], n->s) == 0)
			return val_poison();
	say(e, E_unknown_field, n->loc,
	    fix_among(e, n->s, names.at, names.n),
	    "%s has no `%s`", l->policy, n->s);
	return val_poison();
}

static Val eval_field(Elab *e, const Node *n)
{
	if (n->kids[0]->kind == N_ROUTE)
		return route_name(e, n);
	Val v = eval(e, n->kids[0]);
	if (v.kind == V_JSON)
		return json_get(e, v, n->s, n->loc);
	if (v.kind == V_POISON)
		return v;
	if (e->probe)
		return missing(e);
	bool shape = v.kind == V_IR && (!strcmp(n->s, "shape") || !strcmp(n->s, "size"));
	say(e, E_unknown_field, n->loc,
	    shape ? "`size(v)` is the length of a vector" : NULL, "%s has no `.%s`",
	    val_words(e, &v), n->s);
	return val_poison();
}

/* `a ?? b`: what a emitted in vain is taken back. */
static Val eval_else(Elab *e, const Node *n)
{
	Region *r = e->frame ? e->frame->region : NULL;
	Op *last = r ? r->last : NULL;
	bool absent = e->absent;
	int probe = e->probe;

	e->absent = false;
	e->probe++;
	Val v = eval(e, n->kids[0]);
	e->probe = probe;
	bool lacks = e->absent || (v.kind == V_NONE && v.origin);
	e->absent = absent;
	if (!lacks)
		return v;
	while (r && r->last != last)
		op_unlink(r->last);
	return eval(e, n->kids[1]);
}

static Val eval_binary(Elab *e, const Node *n)
{
	if (n->op == O_ELSE)
		return eval_else(e, n);
	if (n->op == O_MATMUL) {
		bool taken = false;
		Val v = weighted_experts(e, n, &taken);
		if (taken)
			return v;
	}
	Val a = eval(e, n->kids[0]);
	if ((n->op == O_AND || n->op == O_OR) && a.kind == V_BOOL &&
	    a.b == (n->op == O_OR))
		return a;               /* decided; the other may not even make sense */
	return eval_operator(e, n->op, a, eval(e, n->kids[1]), n);
}

/* [a, b]: a constant while all its entries are. */
static Val eval_list(Elab *e, const Node *n)
{
	Val *v = NEWN(e->a, Val, (size_t)n->nkids);
	bool poison = false, constant = true;

	for (int i = 0; i < n->nkids; i++) {
		v[i] = eval(e, n->kids[i]);
		poison = poison || v[i].kind == V_POISON;
		constant = constant && val_const(&v[i]);
	}
	if (poison)
		return val_poison();
	if (constant)
		return val_list(e, v, n->nkids, n->loc);
	return stack_values(e, v, n->nkids, n->loc);
}

Val stack_values(Elab *e, const Val *v, int n, Loc loc)
{
	Value *row[MAX_ARGS];
	int64_t dims[MAX_RANK + 1] = {1};
	Type t;

	if (n > MAX_ARGS) {
		say(e, E_limit, loc, NULL, "a list of more than %d values", MAX_ARGS);
		return val_poison();
	}
	if (!join_vals(e, v, n, loc, &t))
		return val_poison();
	for (int i = 0; i < n; i++) {
		row[i] = bring(e, v[i], &t, loc);
		if (!row[i])
			return val_poison();
		if (!shape_equal(&row[i]->type, &t)) {
			say(e, E_list_shape, loc, NULL,
			    "the entries of a list differ in shape: %s and %s",
			    shape_words(e, &row[i]->type), shape_words(e, &t));
			return val_poison();
		}
		for (int d = 0; d < t.rank; d++)
			dims[d + 1] = t.dim[d];
		row[i] = reshape_op(e, row[i], t.rank + 1, dims, loc);
		if (!row[i])
			return val_poison();
	}
	return val_ir(n == 1 ? row[0] : emit(e, OP_concat, n, row, loc));
}

static Val eval_call(Elab *e, const Node *n)
{
	Val out[MAX_ARGS];
	int count = call_node(e, n, out);

	if (count == 1)
		return out[0];
	if (count > 1)
		say(e, E_result_count, n->loc,
		    arena_printf(e->a, "bind them: `a, b = %s(..)`", n->kids[0]->s),
		    "`%s` gives %d values where one is wanted", n->kids[0]->s, count);
	return val_poison();
}

static Val reserved(Elab *e, const Node *n)
{
	Layer *l = e->layer;

	switch (n->kind) {
	case N_EXPERTS:
		return need_experts(e, n->loc) ? val_num((double)l->experts)
					       : val_poison();
	case N_EXPERT:
		if (l && l->expert >= 0)
			return val_num((double)l->expert);
		say(e, E_misplaced_word, n->loc, NULL, e->frame->layout
			? "`%s` belongs to no expert: its layout cannot say `expert`"
			: "`expert` is known only in `weights`", l ? l->path : "");
		return val_poison();
	case N_LAYER:
		if (l && l->number >= 0)
			return val_num((double)l->number);
		say(e, E_misplaced_word, n->loc, NULL,
		    "`layer` is known only in the layers of a family");
		return val_poison();
	default:
		say(e, E_misplaced_word, n->loc,
		    "name a value of the policy: `route.pick`",
		    "`route` alone is no value");
		return val_poison();
	}
}

static Val eval_kind(Elab *e, const Node *n)
{
	switch (n->kind) {
	case N_NAME:      return lookup(e, n);
	case N_NUMBER:    return isnan(n->f) ? val_poison() : val_num(n->f);
	case N_STRING:    return strchr(n->s, '{') ? interpolate(e, n->s, n->loc)
						    : val_str(n->s);
	case N_TRUE:      return val_bool(true);
	case N_FALSE:     return val_bool(false);
	case N_NONE:      return val_none();
	case N_LIST:      return eval_list(e, n);
	case N_UNARY:     return eval_unary(e, n->op, eval(e, n->kids[0]), n->loc);
	case N_BINARY:    return eval_binary(e, n);
	case N_FIELD:     return eval_field(e, n);
	case N_SUBSCRIPT: return eval_subscript(e, n);
	case N_CALL:      return eval_call(e, n);
	case N_EXPERTS:
	case N_EXPERT:
	case N_LAYER:
	case N_ROUTE:     return reserved(e, n);
	default:
		say(e, E_misplaced_word, n->loc, NULL, "an expression is wanted here");
		return val_poison();
	}
}

bool may_go_on(Elab *e, const Node *n)
{
	if (!e->fatal && ++e->steps > MAX_STEPS)
		stop_all(e, E_limit, n->loc, "use `repeat`, or fewer rounds",
			 "this takes more than %d steps at compile time", MAX_STEPS);
	if (!e->fatal && e->depth > MAX_DEPTH)
		stop_all(e, E_limit, n->loc, "bind parts of it to names",
			 "expressions and calls are nested more than %d deep", MAX_DEPTH);
	return !e->fatal;
}

Val eval(Elab *e, const Node *n)
{
	Val v = val_poison();

	e->depth++;
	if (may_go_on(e, n))
		v = eval_kind(e, n);
	e->depth--;
	return v;
}
