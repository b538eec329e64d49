/* SPDX-License-Identifier: Apache-2.0
 * elab_scope: which thing a name means: local names, constants, functions, files. */
#include "elab.h"

#include <string.h>

enum { MAX_FILE = 16 << 20, MAX_IMPORTS = 64 };

Scope *scope_new(Elab *e, Scope *up)
{
	Scope *s = NEW(e->a, Scope);

	s->last = &s->first;
	s->up = up;
	return s;
}

Binding *scope_find(const Scope *s, const Scope *stop, const char *name)
{
	for (; s && s != stop; s = s->up)
		for (Binding *b = s->first; b; b = b->next)
			if (strcmp(b->name, name) == 0)
				return b;
	return NULL;
}

Binding *scope_add(Elab *e, Scope *s, const char *name, Val val, Loc loc)
{
	Binding *b = NEW(e->a, Binding);

	if (++s->n > MAX_NAMES && !e->fatal)
		stop_all(e, E_limit, loc, NULL, "more than %d names in one place",
			 MAX_NAMES);
	*b = (Binding){.name = name, .val = val, .loc = loc};
	*s->last = b;
	s->last = &b->next;
	return b;
}

/* Whether `to` may take the place of `from`: element and shape stay; a number may become
 * anything a number can be. */
static bool may_become(const Val *from, const Val *to)
{
	if (from->kind == V_POISON || to->kind == V_POISON)
		return true;
	if (val_const(from) && val_const(to))
		return true;
	if (from->kind == V_IR && to->kind == V_IR) {
		const Type *a = &from->v->type, *b = &to->v->type;
		bool fa = a->dtype != DT_bool && a->dtype != DT_i32 &&
			  a->dtype != DT_index;
		bool fb = b->dtype != DT_bool && b->dtype != DT_i32 &&
			  b->dtype != DT_index;
		return shape_equal(a, b) &&
		       ((fa && fb) || (a->dtype == b->dtype && a->axis == b->axis));
	}
	const Val *c = from->kind == V_IR ? to : from;
	const Type *t = from->kind == V_IR ? &from->v->type : &to->v->type;
	switch (c->kind) {
	case V_NUM:  return t->dtype != DT_bool && t->dtype != DT_index;
	case V_BOOL: return t->dtype == DT_bool;
	case V_NONE: return t->dtype == DT_index;
	case V_LIST: return t->rank > 0 && c->n == t->dim[0];
	default:     return false;
	}
}

void bind_name(Elab *e, const char *name, Val val, Loc loc)
{
	Frame *f = e->frame;
	Binding *b = scope_find(f->scope, f->root->up, name);

	if (!b) {
		scope_add(e, f->scope, name, val, loc);
		return;
	}
	if (!may_become(&b->val, &val)) {
		say(e, E_rebinding, loc, "use a new name",
		    "`%s` is %s and cannot become %s", name, val_words(e, &b->val),
		    val_words(e, &val));
		val = val_poison();
	}
	b->val = val;
	b->loc = loc;
	b->is_arg = false;
}

void scope_push(Elab *e)
{
	e->frame->scope = scope_new(e, e->frame->scope);
}

void scope_pop(Elab *e, const char *block, int line)
{
	Frame *f = e->frame;

	for (Binding *b = f->scope->first; b; b = b->next)
		if (f->gone.n < MAX_ITEMS)
			vec_push(e->a, &f->gone, ((Gone){b->name, block, line}));
	f->scope = f->scope->up;
}

static Binding *unit_constant(const Unit *u, const char *name)
{
	Binding *b = scope_find(u->constants, NULL, name);

	for (int i = 0; !b && i < u->imports.n; i++)
		b = unit_constant(u->imports.at[i], name);
	return b;
}

static bool say_gone(Elab *e, const Node *n)
{
	for (int i = e->frame->gone.n - 1; i >= 0; i--) {
		const Gone *g = &e->frame->gone.at[i];
		if (strcmp(g->name, n->s) != 0)
			continue;
		say(e, E_out_of_scope, n->loc, "bind it before",
		    "`%s` is local to the `%s` on line %d", n->s, g->block, g->line);
		return true;
	}
	return false;
}

/* Of the file: words of an item that could not be read. */
bool was_lost(const Elab *e, const char *name)
{
	for (int u = 0; u < e->units.n; u++) {
		const Node *file = e->units.at[u]->ast;
		if (e->units.at[u]->unread)
			return true;
		for (int i = 0; i < file->nkids; i++)
			for (int k = 0; file->kids[i]->kind == N_LOST &&
					k < file->kids[i]->nnames; k++)
				if (strcmp(file->kids[i]->names[k], name) == 0)
					return true;
	}
	return false;
}

bool function_unknown(Elab *e, const char *name)
{
	for (int i = 0; i < e->unknown.n; i++)
		if (strcmp(e->unknown.at[i], name) == 0)
			return false;
	if (!e->mute)
		vec_push(e->a, &e->unknown, name);
	return !was_lost(e, name);
}

