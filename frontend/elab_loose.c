/* SPDX-License-Identifier: Apache-2.0
 * elab_loose: what may never run is run for its mistakes: both branches where the condition
 * is wrong, functions that nobody calls.  Only what is wrong whatever the values are is
 * said; what the run emits is part of no module. */
#include "elab.h"

#include <string.h>

bool is_certain(DiagCode code)
{
	switch (code) {
	case E_unknown_name: case E_unknown_function: case E_name_twice:
	case E_not_a_value: case E_function_kind: case E_recursion:
	case E_types: case E_element_type: case E_shapes: case E_matmul:
	case E_unknown_argument: case E_argument_twice: case E_argument_count:
	case E_result_count: case E_not_callable: case E_no_return: case E_return_place:
	case E_misplaced_statement: case E_zero_division:
		return true;
	default:
		return false;
	}
}

/* Afterwards nobody knows what the names are that it binds anew. */
void run_loosely(Elab *e, const Node *block, const char *what, int line, const char *name)
{
	Frame *f = e->frame;
	Vec(Val) old = {0};
	bool loose = e->loose;
	int n = 0;

	for (Scope *s = f->scope; s; s = s == f->root ? NULL : s->up)
		for (Binding *b = s->first; b; b = b->next)
			vec_push(e->a, &old, b->val);
	e->loose = true;
	scope_push(e);
	if (name)
		scope_add(e, f->scope, name, val_poison(), block->loc);
	run_stmt(e, block);
	scope_pop(e, what, line);
	e->loose = loose;
	for (Scope *s = f->scope; s; s = s == f->root ? NULL : s->up)
		for (Binding *b = s->first; b && n < old.n; b = b->next, n++)
			if (!val_same(&b->val, &old.at[n]))
				b->val = val_poison();
}

void run_either(Elab *e, const Node *block, const Node *other, int line)
{
	Frame *f = e->frame;

	run_loosely(e, block, "if", line, NULL);
	bool returned = f->returned;
	f->returned = false;
	if (other)
		run_loosely(e, other, "if", line, NULL);
	f->returned = f->returned && returned;
}

static bool lost_word(const Node *n, const char *word)
{
	for (int i = 0; i < n->nnames; i++)
		if (strcmp(n->names[i], word) == 0)
			return true;
	return false;
}

/* The names that the statement may have bound are not missed. */
void run_lost(Elab *e, const Node *n)
{
	Frame *f = e->frame;
	Layer *l = e->layer;

	e->errors++;
	for (int i = 0; i < n->nnames; i++)
		if (!scope_find(f->scope, NULL, n->names[i]))
			vec_push(e->a, &f->lost, n->names[i]);
	if (f != l->frame)
		return;
	l->input_poison |= lost_word(n, "input");
	l->output_poison |= lost_word(n, "output");
	l->route_poison |= lost_word(n, "route");
	if (lost_word(n, "experts") && !l->has_experts)
		l->has_experts = l->experts_poison = true;
}

bool contains(const Node *n, NodeKind kind)
{
	bool found = n && n->kind == kind;

	for (int i = 0; n && !found && i < n->nkids; i++)
		found = contains(n->kids[i], kind);
	return found;
}

static bool has_run(const Elab *e, const Node *def)
{
	for (int i = 0; i < e->ran.n; i++)
		if (e->ran.at[i] == def)
			return true;
	return false;
}

static void check_function(Elab *e, const Node *def, Unit *u)
{
	Frame *outer = e->frame;
	Frame f = {.def = def, .name = def->s, .unit = u, .fn = outer->fn, .prefix = "",
		   .region = outer->region, .range = -1, .policy = def->kind == N_POLICY};
	int n = def->nkids - 1;

	f.scope = f.root = scope_new(e, u->constants);
	e->frame = &f;
	for (int i = 0; i < n; i++) {
		if (def->kids[i]->nkids)
			eval(e, def->kids[i]->kids[0]);
		scope_add(e, f.root, def->kids[i]->s, val_poison(), def->kids[i]->loc);
	}
	run_block(e, def->kids[n]);
	if (!contains(def, N_RETURN) && !contains(def, N_LOST))
		say(e, E_no_return, def->loc, "end it with `return`",
		    "%s returns nothing", def->s);
	e->frame = outer;
}

void check_functions(Elab *e)
{
	Layer *layer = e->layer;
	Frame *frame = e->frame;

	e->loose = true;
	for (int u = 0; u < e->units.n; u++) {
		Unit *unit = e->units.at[u];
		for (int i = 0; !unit->std && i < unit->ast->nkids && !e->fatal; i++) {
			const Node *n = unit->ast->kids[i];
			if ((n->kind != N_DEF && n->kind != N_POLICY &&
			     n->kind != N_EXPERT_FN) || has_run(e, n))
				continue;
			scratch_layer(e, unit);
			e->layer->has_experts = e->layer->experts_poison = true;
			e->layer->route_poison = true;
			check_function(e, n, unit);
		}
	}
	e->loose = false;
	e->layer = layer;
	e->frame = frame;
}
