/* SPDX-License-Identifier: Apache-2.0
 * elab_depend: who depends on what: walks back from a value through calls and regions. */
#include "elab.h"

#include <string.h>

typedef struct {
	Elab *e;
	int   stamp;                    /* in Value.id: seen in this walk */
	Vec(Value *) todo;
} Walk;

static void add(Walk *w, Value *v)
{
	if (v->id == w->stamp)
		return;
	v->id = w->stamp;
	vec_push(w->e->a, &w->todo, v);
}

static void add_all(Walk *w, Value **v, int n)
{
	for (int i = 0; i < n; i++)
		add(w, v[i]);
}

static Op *call_of(Elab *e, const Fn *fn)
{
	for (int i = e->calls.n - 1; i >= 0; i--)
		if (e->calls.at[i].fn == fn)
			return e->calls.at[i].call;
	return NULL;
}

static Fn *callee_of(Elab *e, const Op *op)
{
	for (int i = e->calls.n - 1; op->kind == OP_call && i >= 0; i--)
		if (e->calls.at[i].call == op)
			return e->calls.at[i].fn;
	return NULL;
}

static void add_argument(Walk *w, Value *v)
{
	Op *op = v->owner->op ? v->owner->op : call_of(w->e, v->owner->fn);

	if (op && v->index < op->nargs)
		add(w, op->args[v->index]);
	if (op && v->owner->op)         /* carried: what the round before gave */
		add_all(w, v->owner->last->args, v->owner->last->nargs);
}

/* The next value of the walk; its op, or NULL for an argument.  False: done. */
static bool step(Walk *w, Op **op)
{
	if (w->todo.n == 0)
		return false;
	Value *v = w->todo.at[--w->todo.n];
	*op = v->def;
	if (!v->def) {
		add_argument(w, v);
		return true;
	}
	Fn *fn = callee_of(w->e, v->def);
	if (fn && fn->body->last)
		add(w, fn->body->last->args[v->index]);
	else
		add_all(w, v->def->args, v->def->nargs);
	for (int i = 0; i < v->def->nregions; i++) {
		Region *r = v->def->regions[i];
		if (r->last)
			add_all(w, r->last->args, r->last->nargs);
	}
	return true;
}

static Walk begin(Elab *e, Value *from)
{
	Walk w = {.e = e, .stamp = ++e->stamp};

	add(&w, from);
	return w;
}

/* What an op looks over, other tokens at all. */
static const char *crosses(const Op *op)
{
	const char *over = attr_get_str(op, "over", NULL);

	if (!over || op->kind == OP_uniform || op->kind == OP_normal)
		return NULL;
	return over;
}

/* A cumsum over a sequence looks back only. */
static bool looks_ahead(const Op *op)
{
	const char *over = crosses(op);

	return over && !(op->kind == OP_cumsum && strcmp(over, "sequence") == 0);
}

const char *over_text(Elab *e, const Op *op)
{
	static const struct { OpKind kind; const char *name; } names[] = {
		{OP_amin, "min"}, {OP_amax, "max"},
	};
	const char *name = op_info[op->kind].name;

	for (size_t i = 0; i < COUNT(names); i++)
		if (names[i].kind == op->kind)
			name = names[i].name;
	return arena_printf(e->a, "`%s(.. over: %s)`", name,
			    attr_get_str(op, "over", "tokens"));
}

/* The line of the user's file from which an op was reached. */
static Loc from_line(Elab *e, const Op *op)
{
	Loc loc = op->loc;
	const Op *call;

	for (const Fn *fn = op->in->fn; strcmp(loc.file, e->std->file) == 0;
	     fn = call->in->fn) {
		call = call_of(e, fn);
		if (!call)
			break;
		loc = call->loc;
	}
	return loc;
}

static const char *place_text(Elab *e, const Op *op)
{
	Loc from = from_line(e, op);

	if (strcmp(op->loc.file, from.file) == 0)
		return arena_printf(e->a, "line %d", from.line);
	return arena_printf(e->a, "%s, from line %d", where_text(e, op->loc), from.line);
}

void check_causal(Elab *e, Layer *l)
{
	for (int i = 0; l->causal && i < l->outputs.n; i++) {
		Walk w = begin(e, l->outputs.at[i]);
		Op *op, *found = NULL;
		while (step(&w, &op))           /* a rank tells more than a sum */
			if (op && looks_ahead(op) && (!found || op->kind == OP_rank))
				found = op;
		if (!found)
			continue;
		say(e, E_not_causal, l->causal_loc,
		    "drop `causal`, or do without capacity",
		    "not causal: the output depends on other tokens through %s (%s)",
		    over_text(e, found), place_text(e, found));
		return;
	}
}

const Op *find_ordered(Elab *e, Value *v)
{
	Walk w = begin(e, v);
	Op *op;

	while (step(&w, &op))
		if (op && crosses(op) && op->kind != OP_sum && op->kind != OP_mean &&
		    op->kind != OP_amax && op->kind != OP_amin && op->kind != OP_any &&
		    op->kind != OP_all)
			return op;
	return NULL;
}

static bool reads_state(Elab *e, Value *v, const char *state)
{
	Walk w = begin(e, v);
	Op *op;

	while (step(&w, &op))
		if (op && op->kind == OP_state &&
		    strcmp(attr_get_str(op, "name", ""), state) == 0)
			return true;
	return false;
}

const Op *find_waiting(Elab *e, Value *v, const char *state)
{
	Walk w = begin(e, v);
	Vec(Op *) over = {0};
	Op *op;

	while (step(&w, &op))
		if (op && crosses(op) && op->nargs)
			vec_push(e->a, &over, op);
	for (int i = 0; i < over.n; i++)
		if (reads_state(e, over.at[i]->args[0], state))
			return over.at[i];
	return NULL;
}