static bool is_lost(const Elab *e, const char *name)
{
	const Frame *f = e->frame;

	for (int i = 0; i < f->lost.n; i++)
		if (strcmp(f->lost.at[i], name) == 0)
			return true;
	return was_lost(e, name);
}

static bool said_unknown(Elab *e, const char *name)
{
	Frame *f = e->frame;

	for (int i = 0; i < f->unknown.n; i++)
		if (strcmp(f->unknown.at[i], name) == 0)
			return true;
	if (!e->mute)
		vec_push(e->a, &f->unknown, name);
	return false;
}

static void say_unknown(Elab *e, const Node *n)
{
	static const char *const reserved[] = {"layer", "expert", "experts", "route"};
	Vec(const char *) names = {0};
	Unit *in;

	if (strcmp(n->s, "tokens") == 0 || strcmp(n->s, "sequence") == 0) {
		say(e, E_misplaced_word, n->loc,
		    strcmp(n->s, "tokens") == 0 ? "the number of tokens is `T`" : NULL,
		    "`%s` stands only behind `over:`", n->s);
		return;
	}
	if (strcmp(n->s, "stack") == 0) {
		say(e, E_misplaced_word, n->loc, NULL,
		    "`stack` is known only in a family with several stacks of layers");
		return;
	}
	if (builtin_find(n->s) || function_find(e, n->s, &in)) {
		say(e, E_not_a_value, n->loc,
		    arena_printf(e->a, "call it: `%s(..)`", n->s),
		    "`%s` is a function, not a value", n->s);
		return;
	}
	if (said_unknown(e, n->s)) {
		e->errors++;
		return;
	}
	for (const Scope *s = e->frame->scope; s; s = s->up)
		for (Binding *b = s->first; b; b = b->next)
			vec_push(e->a, &names, b->name);
	for (int i = 0; i < value_count; i++)
		if (strcmp(value_names[i], n->s) != 0)  /* it is, but elsewhere */
			vec_push(e->a, &names, value_names[i]);
	for (size_t i = 0; i < COUNT(reserved); i++)
		vec_push(e->a, &names, reserved[i]);
	say(e, E_unknown_name, n->loc, fix_near(e, n->s, names.at, names.n),
	    "there is no `%s` here", n->s);
}

/* Layouts and experts' arguments see the layer's names, but not what it computes. */
static Val visible(Elab *e, const Node *n, Val v)
{
	if (v.kind != V_IR)
		return v;
	Region *r = v.v->def ? v.v->def->in : v.v->owner;
	if (!r || r->fn == e->frame->fn)
		return v;
	say(e, E_out_of_scope, n->loc, NULL,
	    e->frame->layout
		    ? "`%s` is a value of the layer; a layout reads only the checkpoint"
		    : "`%s` is a value of the layer; an expert's arguments are constants",
	    n->s);
	return val_poison();
}

bool is_known(Elab *e, const char *name)
{
	return scope_find(e->frame->scope, NULL, name) || is_lost(e, name) ||
	       unit_constant(e->frame->unit, name);
}

Val lookup(Elab *e, const Node *n)
{
	Binding *b = scope_find(e->frame->scope, NULL, n->s);
	bool found = false;

	if (!b)
		b = unit_constant(e->frame->unit, n->s);
	if (b)
		return visible(e, n, b->val);
	Val v = builtin_value(e, n->s, n->loc, &found);
	if (found)
		return v;
	if (!is_lost(e, n->s) && !say_gone(e, n))
		say_unknown(e, n);
	return val_poison();
}

static bool is_function(const Node *n)
{
	return n->kind == N_DEF || n->kind == N_POLICY || n->kind == N_EXPERT_FN;
}

static bool is_layer(const Node *n)
{
	return n->kind == N_LAYER_DEF || n->kind == N_MODEL;
}

static const Node *item_named(const Unit *u, const char *name, bool layer)
{
	for (int i = 0; i < u->ast->nkids; i++) {
		const Node *n = u->ast->kids[i];
		if ((layer ? n->kind == N_LAYER_DEF : is_function(n)) &&
		    strcmp(n->s, name) == 0)
			return n;
	}
	return NULL;
}

static const Node *find_in(Unit *u, const char *name, Unit **in)
{
	const Node *n = item_named(u, name, false);

	*in = u;
	for (int i = 0; !n && i < u->imports.n; i++)
		n = find_in(u->imports.at[i], name, in);
	return n;
}

const Node *function_find(Elab *e, const char *name, Unit **in)
{
	Unit *u = e->frame ? e->frame->unit : e->main;
	const Node *n = find_in(u, name, in);

	if (!n && e->std && u != e->std)
		n = find_in(e->std, name, in);
	return n;
}

const Node *layer_find(const Unit *u, const char *name)
{
	const Node *n = item_named(u, name, true);

	for (int i = 0; !n && i < u->imports.n; i++)
		n = layer_find(u->imports.at[i], name);
	return n;
}

