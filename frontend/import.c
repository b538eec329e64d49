/* SPDX-License-Identifier: Apache-2.0
 * import: a layer of a family as a .moe of its own: what config.json and the layer's number
 * decide is decided, the rest stays as it is written. */
#include "import.h"

#include <string.h>

static bool listed(const Words *w, const char *name)
{
	for (int i = 0; i < w->n; i++)
		if (strcmp(w->at[i], name) == 0)
			return true;
	return false;
}

static bool unit_has(const Unit *u, const char *name)
{
	bool found = scope_find(u->constants, NULL, name) != NULL;

	for (int i = 0; !found && i < u->imports.n; i++)
		found = unit_has(u->imports.at[i], name);
	return found;
}

static bool known_name(const Import *x, const char *name)
{
	Elab *e = x->e;

	if (listed(&x->bound, name))
		return false;
	return strcmp(name, "config") == 0 || strcmp(name, "stack") == 0 ||
	       (e->family && scope_find(e->family, NULL, name)) ||
	       unit_has(e->frame->unit, name);
}

/* Functions that may be numbers when their arguments are: these and the file's own. */
static bool computes(const Import *x, const Node *callee, bool *given)
{
	static const char *const names[] = {"min", "max", "ceil", "floor", "round", "abs",
					    "sqrt", "where"};

	for (size_t i = 0; callee->kind == N_NAME && i < COUNT(names); i++)
		if (strcmp(callee->s, names[i]) == 0)
			return true;
	Unit *unit;
	const Node *def = callee->kind == N_NAME ? function_find(x->e, callee->s, &unit)
						 : NULL;
	bool own = def && def->kind == N_DEF && !unit->std;
	*given = *given || own;
	return own;
}

/* Whether all leaves are known now; *given: some of them through the model. */
static bool known(const Import *x, const Node *n, bool *given)
{
	switch (n->kind) {
	case N_NAME:
		*given = *given || known_name(x, n->s);
		return known_name(x, n->s);
	case N_LAYER:
		*given = true;
		return x->e->layer->number >= 0;
	case N_NUMBER: case N_TRUE: case N_FALSE:
		return true;
	case N_STRING:
		return !x->layout && !strchr(n->s, '{');
	case N_UNARY: case N_BINARY: case N_FIELD: case N_SUBSCRIPT: case N_CALL:
		break;
	default:
		return false;
	}
	if (n->kind == N_CALL && !computes(x, n->kids[0], given))
		return false;
	for (int i = n->kind == N_CALL; i < n->nkids; i++)
		if (!known(x, n->kids[i], given))
			return false;
	return true;
}

/* Its value, or poison: not known before the layer runs. */
Val import_value(Import *x, const Node *n)
{
	Elab *e = x->e;
	int errors = e->errors;
	bool given = false;

	if (!known(x, n, &given) || !given)
		return val_poison();
	e->mute++;
	Val v = eval(e, n);
	e->mute--;
	bool ok = e->errors == errors;
	e->errors = errors;
	return ok && val_const(&v) ? v : val_poison();
}

const char *import_known(void *ctx, const Node *n, int level)
{
	Import *x = ctx;
	Val v = import_value(x, n);
	Node number = {.kind = N_NUMBER, .f = v.f}, string = {.kind = N_STRING, .s = v.s};
	Printer p = {.t = text_new(x->e->a), .ctx = ctx, .instead = x->p.instead,
		     .string = x->p.string};

	switch (v.kind) {
	case V_NUM:
		if (v.f != v.f)
			return NULL;
		if (v.f < 0)
			number.f = -v.f;
		if (number.f > 1e308)
			text_add(&p.t, "inf");
		else
			print_expr(&p, &number, LEVEL_POSTFIX);
		return v.f >= 0 ? p.t.s
		       : arena_printf(x->e->a, level > LEVEL_NEG ? "(-%s)" : "-%s", p.t.s);
	case V_BOOL:
		return v.b ? "true" : "false";
	case V_STR:
		if (strchr(v.s, '{'))
			return NULL;
		print_expr(&p, &string, LEVEL_POSTFIX);
		return p.t.s;
	default:
		return NULL;
	}
}