const char *const *function_names(Elab *e, int *n)
{
	Vec(const char *) names = {0};

	for (int i = 0; builtin_name(i); i++)
		vec_push(e->a, &names, builtin_name(i));
	for (int u = 0; u < e->units.n; u++)
		for (int i = 0; i < e->units.at[u]->ast->nkids; i++) {
			const Node *k = e->units.at[u]->ast->kids[i];
			if (is_function(k) || k->kind == N_LAYER_DEF)
				vec_push(e->a, &names, k->s);
		}
	*n = names.n;
	return names.at;
}

/* Two functions or two layers of one name. */
static void check_unique(Elab *e, const Node *file)
{
	if (file->nkids > MAX_NAMES) {
		stop_all(e, E_limit, file->kids[MAX_NAMES]->loc,
			 "take it apart: `import`",
			 "more than %d definitions in one file", MAX_NAMES);
		return;
	}
	for (int i = 0; i < file->nkids; i++) {
		const Node *n = file->kids[i];
		for (int k = 0; k < i; k++) {
			const Node *o = file->kids[k];
			bool alike = (is_function(n) && is_function(o)) ||
				     (is_layer(n) && is_layer(o));
			if (!alike || strcmp(n->s, o->s) != 0)
				continue;
			say(e, E_name_twice, n->loc, "rename one of them",
			    "there is already a `%s` (line %d)", n->s, o->loc.line);
			break;
		}
	}
}

Unit *unit_load(Elab *e, const char *file, const char *text, bool std)
{
	int before = diag_errors(e->d);
	Unit *u = NEW(e->a, Unit);

	u->file = file;
	u->std = std;
	u->constants = scope_new(e, NULL);
	u->ast = parse_moe(e->a, e->d, file, text);
	if (!u->ast)
		return NULL;
	if (diag_errors(e->d) != before)
		e->errors++;
	for (int i = 0; i < u->ast->nkids; i++)
		u->unread |= u->ast->kids[i]->kind == N_LOST && u->ast->kids[i]->s;
	vec_push(e->a, &e->units, u);
	check_unique(e, u->ast);
	return u;
}

static const char *beside(Elab *e, const char *file, const char *name)
{
	const char *slash = strrchr(file, '/');

	if (!slash || name[0] == '/')
		return name;
	return arena_printf(e->a, "%.*s/%s", (int)(slash - file), file, name);
}

static Unit *unit_named(Elab *e, const char *path)
{
	for (int i = 0; i < e->units.n; i++)
		if (strcmp(e->units.at[i]->file, path) == 0)
			return e->units.at[i];
	return NULL;
}

/* A file that imports itself, around whatever corner, would be searched for ever. */
static bool reaches(const Unit *from, const Unit *to)
{
	bool found = from == to;

	for (int i = 0; !found && i < from->imports.n; i++)
		found = reaches(from->imports.at[i], to);
	return found;
}

bool unit_imports(Elab *e, Unit *u)
{
	for (int i = 0; i < u->ast->nkids; i++) {
		const Node *n = u->ast->kids[i];
		size_t size;
		if (n->kind != N_IMPORT)
			continue;
		const char *path = beside(e, u->file, n->s);
		Unit *other = unit_named(e, path);
		if (!other && e->units.n > MAX_IMPORTS) {
			say(e, E_limit, n->loc, NULL, "more than %d files are imported",
			    MAX_IMPORTS);
			return false;
		}
		if (!other) {
			char *text = file_read(e->a, e->d, path, MAX_FILE, &size);
			other = text ? unit_load(e, path, text, false) : NULL;
			if (!text)
				diag_note(e->d, n->loc, "it is imported here");
			e->errors += !other;
			if (!other || !unit_imports(e, other))
				u->unread = true;
		}
		if (other && reaches(other, u)) {
			say(e, E_import, n->loc, NULL, "%s imports itself", u->file);
			u->unread = true;
		} else if (other) {
			vec_push(e->a, &u->imports, other);
		}
	}
	return true;
}

/* `NAME = expr` outside of layers and functions. */
void bind_constant(Elab *e, const Node *n)
{
	Val v = eval(e, n->kids[0]);

	if (v.kind == V_IR || v.kind == V_BLOCKS) {
		say(e, E_not_constant, n->loc, NULL,
		    "a name outside of layers and functions is a constant; this %s",
		    v.kind == V_IR ? level_text(&v.v->type) : "is none");
		v = val_poison();
	}
	if (n->nnames > 1)
		say(e, E_result_count, n->loc, NULL, "one name at a time");
	else if (n->nnames)
		bind_name(e, n->names[0], v, n->name_locs[0]);
}

/* The constants of a file, in order, in a frame of their own. */
void unit_constants(Elab *e, Unit *u)
{
	Frame *outer = e->frame;
	Frame f = {.unit = u, .name = u->file, .range = -1, .prefix = "", .fn = outer->fn,
		   .region = outer->region, .scope = u->constants, .root = u->constants};

	if (u->done)
		return;
	u->done = true;
	for (int i = 0; i < u->imports.n; i++)
		unit_constants(e, u->imports.at[i]);
	e->frame = &f;
	for (int i = 0; i < u->ast->nkids; i++)
		if (u->ast->kids[i]->kind == N_BIND)
			bind_constant(e, u->ast->kids[i]);
	e->frame = outer;
}