/* `{layer}` and the family's constants; `{expert}` stays. */
static const char *filled(void *ctx, const char *s)
{
	Import *x = ctx;
	Elab *e = x->e;
	Text t = text_new(e->a);

	for (const char *open; (open = strchr(s, '{')); ) {
		size_t n = strcspn(open, "}") + 1;
		const char *name = arena_strndup(e->a, open + 1, n - 2);
		bool fill = strcmp(name, "layer") == 0 ? e->layer->number >= 0
						       : known_name(x, name);
		text_addn(&t, s, (size_t)(open - s));
		Val v = fill ? interpolate(e, arena_strndup(e->a, open, n), (Loc){0})
			     : val_poison();
		if (v.kind == V_STR)
			text_add(&t, v.s);
		else
			text_addn(&t, open, n);
		s = open + n;
	}
	text_add(&t, s);
	return t.s;
}

static const char *element(void *ctx, const char *name)
{
	const Import *x = ctx;

	return strcmp(name, "stored") == 0 ? dtype_info[x->stored].name : name;
}

/* ---- definitions ---- */

static void collect_names(Import *x, const Node *n)
{
	for (int i = 0; i < n->nnames; i++)
		vec_push(x->e->a, &x->bound, n->names[i]);
	if (n->kind == N_INPUT || n->kind == N_PARAM || n->kind == N_STATE ||
	    n->kind == N_FOR || n->kind == N_ARG)
		vec_push(x->e->a, &x->bound, n->s);
	for (int i = 0; i < n->nkids; i++)
		if (n->kids[i])
			collect_names(x, n->kids[i]);
}

/* Functions of the family's own file, called in what is printed of the tree, each once. */
static void collect_functions(Import *x, const Node *n)
{
	Elab *e = x->e;
	Unit *unit;
	bool layout = x->layout;

	if (n->kind == N_CALL && import_known(x, n, LEVEL_ANY))
		return;
	const Node *def = n->kind == N_NAME ? function_find(e, n->s, &unit) : NULL;

	for (int i = 0; def && i < x->functions.n; i++)
		if (x->functions.at[i].def == def)
			def = NULL;
	if (def && !unit->std)
		vec_push(e->a, &x->functions, ((Found){def, unit}));
	x->layout = layout || n->kind == N_WEIGHTS;
	for (int i = 0; i < n->nkids; i++)
		if (n->kids[i])
			collect_functions(x, n->kids[i]);
	x->layout = layout;
}

static void print_function(Import *x, const Node *n)
{
	static const char *const words[] = {
		[N_DEF] = "def", [N_POLICY] = "policy", [N_EXPERT_FN] = "expert"};

	x->bound.n = 0;
	collect_names(x, n);
	text_printf(&x->p.t, "\n%s %s(", words[n->kind], n->s);
	for (int i = 0; i + 1 < n->nkids; i++) {
		text_printf(&x->p.t, "%s%s", i ? ", " : "", n->kids[i]->s);
		if (n->kids[i]->nkids)
			import_expr(x, " = ", n->kids[i]->kids[0]);
	}
	text_add(&x->p.t, ")");
	x->layout = true;               /* strings given to it may be tensors */
	import_braces(x, n->kids[n->nkids - 1]);
	text_add(&x->p.t, "\n");
	collect_functions(x, n);
	x->layout = false;
}

static void print_all(Import *x, const Node *def)
{
	Elab *e = x->e;
	Scope *family = e->family;
	Unit *unit = e->frame->unit;

	x->bound.n = 0;
	collect_names(x, def->kids[1]);
	text_printf(&x->p.t, "\nlayer %s", def->s);
	import_braces(x, def->kids[1]);
	text_add(&x->p.t, "\n");
	collect_functions(x, def->kids[1]);
	e->family = NULL;               /* functions do not see its constants */
	for (int i = 0; i < x->functions.n; i++) {
		Found f = x->functions.at[i];
		e->frame->unit = f.unit;
		e->frame->scope = e->frame->root = f.unit->constants;
		print_function(x, f.def);
	}
	e->frame->unit = unit;
	e->family = family;
}

const char *fe_import(Arena *a, Diag *d, const FeOptions *opt)
{
	const char *stack;
	int64_t number;
	Elab e;
	Import x = {.e = &e};

	if (!elab_start(&e, a, d, opt))
		return NULL;
	const Node *def = choose_layer(&e, &stack, &number);
	if (!def || e.errors)
		return NULL;
	e.layer->stack = stack;
	e.layer->number = number;
	x.stored = stored_dtype(&e, def);
	x.p = (Printer){.t = text_new(a), .ctx = &x, .instead = import_known, .string = filled,
			.type = element};
	print_all(&x, def);
	return e.errors || e.fatal ? NULL : x.p.t.s;
}
